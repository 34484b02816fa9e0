"""Through inputs: the claims of *Exploring Geometry of Blind Spots in Vision Models*."""

from .photographs import BLIND_SPOTS
from .toys import TOYS
from .twins import TWINS

CLAIMS = [BLIND_SPOTS, TWINS, TOYS]
