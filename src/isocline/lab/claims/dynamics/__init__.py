"""Through time: the claims of *Generalized Teacher Forcing for Learning Chaotic Dynamics* (Hess et al., ICML 2023)."""

from .budget import SAME_BUDGET
from .gradients import BOUNDED_GRADIENTS
from .lorenz import LORENZ_63, LORENZ_96
from .parallel import PARALLEL_IN_TIME
from .table import ECG, EEG

CLAIMS = [BOUNDED_GRADIENTS, LORENZ_63, LORENZ_96, SAME_BUDGET, ECG, EEG, PARALLEL_IN_TIME]
