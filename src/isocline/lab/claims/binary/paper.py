"""What the claims of this room share."""

from __future__ import annotations

PAPER = (
    "Wu, Zheng, Liu & Zheng, Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for Binary Neural "
    "Networks Training, ICCV 2023"
)
