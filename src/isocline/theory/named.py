"""The activations that have a name: a torch function each, its kinks, and exact derivatives where speed wants them.

Derivatives are NumPy generators that yield ``s, s', s'', s'''`` at `z` one after the other, so that only
those asked for are computed; an activation without them is differentiated by autograd.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.special import erf, expit, ndtr
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong

Array = npt.NDArray[np.float64]
Derivatives = Iterator[Array]


@dataclass(frozen=True, slots=True)
class Named:
    """What is known of an activation beforehand."""

    function: Callable[..., Tensor]
    derivatives: Callable[..., Derivatives] | None = None
    kinks: tuple[float, ...] = ()
    parameter: float | None = (
        None  # the default of the one number in brackets, leaky_relu(0.1); None: it takes none
    )


def linear_derivatives(z: Array) -> Derivatives:
    """``s = z``."""
    yield z
    yield np.ones_like(z)
    while True:
        yield np.zeros_like(z)


def leaky_relu_derivatives(z: Array, slope: float = 0.0) -> Derivatives:
    """``s = z`` above zero and ``slope z`` below, without the deltas at zero."""
    bend = np.where(z >= 0, 1.0, slope)
    yield bend * z
    yield bend
    while True:
        yield np.zeros_like(z)


def tanh_derivatives(z: Array) -> Derivatives:
    """``s' = 1 - s^2``."""
    s = np.tanh(z)
    yield s
    square = s * s
    slope = 1 - square
    yield slope
    yield -2 * s * slope
    yield (6 * square - 2) * slope


def sin_derivatives(z: Array) -> Derivatives:
    """``s'' = -s``."""
    s = np.sin(z)
    yield s
    slope = np.cos(z)
    yield slope
    yield -s
    yield -slope


def erf_derivatives(z: Array) -> Derivatives:
    """``s' = 2 exp(-z^2) / sqrt(pi)``."""
    yield erf(z)
    slope = 2 / sqrt(pi) * np.exp(-z * z)
    yield slope
    yield -2 * z * slope
    yield (4 * z * z - 2) * slope


def gelu_derivatives(z: Array) -> Derivatives:
    """``s = z Phi(z)`` with the normal distribution function Phi and its density phi: ``s' = Phi + z phi``,
    ``s'' = (2 - z^2) phi``.
    """
    below = ndtr(z)
    yield z * below
    density = np.exp(-0.5 * z * z) / sqrt(2 * pi)
    yield below + z * density
    yield density * (2 - z * z)
    yield density * z * (z * z - 4)


def swish_derivatives(z: Array, beta: float = 1.0) -> Derivatives:
    """``s = z sigma(beta z)`` with ``sigma(t) = 1 / (1 + exp(-t))``; ``bump = sigma(beta z)'``,
    ``tilt = bump' / bump``.
    """
    gate = expit(beta * z)
    yield z * gate
    bump = beta * gate * (1 - gate)
    yield gate + z * bump
    tilt = beta * (1 - 2 * gate)
    yield bump * (2 + z * tilt)
    yield bump * (3 * tilt + z * (tilt * tilt - 2 * beta * bump))


def softsign_derivatives(z: Array) -> Derivatives:
    """``s = z / (1 + |z|)``; s'' jumps at zero."""
    whole = 1 + np.abs(z)
    yield z / whole
    yield whole**-2.0
    yield -2 * np.sign(z) * whole**-3.0
    yield 6 * whole**-4.0


def _hard_sigmoid(z: Tensor) -> Tensor:
    return torch.clamp(z / 6 + 0.5, 0.0, 1.0)  # torch's own has no second derivative


def _hard_swish(z: Tensor) -> Tensor:
    return z * _hard_sigmoid(z)  # torch's own computes 1 / 6 in float32


def _swish(z: Tensor, beta: float = 1.0) -> Tensor:
    return z * torch.sigmoid(beta * z)


_HARD = (-3.0, 0.0, 3.0)
_LEAKY = Named(F.leaky_relu, leaky_relu_derivatives, (0.0,), parameter=0.01)
_SWISH = Named(_swish, swish_derivatives, parameter=1.0)
_GELU_TANH = Named(partial(F.gelu, approximate="tanh"))

NAMED: Mapping[str, Named] = {
    "linear": Named(torch.Tensor.clone, linear_derivatives),
    "relu": Named(torch.relu, leaky_relu_derivatives, (0.0,)),
    "leaky_relu": _LEAKY,
    "tanh": Named(torch.tanh, tanh_derivatives),
    "sin": Named(torch.sin, sin_derivatives),
    "erf": Named(torch.erf, erf_derivatives),
    "gelu": Named(F.gelu, gelu_derivatives),
    "gelu_tanh": _GELU_TANH,
    "swish": _SWISH,
    "silu": _SWISH,
    "quick_gelu": Named(partial(_swish, beta=1.702), partial(swish_derivatives, beta=1.702)),
    "mish": Named(F.mish),
    "hard_swish": Named(_hard_swish, kinks=_HARD),
    "hard_sigmoid": Named(_hard_sigmoid, kinks=(-3.0, 3.0)),
    "hard_tanh": Named(F.hardtanh, kinks=(-1.0, 1.0)),
    "relu6": Named(F.relu6, kinks=(0.0, 6.0)),
    "elu": Named(F.elu, kinks=(0.0,), parameter=1.0),
    "selu": Named(F.selu, kinks=(0.0,)),
    "celu": Named(F.celu, kinks=(0.0,), parameter=1.0),
    "sigmoid": Named(torch.sigmoid),
    "softplus": Named(F.softplus, parameter=1.0),
    "softsign": Named(F.softsign, softsign_derivatives, (0.0,)),
    "arctan": Named(torch.atan),
    "cos": Named(torch.cos),
}

_MODULES: Mapping[type[nn.Module], Callable[[Any], str]] = {
    nn.Identity: lambda module: "linear",
    nn.ReLU: lambda module: "relu",
    nn.LeakyReLU: lambda module: f"leaky_relu({module.negative_slope!r})",
    nn.Tanh: lambda module: "tanh",
    nn.GELU: lambda module: "gelu" if module.approximate == "none" else "gelu_tanh",
    nn.SiLU: lambda module: "swish",
    nn.Mish: lambda module: "mish",
    nn.Hardswish: lambda module: "hard_swish",
    nn.Hardsigmoid: lambda module: "hard_sigmoid",
    nn.ReLU6: lambda module: "relu6",
    nn.ELU: lambda module: f"elu({module.alpha!r})",
    nn.SELU: lambda module: "selu",
    nn.CELU: lambda module: f"celu({module.alpha!r})",
    nn.Sigmoid: lambda module: "sigmoid",
    nn.Softsign: lambda module: "softsign",
}


def name_of_module(module: nn.Module) -> str | None:
    """The name of a torch activation module, with its parameter; None for one that has no name here."""
    namer = _MODULES.get(type(module))
    return None if namer is None else namer(module)


def parse(text: str) -> tuple[str, Named, tuple[float, ...]]:
    """``"leaky_relu(0.1)"`` as its full name, what is known of it, and the further arguments of its functions.

    >>> parse("Leaky_ReLU(0.1)")[0], parse("tanh")[0]
    ('leaky_relu(0.1)', 'tanh')
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*([^()\s]+)\s*\))?\s*", text.lower())
    if match is None:
        raise wrong("activation", "a name such as 'tanh' or 'leaky_relu(0.1)'", repr(text))
    name, number = match.groups()
    known = NAMED[check_choice("activation", name, NAMED)]
    if known.parameter is None:
        if number is not None:
            raise wrong("activation", f"{name!r} without a number", repr(text))
        return name, known, ()
    try:
        value = known.parameter if number is None else float(number)
    except ValueError:
        raise wrong("activation", f"a number in the brackets of {name}(...)", repr(text)) from None
    check_number(f"activation {text!r}", value)
    return name if number is None else f"{name}({value!r})", known, (value,)
