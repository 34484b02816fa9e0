"""Through graphs: the claims of *pLSTM: parallelizable Linear Source Transition Mark networks*."""

from .long_range import LONG_RANGE

CLAIMS = [LONG_RANGE]
