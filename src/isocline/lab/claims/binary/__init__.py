"""Through bits: the claims of *Estimator Meets Equilibrium Perspective*."""

from .equilibrium import EQUILIBRIUM
from .estimators import ESTIMATORS
from .monotone import MONOTONE

CLAIMS = [MONOTONE, EQUILIBRIUM, ESTIMATORS]
