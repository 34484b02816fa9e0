"""Through graphs: the claims of *pLSTM: parallelizable Linear Source Transition Mark networks*."""

from .arrow import ARROW
from .long_range import LONG_RANGE
from .molecules import MOLECULES

CLAIMS = [LONG_RANGE, ARROW, MOLECULES]
