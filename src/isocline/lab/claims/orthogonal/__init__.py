"""Through filters: the claims of *Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks*."""

from .existence import EXISTENCE
from .landscape import LANDSCAPE
from .robustness import ROBUSTNESS
from .sandwich import SANDWICH
from .sizes import SIZES
from .trap import TRAP

CLAIMS = [EXISTENCE, SIZES, SANDWICH, LANDSCAPE, ROBUSTNESS, TRAP]
