"""Estimators as small objects: modules without parameters whose sharpness is a 0-d buffer.

Calling one binarises; `surrogate` is the slope of its way back, `primitive` what that is the slope of. The sharpness lies in
``state_dict``, keeps float64 when the model is cast, and may be changed in place without a compiled model noticing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong

from . import functional as F
from . import surrogates as S
from .kernels.compiled import reste_slope
from .kernels.elementwise import Slope, applies, binarised


class Estimator(nn.Module):
    """What all estimators share: ``estimator(x)`` is ``sign(x)`` with `surrogate` for its derivative.

    zero: "one" takes sign(0) = +1, which packs into a bit; "zero" the 0 of published code. A subclass says
    `surrogate(x)` and `primitive(x)`; one whose sharpness grows along training says `advance(progress)`.
    """

    def __init__(self, *, zero: F.Zero = "one", **sharpness: float) -> None:
        super().__init__()
        check_choice("zero", zero, F.ZEROS)
        self.zero: F.Zero = zero
        for name, value in sharpness.items():
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """``sign(x)`` in x's shape and dtype; raises TypeError for whole numbers, NaN stays NaN."""
        if applies(x) and (slope := self.slope()) is not None:
            return binarised(x, slope)
        return F.straight_through(x, self._there(), self._back, *self._sharpness())

    def slope(self) -> Slope | None:
        """What the CPU's kernels take the estimator for now; None if its way there is no sign, or its sharpness is learned."""
        numbers = self._sharpness()
        if self._there() not in _SIGNS.values() or any(
            isinstance(n, nn.Parameter) for n in self.parameters()
        ):
            return None
        return Slope(
            self.zero,
            self._back,
            tuple(n.item() if isinstance(n, Tensor) else n for n in numbers),
            self._loop,
        )

    def surrogate(self, x: Tensor) -> Tensor:
        """The slope g(x) that stands for the derivative of the sign."""
        return self._back(x, *self._sharpness())

    def primitive(self, x: Tensor) -> Tensor:
        """The function that the surrogate is the slope of, without truncation."""
        raise NotImplementedError

    def advance(self, progress: float, o_end: float = 3.0) -> None:
        """Set the sharpness to what it is after a share of training in [0, 1]; nothing for an estimator that stays as it is."""

    def for_input(self) -> Estimator:
        """The copy of this estimator that binarises activations."""
        return copy.deepcopy(self)

    def _sharpness(self) -> tuple[Any, ...]:
        return tuple(self._buffers.values())

    def _there(self) -> Callable[..., Tensor]:
        return _SIGNS[self.zero]

    _back: Callable[..., Tensor]
    _loop: Callable[..., None] | None = None

    def _set(self, **sharpness: float) -> None:
        with torch.no_grad():
            for name, value in sharpness.items():
                getattr(self, name).fill_(value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Estimator:
        """Follow the model to its device, not to its dtype: a power of 1.01 is not to become 1 in half precision."""
        for name, value in self._buffers.items():
            assert value is not None
            try:
                moved = fn(value)
            except TypeError:  # a device without float64
                moved = fn(value.float())
                value = value.float()
            self._buffers[name] = moved if moved.dtype == value.dtype else value.to(moved.device)
        return self

    def extra_repr(self) -> str:
        said = [f"{name}={value.item():.6g}" for name, value in self._buffers.items() if value is not None]
        return ", ".join(said if self.zero == "one" else [*said, "zero='zero'"])


def _sign_one(x: Tensor, *_: Any) -> Tensor:
    return F.sign(x)


def _sign_zero(x: Tensor, *_: Any) -> Tensor:
    return F.sign(x, "zero")


_SIGNS = {"one": _sign_one, "zero": _sign_zero}


def _positive(**numbers: float) -> dict[str, float]:
    return {name: check_number(name, value, above=0) for name, value in numbers.items()}


class ReSTE(Estimator):
    """The rectified estimator: slope `functional.reste_surrogate`, power o from 1 (identity) to large (sign).

    Raises ValueError for o < 1, t <= 0, m <= 0 or m > t.
    """

    o: Tensor
    t: Tensor
    m: Tensor
    _back = staticmethod(F.reste_surrogate)
    _loop = staticmethod(reste_slope)

    def __init__(self, o: float = 1.0, t: float = 1.5, m: float = 0.1, *, zero: F.Zero = "one") -> None:
        check_number("o", o, least=1)
        _positive(t=t, m=m)
        if m > t:
            raise wrong("m", f"at most t = {t}", m, "m = 0.1 and t = 1.5 are the published ones")
        super().__init__(zero=zero, o=o, t=t, m=m)

    def primitive(self, x: Tensor) -> Tensor:
        return F.reste_primitive(x, self.o)

    def advance(self, progress: float, o_end: float = 3.0) -> None:
        self._set(o=F.power(progress, o_end))


class STE(Estimator):
    """The plain straight-through estimator: slope 1."""

    _back = staticmethod(S.ste_surrogate)

    def __init__(self, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero)

    def primitive(self, x: Tensor) -> Tensor:
        return x


class ClippedSTE(Estimator):
    """Slope 1 within c of 0, else 0."""

    c: Tensor
    _back = staticmethod(S.clipped_ste_surrogate)

    def __init__(self, c: float = 1.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, **_positive(c=c))

    def primitive(self, x: Tensor) -> Tensor:
        return S.clipped_ste_primitive(x, self.c)


class Polynomial(Estimator):
    """Bi-Real net's estimator: a triangle of height 2."""

    _back = staticmethod(S.polynomial_surrogate)

    def __init__(self, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero)

    def primitive(self, x: Tensor) -> Tensor:
        return S.polynomial_primitive(x)


class Swish(Estimator):
    """BNN+'s SwishSign."""

    b: Tensor
    _back = staticmethod(S.swish_surrogate)

    def __init__(self, b: float = 5.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, **_positive(b=b))

    def primitive(self, x: Tensor) -> Tensor:
        return S.swish_primitive(x, self.b)


class EDE(Estimator):
    """IR-Net's error decay estimator: ``k tanh(t x)``, t from t_min to t_max along training, ``k = max(1/t, 1)``."""

    t: Tensor
    _back = staticmethod(S.ede_surrogate)

    def __init__(self, t_min: float = 1e-3, t_max: float = 10.0, *, zero: F.Zero = "one") -> None:
        self.t_min, self.t_max = _positive(t_min=t_min, t_max=t_max).values()
        super().__init__(zero=zero, t=self.t_min)

    def _sharpness(self) -> tuple[Tensor, ...]:
        return self.t, (1 / self.t).clamp(min=1)

    def primitive(self, x: Tensor) -> Tensor:
        return S.ede_primitive(x, *self._sharpness())

    def advance(self, progress: float, o_end: float = 3.0) -> None:
        self._set(t=float(S.growth(progress, self.t_min, self.t_max)))


class RBNN(Estimator):
    """The rotated binary networks' estimator, sharpened as `EDE`; for activations t >= 1 and k = 1."""

    t: Tensor
    _back = staticmethod(S.rbnn_surrogate)

    def __init__(
        self, t_min: float = 1e-2, t_max: float = 10.0, *, activation: bool = False, zero: F.Zero = "one"
    ) -> None:
        self.t_min, self.t_max = _positive(t_min=t_min, t_max=t_max).values()
        self.activation = activation
        super().__init__(zero=zero, t=max(self.t_min, 1.0) if activation else self.t_min)

    def _sharpness(self) -> tuple[Tensor, ...]:
        return self.t, torch.ones_like(self.t) if self.activation else (1 / self.t).clamp(min=1)

    def primitive(self, x: Tensor) -> Tensor:
        return S.rbnn_primitive(x, *self._sharpness())

    def advance(self, progress: float, o_end: float = 3.0) -> None:
        t = float(S.growth(progress, self.t_min, self.t_max))
        self._set(t=max(t, 1.0) if self.activation else t)

    def for_input(self) -> RBNN:
        return RBNN(self.t_min, self.t_max, activation=True, zero=self.zero)


class DSQ(Estimator):
    """Differentiable soft quantisation to one bit; a in (0, 1) is its distance from the sign, learned if asked to be.

    A learned a gets the gradient of the primitive. Raises ValueError for a outside (0, 1).
    """

    a: Tensor
    _back = staticmethod(S.dsq_surrogate)

    def __init__(self, a: float = 0.2, *, learnable: bool = False, zero: F.Zero = "one") -> None:
        check_number("a", a, above=0, below=1)
        super().__init__(zero=zero) if learnable else super().__init__(zero=zero, a=a)
        if learnable:
            self.a = nn.Parameter(torch.tensor(float(a)))

    def forward(self, x: Tensor) -> Tensor:
        b = F.straight_through(x, self._there(), self._back, *self._sharpness())
        if not isinstance(self.a, nn.Parameter):
            return b
        soft = S.dsq_primitive(x.detach(), self.a.clamp(1e-3, 1 - 1e-3))
        return b + (soft - soft.detach())

    def _sharpness(self) -> tuple[Tensor, ...]:
        return (self.a.detach().clamp(1e-3, 1 - 1e-3) if isinstance(self.a, nn.Parameter) else self.a,)

    def primitive(self, x: Tensor) -> Tensor:
        return S.dsq_primitive(x, *self._sharpness())


class FDA(Estimator):
    """Fourier series of the square wave of frequency w, terms 0 to n; without the original's learned noise module."""

    w: Tensor

    def __init__(self, w: float = 0.5, n: int = 9, *, zero: F.Zero = "one") -> None:
        self.n = check_number("n", n, least=0, integer=True)
        super().__init__(zero=zero, **_positive(w=w))

    _back = staticmethod(S.fda_surrogate)

    def _sharpness(self) -> tuple[Tensor | int, ...]:
        return self.w, self.n

    def primitive(self, x: Tensor) -> Tensor:
        return S.fda_primitive(x, self.w, self.n)


class Sigmoid(Estimator):
    """The slope of ``2 sigmoid(bx) - 1``."""

    b: Tensor
    _back = staticmethod(S.sigmoid_surrogate)

    def __init__(self, b: float = 1.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, **_positive(b=b))

    def primitive(self, x: Tensor) -> Tensor:
        return S.sigmoid_primitive(x, self.b)


class Tanh(Estimator):
    """The slope of ``tanh(bx)``."""

    b: Tensor
    _back = staticmethod(S.tanh_surrogate)

    def __init__(self, b: float = 1.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, **_positive(b=b))

    def primitive(self, x: Tensor) -> Tensor:
        return S.tanh_primitive(x, self.b)


class Arctan(Estimator):
    """The slope of ``(2/pi) arctan(bx)``."""

    b: Tensor
    _back = staticmethod(S.arctan_surrogate)

    def __init__(self, b: float = 1.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, **_positive(b=b))

    def primitive(self, x: Tensor) -> Tensor:
        return S.arctan_primitive(x, self.b)


class Progressive(Estimator):
    """Progressive binarisation: ``clamp(x / (1 - T), -1, 1)`` in training, T from 0 to 1, the sign in evaluation; slope 1."""

    T: Tensor

    def __init__(self, T: float = 0.0, *, zero: F.Zero = "one") -> None:
        super().__init__(zero=zero, T=check_number("T", T, least=0, most=1))

    @staticmethod
    def _back(x: Tensor, T: Tensor) -> Tensor:
        return S.ste_surrogate(x)

    def _there(self) -> Callable[..., Tensor]:
        return S.progressive_forward if self.training else _SIGNS[self.zero]

    def primitive(self, x: Tensor) -> Tensor:
        return x

    def advance(self, progress: float, o_end: float = 3.0) -> None:
        self._set(T=progress)


ESTIMATORS: dict[str, type[Estimator]] = {
    "reste": ReSTE,
    "ste": STE,
    "clipped_ste": ClippedSTE,
    "polynomial": Polynomial,
    "swish": Swish,
    "ede": EDE,
    "rbnn": RBNN,
    "dsq": DSQ,
    "fda": FDA,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "arctan": Arctan,
    "progressive": Progressive,
}


def make_estimator(estimator: str | Estimator) -> Estimator:
    """The estimator of a name, with its default sharpness; an object is given back as it is.

    Raises ValueError for an unknown name, TypeError for anything else.

    >>> make_estimator("reste")
    ReSTE(o=1, t=1.5, m=0.1)
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str):
        raise wrong(
            "estimator",
            "a name or an Estimator",
            estimator,
            f"names: {', '.join(ESTIMATORS)}",
            error=TypeError,
        )
    return ESTIMATORS[check_choice("estimator", estimator, ESTIMATORS)]()
