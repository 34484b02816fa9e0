"""What a linear map is, asked by its effect on vectors alone: extreme singular values, trace, J v, J^T u."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isocline._core.checks import check_finite, check_number, wrong

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class SingularValue:
    """One singular value of a map A, with the figure that says how far it may be off.

    ``residual`` is ``|A^T A v - value^2 v|`` for the unit vector ``v`` found (of a wide map's smallest value,
    ``|A A^T u - value^2 u|``), computed after the fact: but for rounding, some
    singular value s of A satisfies ``|s^2 - value^2| <= residual``.
    """

    value: float
    residual: float
    steps: int  # how many times A and A^T were applied after the start
    left: Tensor  # in A's output space, unit length (zeros when value is 0)
    right: Tensor  # in A's input space, unit length


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over random draws and the standard error of that mean."""

    value: float
    standard_error: float
    samples: int


def jvp(function: Map, x: Tensor, v: Tensor) -> Tensor:
    """``J(x) v``, the change of ``function`` at ``x`` along ``v`` (forward mode).

    Shapes: x, v any one shape; returns the shape of ``function(x)``.
    """
    if v.shape != x.shape:
        raise wrong("v", f"the shape of x, {tuple(x.shape)}", f"{tuple(v.shape)}")
    with warnings.catch_warnings():  # torch still scripts its own forward formulas at their first use
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        _, along = torch.func.jvp(function, (x,), (v,))  # type: ignore[misc]
    return along


def vjp(function: Map, x: Tensor, u: Tensor) -> Tensor:
    """``J(x)^T u``, the gradient at ``x`` of ``<u, function(x)>`` (reverse mode).

    Shapes: x any; u the shape of ``function(x)``; returns the shape of x.
    """
    output, pull_back = torch.func.vjp(function, x)  # type: ignore[misc]
    if u.shape != output.shape:
        raise wrong("u", f"the shape of function(x), {tuple(output.shape)}", f"{tuple(u.shape)}")
    return pull_back(u)[0]


def largest_singular_value(
    matvec: Map, rmatvec: Map, start: Tensor, *, steps: int = 300, tol: float | None = None
) -> SingularValue:
    """The largest singular value of ``A``, given ``matvec(v) = A v`` and ``rmatvec(u) = A^T u``.

    Stops when the residual is at most ``tol`` times the square of the largest value met (default: 100
    roundings of the dtype), or after ``steps``; the residual says which. A start that happens to be
    orthogonal to the singular vector sought finds the next one: give a random one. Raises ValueError for a
    start that is empty, zero or not finite.

    Shapes: ``start`` is any vector of A's input space, in any shape that ``matvec`` takes.
    Source: Knyazev 2001, locally optimal conjugate gradients, with a block of one, on A^T A.
    """
    return _extreme(matvec, rmatvec, start, 0, steps, tol)


def smallest_singular_value(
    matvec: Map, rmatvec: Map, start: Tensor, *, steps: int = 300, tol: float | None = None
) -> SingularValue:
    """The smallest of the min(m, n) singular values of ``A``, as :func:`largest_singular_value`.

    The steps it takes grow with the condition number of A, so look at the residual. A value below the square
    root of the dtype's rounding, relative to the largest, cannot be told from zero.
    """
    image = matvec(start)
    if image.numel() >= start.numel():
        return _extreme(matvec, rmatvec, start, -1, steps, tol)
    check_finite("start", start)
    image = image if bool(image.any()) else torch.ones_like(image)
    found = _extreme(rmatvec, matvec, image, -1, steps, tol)  # a wide map has the values of its transpose
    return SingularValue(found.value, found.residual, found.steps, left=found.right, right=found.left)


def hutchinson_trace(matvec: Map, like: Tensor, *, samples: int, generator: torch.Generator) -> Estimate:
    """An unbiased estimate of the trace of a square map: the mean of ``<z, A z>`` over random signs ``z``.

    Shapes: ``like`` gives the shape, dtype and device of A's input and output. ``samples`` >= 2, so that
    there is a standard error. Source: Hutchinson 1990.
    """
    samples = check_number("samples", samples, least=2, integer=True)
    draws = torch.stack([_signed(matvec, like, generator) for _ in range(samples)]).double()
    check_finite("matvec", draws)
    return Estimate(float(draws.mean()), float(draws.std() / samples**0.5), samples)


def _signed(matvec: Map, like: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, like.shape, generator=generator, device=generator.device).to(like)
    signs = 2 * signs - 1
    return torch.sum(signs * matvec(signs))


def _extreme(
    matvec: Map, rmatvec: Map, start: Tensor, pick: int, steps: int, tol: float | None
) -> SingularValue:
    """Rayleigh-Ritz on span(v, residual, last direction); ``pick`` is 0 for the largest, -1 for the smallest.

    Everything is written for ``u = A v / s``, so that nothing is squared before it is a Python float.
    """
    steps = check_number("steps", steps, least=1, integer=True)
    tol = 100 * torch.finfo(start.dtype).eps if tol is None else check_number("tol", tol, least=0)
    check_finite("start", start)
    if not start.numel() or not bool(start.any()):
        raise wrong("start", "a vector that is not zero", start, "draw a random one")
    v, direction, scale = _unit(start.detach()), None, 0.0
    for step in range(steps + 1):
        image = matvec(v).detach()
        value = float(image.norm())
        u = image / value if value else image
        slope = rmatvec(u).detach() - value * v
        residual = value * float(slope.norm())
        check_finite("matvec", torch.tensor([value, residual]))
        scale = max(scale, value)
        if step == steps or residual <= tol * scale**2:
            return SingularValue(value, residual, step, left=u, right=v)
        tried = [(v, image), (slope, matvec(slope).detach()), *([direction] if direction else [])]
        basis, images = _orthonormal(tried)
        if len(basis) == 1:  # what is left of the residual is rounding
            return SingularValue(value, residual, step, left=u, right=v)
        _, values, mixes = torch.linalg.svd(
            torch.stack([w.flatten() for w in images], 1), full_matrices=False
        )
        scale, mix = max(scale, float(values[0])), mixes[pick]
        along = sum(c * q for c, q in zip(mix[1:], basis[1:], strict=True))
        direction = (along, sum(c * w for c, w in zip(mix[1:], images[1:], strict=True)))
        v = _unit(mix[0] * basis[0] + along)
    raise AssertionError("the last step returns")


def _orthonormal(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Gram-Schmidt, twice, on vectors and their images alike; what depends on the others is left out."""
    basis: list[Tensor] = []
    images: list[Tensor] = []
    for vector, image in pairs:
        length = vector.norm()
        for _ in range(2):
            for q, w in zip(basis, images, strict=True):
                share = torch.sum(q * vector)
                vector, image = vector - share * q, image - share * w
        left = vector.norm()
        if float(left) > torch.finfo(vector.dtype).eps ** 0.5 * float(length):
            basis.append(vector / left)
            images.append(image / left)
    return basis, images


def _unit(vector: Tensor) -> Tensor:
    """``vector`` at unit length, without overflow on the way."""
    vector = vector / vector.abs().max()
    return vector / vector.norm()
