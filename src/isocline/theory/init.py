"""`critical_init_`: put a module at criticality, and say for every layer what was done, how, and what was not
covered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from math import isfinite, prod, sqrt
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline._core.files import plain
from isocline._core.seeds import derive_seed, torch_generator
from isocline.theory.plan import Layer, plan
from isocline.theory.structure import WEIGHTS, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COVERED = (*WEIGHTS, nn.MultiheadAttention)
_STEP = 1e-2  # size of the disturbance that is followed through the network, relative to the sample


@dataclass(frozen=True, slots=True)
class InitReport:
    """What `critical_init_` did, one `Layer` a row in the order of execution."""

    layers: tuple[Layer, ...]
    left_alone: tuple[str, ...]  # modules with parameters that the theory does not cover
    notes: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{'layer':28}{'C_W before':>11}{'chi before':>11}{'C_W':>9}{'C_b':>9}{'chi':>9}{'K':>9}{'measured':>9}"
        rows = [
            f"{layer.name[-27:]:28}{layer.before:11.4g}{layer.chi_before:11.4g}{layer.weight_variance:9.4g}"
            f"{layer.bias_variance:9.4g}{layer.chi_perp:9.4g}{layer.kernel:9.4g}{layer.measured:9.4g}  {layer.how}"
            for layer in self.layers
        ]
        alone = [f"left alone: {', '.join(self.left_alone)}"] if self.left_alone else []
        return "\n".join([f"{head}  how", *rows, *alone, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The kernel that each layer was given, and the one measured, in the order of execution; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        at = range(1, len(self.layers) + 1)
        ax.plot(at, [layer.kernel for layer in self.layers], label="planned")
        if any(isfinite(layer.measured) for layer in self.layers):
            ax.plot(at, [layer.measured for layer in self.layers], ".", label="measured")
        ax.set(
            yscale="log", xlabel="layer", ylabel="mean square of its output", title="Critical initialisation"
        )
        ax.legend()
        return ax


def critical_init_(
    module: nn.Module, sample: Tensor | None = None, *, distribution: str = "orthogonal", seed: int = 0
) -> InitReport:
    """Initialise `module` in place at criticality: weights of variance ``C_W / fan-in``, Gaussian biases of ``C_b``.

    `distribution` "orthogonal" draws every matrix of weights (of a convolution: its kernels, flattened) with
    orthonormal rows or columns, scaled to that variance; "gaussian" draws them independently, as the ensembles
    of `EffectiveTheory`. At infinite width they are one; a finite orthogonal network fluctuates less.

    Where `torch.fx` can trace the module, the nonlinearity before a layer decides: it gets the critical
    variances, for a half-stable or non-critical one those with ``chi_perp = 1`` at the K that reaches it.
    Layer 1 brings K to where the next nonlinearity wants it, the last layer is a readout with ``C_W = 1``,
    and the last weights of each of N residual branches have a share 1 / N, so that all of them together gain
    a factor e at most.

    With a `sample`, a batch as the module takes it (batch first), one pass measures: layer 1 sees the real
    inputs, padding counts in the fan-in, and what stands behind something unknown (attention, pooling, a
    module that cannot be traced) is scaled until a small disturbance is as large behind it as before.
    Normalisations, embeddings and recurrent layers are left alone and named.

    The mode, hooks, requires_grad and random state are as they were found. Source: PDLT chapter 5 and
    appendix B; the measured pass is layer-sequential as in Mishkin & Matas 2016, for susceptibilities in
    place of variances; orthogonal weights as in Saxe, McClelland & Ganguli 2014. Raises ValueError or
    TypeError for a module without such layers, or a sample that is not finite or zero.
    """
    if not isinstance(module, nn.Module):
        raise wrong("module", "a torch module", module, error=TypeError)
    check_choice("distribution", distribution, ("orthogonal", "gaussian"))
    covered = [m for m in module.modules() if isinstance(m, _COVERED)]
    if not covered:
        raise wrong("module", "linear, convolutional or attention layers in it", type(module).__name__)
    if isinstance(module, _COVERED):
        module = nn.Sequential(module)  # a layer by itself is a network of one
    square = _mean_square(sample)
    layers, notes = plan(module, trace(module), square)
    # a sample is often drawn with the same seed: it must not be a row of the weights
    seed = check_number("seed", seed, least=0, below=2**63, integer=True)
    generator = torch_generator(derive_seed("critical_init_", seed))
    for layer in layers:
        _draw(module, layer, generator, orthogonal=distribution == "orthogonal")
    if sample is not None:
        layers = _measured(module, layers, sample, generator)
        notes += _spread(sample)
    elif any(layer.measure == "gain" for layer in layers):
        notes.append(
            "layers behind something unknown were given a guess: pass a sample to have them measured"
        )
    return InitReport(tuple(layers), tuple(_left_alone(module)), tuple(notes))


def _mean_square(sample: Tensor | None) -> float:
    if sample is None or not sample.is_floating_point():
        return 1.0
    check_finite("sample", sample)
    square = float(sample.detach().double().square().mean())
    if not square > 0:
        raise wrong("sample", "a batch that is not zero", sample)
    return square


def _spread(sample: Tensor) -> list[str]:
    if not sample.is_floating_point() or sample.ndim < 2 or len(sample) < 2:
        return []
    each = sample.detach().double().flatten(1).square().mean(1)
    return [
        f"the inputs' mean squares lie between {float(each.min()):.3g} and {float(each.max()):.3g}: so does their K"
    ]


def _draw(module: nn.Module, layer: Layer, generator: torch.Generator, *, orthogonal: bool) -> None:
    """Weights and biases for one row of the plan."""
    for weight, bias, owner in _tensors(module, layer.name):
        groups = getattr(owner, "groups", 1) if orthogonal else 0
        _fill(owner, weight, sqrt(layer.weight_variance / layer.fan_in), generator, groups)
        if getattr(owner, bias, None) is not None:
            _fill(owner, bias, sqrt(layer.bias_variance), generator)


def _tensors(module: nn.Module, name: str) -> Iterator[tuple[str, str, nn.Module]]:
    """The names of weights and biases of a row of the plan, and the module that has them."""
    place, _, part = name.rpartition(".")
    if part == "in_proj":
        owner = module.get_submodule(place)
        weights = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        yield from (
            (weight, "in_proj_bias", owner) for weight in weights if getattr(owner, weight) is not None
        )
    else:
        yield "weight", "bias", module.get_submodule(name)


@torch.no_grad()
def _fill(owner: nn.Module, name: str, deviation: float, generator: torch.Generator, groups: int = 0) -> None:
    """Gaussian numbers of a deviation; with `groups`, so many matrices of it that are orthogonal."""
    old = getattr(owner, name)
    new = torch.randn(old.shape, generator=generator, dtype=torch.float64)
    if groups:
        new = torch.cat([semi_orthogonal(part.flatten(1)) for part in new.chunk(groups)]).reshape(old.shape)
    _assign(owner, name, (deviation * new).to(old))


def semi_orthogonal(gaussian: Tensor) -> Tensor:
    """From independent normal numbers ``(m, n)``, a matrix ``(m, n)`` with orthogonal rows or columns, uniform among
    those, of length ``sqrt(max(m, n))``: its entries too have variance one.
    """
    tall = gaussian if len(gaussian) >= gaussian.shape[1] else gaussian.T
    q, r = torch.linalg.qr(tall)
    q = q * (sqrt(len(tall)) * torch.sgn(r.diagonal()))  # Mezzadri 2007: without the signs it is not uniform
    return q if tall is gaussian else q.T


@torch.no_grad()
def _assign(owner: nn.Module, name: str, new: Tensor) -> None:
    if parametrize.is_parametrized(owner, name):
        setattr(owner, name, new)  # through the parametrization, which may keep only part of it
    else:
        getattr(owner, name).copy_(new)


def _measured(
    module: nn.Module, layers: list[Layer], sample: Tensor, generator: torch.Generator
) -> list[Layer]:
    """One pass with the sample and a slightly disturbed copy: scale what is to be measured, in order, and record the
    rest.
    """
    rows = {
        row.name.removesuffix(".out_proj"): i
        for i, row in enumerate(layers)
        if not row.name.endswith(".in_proj")
    }
    found, sizes = list(layers), {}

    def look(name: str, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if isinstance(part, nn.Embedding) and not sample.is_floating_point():
            return _disturbed(output, generator)
        if name in sizes or name not in rows:
            return None  # called again, or part of attention
        layer = found[rows[name]]
        factor = _factor(layer, part, args, _value(output), sizes)
        if factor != 1.0:
            owner = module.get_submodule(layer.name)
            _assign(owner, "weight", owner.weight * sqrt(factor))  # type: ignore[operator]
            output = part.forward(*args, **kwargs)
        sizes[name] = _difference(_value(output))
        found[rows[name]] = replace(
            layer,
            weight_variance=layer.weight_variance * (factor if layer.measure else 1.0),
            chi_perp=layer.chi_perp * (factor if layer.measure else 1.0),
            measured=_size(_halves(_value(output))[0]),
        )
        return output

    twice = torch.cat([sample, sample])
    with _watching(module, look), torch.no_grad():
        module(_disturbed(twice, generator) if sample.is_floating_point() else twice)
    return found


def _factor(
    layer: Layer, part: nn.Module, args: tuple[Any, ...], value: Tensor, sizes: dict[str, float]
) -> float:
    """By how much the variance of a layer's weights must change."""
    if layer.measure == "kernel":
        wanted, size = layer.kernel - layer.bias_variance, _size(_halves(value - _bias(part))[0])
    elif layer.measure == "gain":
        known = [sizes[name] for name in layer.above if name in sizes] or list(sizes.values())[-1:]
        wanted, size = layer.share * sum(known) / max(1, len(known)), _difference(value)
    else:
        return _padding(part, args[0])
    return wanted / size if wanted > 0 and size > 0 and isfinite(wanted / size) else 1.0


def _bias(part: nn.Module) -> Tensor | float:
    """The bias as it stands in the output of a layer."""
    bias = part.out_proj.bias if isinstance(part, nn.MultiheadAttention) else part.bias
    if not isinstance(bias, Tensor):
        return 0.0
    spatial = len(part.kernel_size) if hasattr(part, "kernel_size") else 0  # type: ignore[arg-type]
    return bias.reshape(-1, *[1] * spatial)


def _padding(part: nn.Module, x: Tensor) -> float:
    """By how much zeros around the maps shrink what a convolution adds up, where this batch has its signal."""
    if not isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) or part.padding_mode != "zeros":
        return 1.0
    if part.padding == "valid" or not any(part.padding):
        return 1.0
    convolve = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}[type(part)]
    energy = _halves(x)[0].square().mean((0, 1))[None, None]
    taps = torch.full(
        (1, 1, *part.kernel_size), 1 / prod(part.kernel_size), dtype=energy.dtype, device=x.device
    )
    met = convolve(energy, taps, stride=part.stride, padding=part.padding, dilation=part.dilation)
    return float(energy.mean() / met.mean()) if met.any() else 1.0


def _disturbed(twice: Tensor, generator: torch.Generator) -> Tensor:
    """Add a little noise to the second half of a batch."""
    half = len(twice) // 2
    noise = torch.randn(twice[half:].shape, generator=generator, dtype=torch.float64).to(twice)
    size = _STEP * float(twice.double().square().mean().sqrt())
    return torch.cat([twice[:half], twice[half:] + size * noise])


def _value(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _halves(value: Tensor) -> tuple[Tensor, Tensor]:
    half = len(value) // 2
    return value[:half].double(), value[half:].double()


def _size(value: Tensor) -> float:
    return float(value.square().mean())


def _difference(value: Tensor) -> float:
    first, second = _halves(value)
    return _size(second - first)


@contextmanager
def _watching(module: nn.Module, look: Callable[..., Any]) -> Iterator[None]:
    """Every covered part calls `look` after its forward, in evaluation mode; modes and hooks are put back."""
    parts = [(name, m) for name, m in module.named_modules() if isinstance(m, (*_COVERED, nn.Embedding))]
    modes = {m: m.training for m in module.modules()}
    hooks = []
    try:
        for name, part in parts:
            call = partial(look, name)
            hooks.append(part.register_forward_hook(call, with_kwargs=True))
        module.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for m, mode in modes.items():
            m.training = mode


def _left_alone(module: nn.Module) -> Iterator[str]:
    inside: set[nn.Module] = set()
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            inside |= set(part.modules())
        if part in inside or isinstance(part, _COVERED):
            continue
        if next(part.parameters(recurse=False), None) is not None:
            yield f"{name or 'the module itself'} ({type(part).__name__})"
