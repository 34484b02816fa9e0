"""`recommend`: what to set when a network of some activation, depth and width is to be trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil, isfinite

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.critical import Criticality, criticality
from isocline.theory.depth import best_fluctuation, optimal_aspect_ratio, vertex_slope
from isocline.theory.effective import EffectiveTheory
from isocline.theory.quadrature import root_between
from isocline.theory.report import NOT_CRITICAL, regime

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Recommendation:
    """Variances, rates, and whether depth and width fit. Weights are drawn with ``weight_variance / fan-in``, biases
    with `bias_variance`.
    """

    criticality: Criticality
    depth: int
    width: int
    first_kernel: (
        float  # the variance of layer 1's preactivations: its C_W is (first_kernel - C_b) / mean(x^2)
    )
    bias_variance: float
    weight_variance: float
    output_weight_variance: float  # of the last layer, for outputs of order one
    lambda_b: Array  # (depth,) learning rate of the biases = eta lambda_b
    lambda_w: Array  # (depth,) learning rate of the weights = eta lambda_w / fan-in
    fluctuation: float  # v = V / (n K^2) at the output
    best_fluctuation: float  # v*
    largest_depth: float  # L*(width)
    verdict: str
    skip: float | None  # the least residual strength that fits; 0: none is needed, None: none helps
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        size = f"depth={self.depth}, width={self.width}"
        return f"Recommendation({self.criticality.activation}, {size}: {self.verdict})"

    def __str__(self) -> str:
        skip = (
            "no residual connection can do it"
            if self.skip is None
            else f"skip = {self.skip:.3g}"
            if self.skip
            else "no skip needed"
        )
        rows = [
            f"{self.criticality.activation}, {self.depth} layers of width {self.width}: {self.verdict}",
            f"weights  N(0, {self.weight_variance:.6g} / fan-in), biases N(0, {self.bias_variance:.6g})",
            f"layer 1  scaled so that its preactivations have variance {self.first_kernel:.6g}; "
            f"last layer N(0, {self.output_weight_variance:g} / fan-in)",
            f"rates    biases eta * {_span(self.lambda_b)}, weights eta * {_span(self.lambda_w)} / fan-in, "
            "first to last layer",
            f"depth    v = {self.fluctuation:.3g} where {self.best_fluctuation:.3g} is best; "
            f"L*({self.width}) = {self.largest_depth:g}; {skip}",
        ]
        return "\n".join([*rows, *(f"note     {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def recommend(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    *,
    depth: int | None = None,
    width: int | None = None,
    outputs: int = 10,
) -> Recommendation:
    """Initialisation, learning rates by layer, a verdict on depth and width, and the skip that would make them fit.

    With only one of `depth` and `width` the other is the one that suits it best. Source: PDLT chapters 5, 9
    and appendices A, B. Raises ValueError or TypeError for what is no depth or width.

    >>> recommend("tanh", width=128).depth, recommend("relu", depth=20).width
    (17, 1250)
    """
    activation = as_activation(activation)
    critical = criticality(activation)
    depth, width = _both(activation, critical, depth, width, outputs)
    theory = EffectiveTheory(activation, depth, width)
    run = theory.single_input()
    v, best = float(run.V[-1] / (width * run.K[-1] ** 2)), best_fluctuation(outputs)
    largest = theory.largest_depth(outputs)
    return Recommendation(
        criticality=critical,
        depth=depth,
        width=width,
        first_kernel=theory.nominal_kernel,
        bias_variance=theory.bias_variance,
        weight_variance=theory.weight_variance,
        output_weight_variance=1.0,
        lambda_b=theory.lambda_b,
        lambda_w=theory.lambda_w,
        fluctuation=v,
        best_fluctuation=best,
        largest_depth=largest,
        verdict=regime(v, best) if critical.exists else NOT_CRITICAL,
        skip=0.0 if depth <= largest else least_skip(activation, depth / width, outputs),
        notes=tuple(note for note in (critical.note, _half_stable_note(critical)) if note),
    )


def least_skip(
    activation: str | Callable[[Tensor], Tensor] | Activation, ratio: float, outputs: int = 10
) -> float | None:
    """The least residual strength gamma with ``nu(gamma) ratio <= v*`` for a depth over width of `ratio`;
    None where 0.9995 is too weak.

    nu falls with gamma only from about 0.5 on where the activation is not odd: a weak ReLU skip raises the
    fluctuations. Source: PDLT appendix B with the full vertex. Raises ValueError for an activation without
    criticality.
    """
    activation = as_activation(activation)
    critical = criticality(activation)
    ratio = float(check_number("ratio", ratio, above=0))
    if not critical.exists:
        return None
    best = best_fluctuation(outputs)

    def excess(skip: float) -> float:
        return vertex_slope(activation, skip, full=True, critical=critical) * ratio / best - 1

    grid = np.concatenate([[0.0], 1 - np.geomspace(0.9, 5e-4, 24)])
    values = [excess(skip) for skip in grid]
    if values[0] <= 0:
        return 0.0
    for i in range(1, len(grid)):
        if values[i] <= 0:
            return root_between(excess, grid[i - 1], grid[i], 1e-6)
    return None


def _both(
    activation: Activation, critical: Criticality, depth: int | None, width: int | None, outputs: int
) -> tuple[int, int]:
    if depth is None and width is None:
        raise wrong("depth", "a depth, a width, or both", "neither")
    if (depth is None or width is None) and not critical.exists:
        raise wrong(
            "activation",
            "one that can be critical, to choose a depth or a width",
            activation.name,
            critical.note,
        )
    if depth is not None and width is None:
        depth = int(check_number("depth", depth, least=1, integer=True))
        return depth, max(1, ceil(depth / optimal_aspect_ratio(activation, outputs).ratio - 1e-9))
    width = int(check_number("width", width, least=1, integer=True))
    if depth is None:
        largest = optimal_aspect_ratio(activation, outputs).largest_depth(width)
        return max(1, int(largest)) if isfinite(largest) else 1, width
    return int(check_number("depth", depth, least=1, integer=True)), width


def _half_stable_note(critical: Criticality) -> str:
    if critical.universality_class != "half-stable":
        return ""
    return "K keeps the value of layer 1 for practical depths: inputs of different norms stay at different K"


def _span(values: Array) -> str:
    return (
        f"{values[0]:.3g}" if np.ptp(values) < 1e-9 * values[0] else f"{values[0]:.3g} ... {values[-1]:.3g}"
    )
