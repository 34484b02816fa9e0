"""Through steps: the claims of *From Logistic Regression to the Perceptron Algorithm* (Tyurin, AAAI 2025)."""

from .linear_in_n import LINEAR_IN_N
from .loss_up import LOSS_UP
from .perceptron_limit import PERCEPTRON_LIMIT
from .time_to_separator import TIME_TO_SEPARATOR
from .worst_case import WORST_CASE

CLAIMS = [WORST_CASE, LINEAR_IN_N, PERCEPTRON_LIMIT, LOSS_UP, TIME_TO_SEPARATOR]
