"""Through latents: the claims of *Exploring Gradient-based Multi-directional Controls in GANs*."""

from .entangled import ENTANGLED_CLAIM

CLAIMS = [ENTANGLED_CLAIM]
