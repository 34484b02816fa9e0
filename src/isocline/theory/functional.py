"""The formulas of the effective theory of deep networks, as pure functions of arrays in float64.

A network is ``z^(1) = b + W x`` and ``z' = b + W s(z) + gamma z``, with ``Var b = C_b``, ``Var W = C_W / fan-in`` and
learning rates ``lambda_b`` and ``lambda_w / fan-in``. ``<f>_K`` is the average of f over Gaussian preactivations of
covariance K. What is of the order one over width is given as the coefficient of 1 / n.

Source: Roberts, Yaida, Hanin, *The Principles of Deep Learning Theory*, arXiv 2106.10165 ("PDLT"); the
equations stand in the files the names come from, one idea in each.
"""

from isocline.theory.averages import Averages, single_averages, slope_moments
from isocline.theory.closed_forms import erf_pair, gelu_pair, scale_invariant, sin_pair
from isocline.theory.depth import best_fluctuation, entropy, mutual_information, vertex_slope
from isocline.theory.feature import kernel_change
from isocline.theory.kernel import ManyInput, first_kernel, many_input
from isocline.theory.plane import plane_pairs, plane_rule
from isocline.theory.quadrature import line_rule
from isocline.theory.rates import asymptotic_rates, equivalence_rates
from isocline.theory.residual import residual_fluctuations
from isocline.theory.single import SingleInput, fluctuations, kernel_sequence, ntk_sequence, single_input
from isocline.theory.training import Prediction, gradient_flow
from isocline.theory.vertices import Fluctuations, many_fluctuations

__all__ = [
    "Averages",
    "Fluctuations",
    "ManyInput",
    "Prediction",
    "SingleInput",
    "asymptotic_rates",
    "best_fluctuation",
    "entropy",
    "equivalence_rates",
    "erf_pair",
    "first_kernel",
    "fluctuations",
    "gelu_pair",
    "gradient_flow",
    "kernel_change",
    "kernel_sequence",
    "line_rule",
    "many_fluctuations",
    "many_input",
    "mutual_information",
    "ntk_sequence",
    "plane_pairs",
    "plane_rule",
    "residual_fluctuations",
    "scale_invariant",
    "sin_pair",
    "single_averages",
    "single_input",
    "slope_moments",
    "vertex_slope",
]
