"""What the claims of this room share."""

from __future__ import annotations

PAPER = (
    "Achour, Malgouyres & Mamalet, Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks, "
    "JMLR 23 (347), 2022"
)
