"""Through bits: the claims of *Estimator Meets Equilibrium Perspective*."""

from .estimators import ESTIMATORS

CLAIMS = [ESTIMATORS]
