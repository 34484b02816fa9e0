"""The formulas of learning chaotic dynamics by generalized teacher forcing (Hess et al. 2023).

Where to look: the maps and their Jacobians in ``maps``, the forced recursion in ``recursion``, alpha in
``alpha``, the penalties in ``penalties``. ``forced_rollout`` is the whole recursion as one fast
differentiable operation.
"""

from .alpha import (
    METHODS,
    alpha_from_jacobians,
    alpha_from_norm,
    anneal_alpha,
    critical_alpha,
    gradient_horizon,
    jacobian_norm,
    jacobian_upper_bound,
    product_log_norm,
    product_log_norms,
)
from .forcing import chunked_rollout, forced_rollout
from .maps import (
    almost_linear_rnn,
    almost_linear_rnn_jacobian,
    dendritic_plrnn,
    dendritic_plrnn_jacobian,
    mean_centred_plrnn,
    mean_centred_plrnn_jacobian,
    orbit_bound,
    plrnn,
    plrnn_jacobian,
    shallow_gates,
    shallow_mean_jacobian,
    shallow_plrnn,
    shallow_plrnn_jacobian,
    unclipped,
)
from .penalties import condition_penalty, manifold_attractor_penalty, observed_loss, shrinkage
from .recursion import forced_rollout_of, forcing_weights, teacher_forced, toward_teacher

__all__ = [
    "METHODS",
    "almost_linear_rnn",
    "almost_linear_rnn_jacobian",
    "alpha_from_jacobians",
    "alpha_from_norm",
    "anneal_alpha",
    "chunked_rollout",
    "condition_penalty",
    "critical_alpha",
    "dendritic_plrnn",
    "dendritic_plrnn_jacobian",
    "forced_rollout",
    "forced_rollout_of",
    "forcing_weights",
    "gradient_horizon",
    "jacobian_norm",
    "jacobian_upper_bound",
    "manifold_attractor_penalty",
    "mean_centred_plrnn",
    "mean_centred_plrnn_jacobian",
    "observed_loss",
    "orbit_bound",
    "plrnn",
    "plrnn_jacobian",
    "product_log_norm",
    "product_log_norms",
    "shallow_gates",
    "shallow_mean_jacobian",
    "shallow_plrnn",
    "shallow_plrnn_jacobian",
    "shrinkage",
    "teacher_forced",
    "toward_teacher",
    "unclipped",
]
