"""Training binary layers: forward and backward beside a plain convolution, the same formulas in PyTorch, and two libraries.

brevitas quantises weights and activations to their sign by a straight-through estimator, with scales that are constants;
bitorch takes the sign of both, with a clipped straight-through estimator ("sign") or Bi-Real net's polynomial ("approxsign").
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import math
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from isocline.binary import BinaryConv2d, ReSTE
from isocline.binary.functional import reste_surrogate, sign, straight_through, weight_scale

MOST = 1.15  # times a plain convolution
POWER = 2.5  # of ReSTE, in the middle of its way from 1 to 3
SHAPES = [
    (64, 64, 32, 1, 32),
    (128, 128, 16, 1, 32),
    (64, 128, 32, 2, 32),
    (512, 512, 4, 1, 32),
    (16, 16, 32, 1, 128),
]


class Formulas(nn.Conv2d):
    """ReSTE as its formulas are printed, in PyTorch's operators: what the kernels are measured against."""

    def forward(self, x: Tensor) -> Tensor:
        slope = (POWER, 1.5, 0.1)
        w, s = (straight_through(t, lambda z, *_: sign(z), reste_surrogate, *slope) for t in (self.weight, x))
        return self._conv_forward(s, w * weight_scale(self.weight), None)


class Brevitas(nn.Module):
    def __init__(self, C: int, M: int, k: int, stride: int, padding: int) -> None:
        from brevitas.nn import QuantConv2d, QuantIdentity
        from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst

        super().__init__()
        self.activation = QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
        weight = {"weight_quant": SignedBinaryWeightPerTensorConst}
        self.conv = QuantConv2d(C, M, k, stride, padding, bias=False, **weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.activation(x))


def bitorch(activation: str) -> Callable[..., nn.Module]:
    from bitorch.layers import QConv2d

    quantizers = {"weight_quantization": "sign", "input_quantization": activation}
    return lambda *shape: QConv2d(*shape, bias=False, **quantizers)


def ours(**how: object) -> Callable[..., nn.Module]:
    return lambda *shape: BinaryConv2d(*shape, **{"estimator": ReSTE(POWER), **how})


OURS = {
    "ReSTE": ours(),
    "ReSTE, border of +1": ours(pad_value=1),
    "ReSTE, real inputs (1W/32A)": ours(input_estimator=None),
    "`clipped_ste`": ours(estimator="clipped_ste"),
    "`polynomial`": ours(estimator="polynomial"),
    "`ede`": ours(estimator="ede"),
}


def peers() -> dict[str, Callable[..., nn.Module]]:
    return {
        "ReSTE, formulas in PyTorch": lambda *shape: Formulas(*shape, bias=False),
        "brevitas": Brevitas,
        "bitorch, sign": bitorch("sign"),
        "bitorch, approxsign": bitorch("approxsign"),
    }


def plain(*shape: int) -> nn.Module:
    return nn.Conv2d(*shape, bias=False)


def step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """One forward and backward pass, with gradients to weight and input."""
    x = x.detach().clone().requires_grad_()
    upstream = torch.randn_like(layer(x).detach())

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(upstream)

    return run


def kept(layer: nn.Module, x: Tensor) -> int:
    """Bytes that wait for the backward pass, the input and the parameters among them, each memory once."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x.detach().clone().requires_grad_())
    return sum(held.values())


def one_layer() -> str:
    x = torch.randn(32, 64, 32, 32)
    shape = (64, 64, 3, 1, 1)
    made = {"plain": plain, **OURS, **peers()}
    layers = {name: make(*shape) for name, make in made.items()}
    timings = sides.take_turns({name: step(layer, x) for name, layer in layers.items()}, rounds=15, warmup=3)
    rows = []
    for name, timing in timings.items():
        ratio, times = timing.over(timings["plain"]), timing.over(timings["ReSTE"])
        verdict = wanted(name, ratio.middle, times.middle)
        megabytes = f"{kept(layers[name], x) / 1e6:.1f}"
        milliseconds = sides.Timing(tuple(1e3 * s for s in timing.seconds)).words()
        rows.append([name, milliseconds, ratio.words(), times.words(), megabytes, *verdict])
    columns = ["layer", "CPU ms", "over plain", "over ReSTE's", "kept, MB", "wanted", ""]
    said = "64 → 64 channels, 3×3, 32×32, batch 32, float32, forward and backward:\n\n"
    return said + sides.table(columns, rows)


def wanted(name: str, over_plain: float, over_ours: float) -> tuple[str, str]:
    if name == "ReSTE":
        return f"≤ {MOST:g} plain", "reached" if over_plain <= MOST else "**lost**"
    if name.startswith(("brevitas", "bitorch")):
        return "slower than ReSTE", "reached" if over_ours > 1 else "**lost**"
    return "", ""


def other_shapes() -> str:
    rows = []
    for C, M, side, stride, batch in SHAPES:
        x, shape = torch.randn(batch, C, side, side), (C, M, 3, stride, 1)
        made: Mapping[str, Callable[..., nn.Module]] = {"plain": plain, "ReSTE": OURS["ReSTE"], **peers()}
        timings = sides.take_turns(
            {name: step(make(*shape), x) for name, make in made.items()}, rounds=9, warmup=2
        )
        ratios = [timings["ReSTE"].over(timings["plain"])]
        ratios += [timings[name].over(timings["ReSTE"]) for name in peers()]
        number = math.prod(x.shape)
        words = f"{C} → {M}, {side}×{side}, stride {stride}, batch {batch}"
        rows.append([words, f"{number / 1e6:.2f}", *(ratio.words() for ratio in ratios)])
    return sides.table(
        ["layer", "million inputs", "ReSTE over plain", *(f"{name} over ReSTE's" for name in peers())], rows
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the peers', on what they import
    torch.manual_seed(0)
    sides.write_results(
        "binary", "a training layer beside a plain convolution", [one_layer(), other_shapes()]
    )
