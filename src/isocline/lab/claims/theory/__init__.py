"""Through depth: the claims of *The Principles of Deep Learning Theory* (Roberts, Yaida, Hanin 2022)."""

from .aspect import ASPECT
from .growth import GROWTH
from .initial import INITIAL
from .signals import SIGNALS
from .skips import SKIP
from .tangent import TANGENT
from .training import TRAINING

CLAIMS = [SIGNALS, GROWTH, ASPECT, SKIP, TANGENT, TRAINING, INITIAL]
