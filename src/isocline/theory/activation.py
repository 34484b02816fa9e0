"""An activation as the theory sees it: values, its derivatives, kinks, and a quadrature that has been checked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from itertools import islice
from math import ceil, log2

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline.theory.named import Derivatives, name_of_module, parse
from isocline.theory.quadrature import line_rule

Array = npt.NDArray[np.float64]

AGREEMENT = 1e-13  # of two quadratures, the second with panels of half the width
HALVINGS = 6
_WIDEST = 4.0  # what is looked at, at the door: |z| up to here
_JUMP = 1e-3  # a derivative that changes at one place by this share of its largest value is not continuous
_BESIDE = 1e-7  # how far beside a kink one-sided derivatives are taken


class Activation:
    """A pointwise nonlinearity: by name, or any function built of torch operations, with its kinks.

    >>> Activation("leaky_relu(0.1)").slopes
    (0.1, 1.0)
    >>> Activation(lambda z: torch.clamp(z, -1, 1), kinks=[-1.0, 1.0], name="clip")
    Activation('clip', kinks=(-1.0, 1.0))

    `kinks` are the places where s' or s'' jumps. Without them they are searched for on ``|z| < 10``; one that
    was missed makes two quadratures disagree, which is an error and not a silent 1e-3. Raises ValueError or
    TypeError for functions that are not pointwise, not finite, not continuous, constant, random, or not twice
    differentiable by torch.
    """

    def __init__(
        self,
        function: str | Callable[[Tensor], Tensor],
        kinks: Sequence[float] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        text = name_of_module(function) if isinstance(function, nn.Module) else function
        self._exact: Callable[[Array], Derivatives] | None = None
        if isinstance(text, str):
            full, known, numbers = parse(text)
            self.name, self.kinks = name or full, known.kinks if kinks is None else _sorted(kinks)
            self.function: Callable[[Tensor], Tensor] = lambda z: known.function(z, *numbers)
            if known.derivatives is not None:
                exact = known.derivatives
                self._exact = lambda z: exact(z, *numbers)
            self.family = full.split("(")[0]
        else:
            if not callable(function):
                raise wrong("activation", "a name or a function of a tensor", function, error=TypeError)
            self.name = name or getattr(function, "__name__", type(function).__name__)
            self.kinks, self.family = _sorted(kinks or ()), ""
            self.function = (
                deepcopy(function).double().eval() if isinstance(function, nn.Module) else function
            )
        _check_pointwise(self)
        if kinks is None and self._exact is None and not self.kinks:
            self.kinks = _found_kinks(self)
        self.slopes = _slopes(self)  # (below, above zero) when s(t z) = t s(z) for t > 0, else None
        self.jumps = _jumps(self)  # (places, heights) of the jumps of s'
        self.kinked = len(self.jumps[0]) > 0
        self.smooth = (
            not self.kinks and not self.kinked and bool(np.isfinite(self.derivatives(np.ones(1))[3]).all())
        )
        self._halvings: dict[int, int] = {}

    def __call__(self, z: Tensor) -> Tensor:
        """The function itself, on tensors, differentiable by torch."""
        return self.function(z)

    def __repr__(self) -> str:
        kinks = f", kinks={self.kinks}" if self.kinks else ""
        return f"Activation({self.name!r}{kinks})"

    def values(self, z: Array) -> Array:
        """``s(z)``, any shape."""
        return self.derivatives(z, 0)[0]

    def derivatives(self, z: Array, order: int = 3) -> tuple[Array, ...]:
        """``s, s', s'', s'''`` at `z`, any shape, up to `order`; at a kink one of the one-sided values, and no
        deltas.

        s''' is all NaN where torch cannot differentiate three times.
        """
        found = self._exact(z) if self._exact is not None else _by_autograd(self.function, z, order)
        return tuple(islice(found, order + 1))

    def line(self, variance: Array) -> tuple[Array, Array]:
        """Nodes and weights for averages over ``K`` of `variance (L,)`, as `line_rule`, fine enough for this
        function.

        Raises ValueError when no quadrature converges: a kink that was missed, or growth that no Gaussian
        bounds.
        """
        return line_rule(variance, self.kinks, refine=self.refinement(float(variance.max())))

    def refinement(self, largest: float) -> int:
        """How often the panels must be halved for variances up to `largest`; found once for every power of two."""
        octave = ceil(log2(max(largest, 1e-18)))  # nothing changes in shape below
        if octave not in self._halvings:
            self._halvings[octave] = _refinement(self, 0.83 * 2.0**octave)
        return self._halvings[octave]


def as_activation(activation: str | Callable[[Tensor], Tensor] | Activation) -> Activation:
    """The `Activation` itself, or one made of a name (kept for the next time) or of a function."""
    if isinstance(activation, Activation):
        return activation
    return _by_name(activation) if isinstance(activation, str) else Activation(activation)


_by_name = lru_cache(maxsize=64)(Activation)


def _sorted(kinks: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted(float(check_number(f"kinks[{i}]", kink)) for i, kink in enumerate(kinks)))


def _by_autograd(function: Callable[[Tensor], Tensor], z: Array, order: int) -> Iterator[Array]:
    point = torch.tensor(z, dtype=torch.float64).requires_grad_(order > 0)
    with torch.enable_grad():
        value = function(point)
    yield value.detach().numpy()
    for derivative in range(1, order + 1):
        try:
            with torch.enable_grad():
                value = _slope_of(value, point)
        except RuntimeError:
            if derivative < 3:
                raise
            # torch has no third derivative of some of its functions
            value = torch.full_like(point, torch.nan)
        yield value.detach().numpy()


def _slope_of(value: Tensor, point: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(point)
    (slope,) = torch.autograd.grad(value.sum(), point, create_graph=True, allow_unused=True)
    return torch.zeros_like(point) if slope is None else slope


_ADVICE = "build it of torch operations (not NumPy or math), for many values at once and to be differentiated"


def _check_pointwise(activation: Activation) -> None:
    """The door for functions: finite, the same for one value as for many, the same twice, differentiable, not
    constant.
    """
    z = np.append(np.linspace(-_WIDEST, _WIDEST, 80) + 0.0123, 0.0)
    try:
        value = activation.function(torch.from_numpy(z))
    except Exception as error:
        raise wrong(
            "activation", "a function of a tensor", f"{type(error).__name__}: {error}", _ADVICE
        ) from error
    if not isinstance(value, Tensor) or value.shape != z.shape or value.dtype != torch.float64:
        got = value if isinstance(value, Tensor) else type(value).__name__
        raise wrong("activation", "one float64 value for each of 81 values", got, _ADVICE)
    if not bool(torch.isfinite(value).all()):
        bad = float(z[int((~torch.isfinite(value)).nonzero()[0])])
        raise wrong(
            "activation", "finite values", f"{float(value[~torch.isfinite(value)][0])} at z = {bad:.4g}"
        )
    apart = torch.cat([activation.function(torch.from_numpy(z[i : i + 9])) for i in range(0, 81, 9)])
    if not torch.allclose(apart, value, rtol=1e-9, atol=1e-12):
        raise wrong(
            "activation",
            "a function of each value alone",
            "results that change with the values beside or from call to call",
        )
    try:
        _, slope, bend = activation.derivatives(z, 2)
    except RuntimeError as error:
        raise wrong("activation", "two derivatives", f"torch says: {error}", _ADVICE) from error
    if not (np.isfinite(slope).all() and np.isfinite(bend).all()):
        raise wrong(
            "activation", "finite derivatives", "NaN or infinite ones", "write it without a division 0/0"
        )
    if not slope.any():
        raise wrong("activation", "a slope somewhere", "a derivative of zero on |z| < 4", _ADVICE)


def _slopes(activation: Activation) -> tuple[float, float] | None:
    """``(a_-, a_+)`` when the function is ``a_- z`` below zero and ``a_+ z`` above."""
    z = np.concatenate([-np.geomspace(40.0, 0.01, 12), np.geomspace(0.01, 40.0, 12)])
    with np.errstate(all="ignore"):
        ratio = activation.values(z) / z
    if not np.isfinite(ratio).all():
        return None
    below, above = float(ratio[0]), float(ratio[-1])
    off = np.abs(ratio - np.repeat([below, above], 12)).max()
    return (below, above) if off <= 1e-13 * max(abs(below), abs(above)) else None


def _found_kinks(activation: Activation) -> tuple[float, ...]:
    """Where s, s' or s'' jumps on ``|z| < 10``: the eight steepest intervals of each on a grid, bisected
    until only a jump is left.
    """
    grid = np.linspace(-10.0, 10.0, 4096)
    found: set[float] = set()
    for order, values in enumerate(activation.derivatives(grid, 2)):
        steep = np.argsort(-np.abs(np.diff(values)))[:8]
        low, high = grid[steep], grid[steep + 1]
        for _ in range(48):
            middle = (low + high) / 2
            at_low, at_middle, at_high = (
                activation.derivatives(z, order)[order] for z in (low, middle, high)
            )
            left = np.abs(at_middle - at_low) > np.abs(at_high - at_middle)
            low, high = np.where(left, low, middle), np.where(left, middle, high)
        jump = np.abs(activation.derivatives(high, order)[order] - activation.derivatives(low, order)[order])
        found |= {float(z) for z in np.round(high[jump > _JUMP * np.abs(values).max()], 12)}
    return tuple(sorted(found))


def _jumps(activation: Activation) -> tuple[Array, Array]:
    """Where s' jumps, at zero or at one of the kinks, and by how much; a jump of s itself is refused."""
    places = np.array(sorted({0.0, *activation.kinks}))
    away = _BESIDE * np.maximum(1.0, np.abs(places))
    low, low_slope, low_bend = activation.derivatives(places - away, 2)
    high, high_slope, high_bend = activation.derivatives(places + away, 2)
    torn = np.abs(high - low) > 1e3 * away * (1 + np.abs(low_slope) + np.abs(high_slope))
    if torn.any():
        where = float(places[torn][0])
        raise wrong(
            "activation",
            "a continuous function",
            f"a jump at z = {where:g}",
            "its gradient has no Gaussian average",
        )
    largest = np.abs(activation.derivatives(np.linspace(-_WIDEST, _WIDEST, 81), 1)[1]).max()
    heights = (high_slope - away * high_bend) - (low_slope + away * low_bend)
    jumps = np.abs(heights) > _JUMP * largest
    return places[jumps], heights[jumps]


def _refinement(activation: Activation, variance: float) -> int:
    """How often the panels must be halved until one more halving changes nothing that is averaged.

    The variance is no power of two, so that a forgotten kink at a round number does not happen to be an edge.
    """
    tests = [_test_averages(activation, variance, 0)]
    for halvings in range(HALVINGS):
        tests.append(_test_averages(activation, variance, halvings + 1))
        if np.all(np.abs(tests[-1] - tests[-2]) <= AGREEMENT * np.abs(tests[-1])):
            return halvings
    off = float(np.max(np.abs(tests[-1] - tests[-2]) / np.abs(tests[-1]).clip(1e-300)))
    raise wrong(
        "activation",
        "a function that is smooth between its kinks",
        f"averages over variance {variance:g} that still differ by {off:.0e} on the finest panels",
        f"pass kinks=[...]{_suspect(activation, variance)}",
    )


def _test_averages(activation: Activation, variance: float, refine: int) -> Array:
    z, w = line_rule(np.array([variance]), activation.kinks, refine=refine)
    with np.errstate(all="ignore"):
        s, slope, bend = activation.derivatives(z[0], 2)
        fourth = w[0] * s**4
    if not (np.isfinite(fourth).all() and np.isfinite(slope).all()):
        bad = float(z[0][~(np.isfinite(fourth) & np.isfinite(slope))][0])
        raise wrong(
            "activation", f"finite values for variance {variance:g}", f"NaN or infinity at z = {bad:.4g}"
        )
    if max(fourth[:16].sum(), fourth[-16:].sum()) > 1e-8 * fourth.sum():
        raise wrong(
            "activation",
            "growth that a Gaussian bounds",
            f"an average of s^4 over variance {variance:g} that does not converge",
            "use a smaller variance, or a function that grows more slowly",
        )
    bends = [] if activation.kinked else [(w[0] * bend**2).sum() + (w[0] * slope**2).sum()]
    return np.array([(w[0] * s**2).sum(), fourth.sum(), (w[0] * slope**2).sum(), *bends])


def _suspect(activation: Activation, variance: float) -> str:
    """Where s' or s'' jumps most on a fine grid: the place a kink may have been forgotten."""
    z = np.linspace(-6, 6, 20001) * np.sqrt(variance)
    _, slope, bend = activation.derivatives(z, 2)
    jumps = np.abs(np.diff(slope)) + np.abs(np.diff(bend)) * np.diff(z)
    return f"; s' or s'' changes fastest near z = {float(z[jumps.argmax()]):.3g}"


__all__ = ["Activation", "as_activation"]
