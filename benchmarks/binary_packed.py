"""Packed binary layers and networks beside PyTorch's float32: the same shapes, one thread, one run.

The packed convolution takes bits and gives bits, as between two binary layers; what packing its input costs stands in a row of
its own. Float layers run as PyTorch runs them fastest here: in inference mode, channels first and last are both shown.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isocline.binary import models
from isocline.binary.packed import pack
from isocline.binary.packed.bits import from_signs
from isocline.binary.packed.epilogue import Affine, Limits
from isocline.binary.packed.kernels import SignConvolution, bits_of
from isocline.binary.packed.kernels.lanes import WIDE
from isocline.binary.packed.window import Window

FASTER, NETWORK = (10.0 if WIDE else 3.0), 3.0
WORDS = {True: "AVX-512 VPOPCNTDQ", False: "no vector instruction that counts bits: bytes, by look-up"}


def layer_calls(B: int = 32, C: int = 64, side: int = 32) -> dict[str, Callable[[], object]]:
    """The convolution C -> C, 3 x 3, on B maps."""
    rng = np.random.default_rng(0)
    x, w = rng.choice([-1, 1], (B, 1, side, side, C)), rng.choice([-1, 1], (C, 1, 3, 3, C))
    window = Window(C, C, kernel=(1, 3, 3), before=(0, 1, 1), after=(0, 1, 1))
    limits = Limits(rng.integers(-20, 20, C).astype(np.int32), rng.random(C) < 0.5)
    how = Affine(*(rng.standard_normal(C).astype(np.float32) for _ in range(4)), floor=0.0)
    bits, numbers = from_signs(x), x.astype(np.float32)
    first = torch.from_numpy(numbers[:, 0]).permute(0, 3, 1, 2).contiguous()
    weight = torch.from_numpy(w[:, 0].astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    to_bits, to_numbers = SignConvolution(window, w, limits), SignConvolution(window, w, how)
    slow = SignConvolution(window, w, limits, "reference")
    planes = first.reshape(B, C, 1, side, side).numpy()

    def conv(form: Any) -> Callable[[], Tensor]:
        a, b = first.contiguous(memory_format=form), weight.contiguous(memory_format=form)

        def run() -> Tensor:
            with torch.inference_mode():
                return torch.conv2d(a, b, padding=1)

        return run

    return {
        "packed, bits to bits": lambda: to_bits.to_bits(bits),
        "packed, bits to numbers, with a skip and bits": lambda: to_numbers.to_numbers(bits, numbers, True),
        "packed, numbers (channels first) to bits": lambda: to_bits.to_bits(
            bits_of(planes, channels_first=True)
        ),
        "packing alone": lambda: bits_of(planes, channels_first=True),
        "packed, NumPy": lambda: slow.to_bits(bits),
        "float32, channels first": conv(torch.contiguous_format),
        "float32, channels last": conv(torch.channels_last),
    }


def layer() -> str:
    times = sides.take_turns(layer_calls(), rounds=9, warmup=2)
    ours = times["packed, bits to bits"]
    floats = [name for name in times if name.startswith("float32")]
    best = min(floats, key=lambda name: times[name].middle)
    rows = []
    for name, timing in times.items():
        ratio = times[best].over(timing)
        judged = name == "packed, bits to bits"
        verdict = ("reached" if ratio.middle >= FASTER else "**lost**") if judged else ""
        rows.append([name, ms(timing), ratio.words(), f"≥ {FASTER:g}" if judged else "", verdict])
    columns = ["64 → 64, 3x3, 32 x 32, batch 32", "ms", "faster than the faster float32", "wanted", ""]
    per = 32 * 32 * 32 * 64 * 64 * 9 * 2 / ours.middle / 1e12
    words = f"This processor: {WORDS[WIDE]}. Bits to bits is {per:.2g} Tera-operations a second."
    return f"{words}\n\n{sides.table(columns, rows)}"


def networks() -> str:
    rows = []
    torch.manual_seed(0)
    for name, make, side in (
        ("CIFAR ResNet-18", models.resnet18_cifar, 32),
        ("ImageNet ResNet-18", models.resnet18_imagenet, 224),
    ):
        binary, real = make().eval(), make(binary=False).eval()
        packed = pack(binary)
        for batch in (1, 32) if side == 32 else (1,):
            x = torch.randn(batch, 3, side, side)
            times = sides.take_turns(
                {"packed": inference(packed, x), "real": inference(real, x), "binary": inference(binary, x)},
                rounds=7,
                warmup=2,  # the first call compiles; the second says how often to repeat
            )
            with torch.inference_mode():
                exact = torch.equal(packed(x), binary(x))
            ratio = times["real"].over(times["packed"])
            judged = side == 32
            verdict = ("reached" if ratio.middle >= NETWORK else "**lost**") if judged else ""
            columns = [name, batch, *(ms(times[kind]) for kind in ("packed", "real", "binary"))]
            rows.append(
                [
                    *columns,
                    ratio.words(),
                    f"≥ {NETWORK:g}" if judged else "",
                    verdict,
                    "yes" if exact else "**no**",
                ]
            )
    columns = [
        "",
        "batch",
        "packed, ms",
        "float32 twin, ms",
        "binary, unpacked, ms",
        "twin / packed",
        "wanted",
        "",
        "to the bit",
    ]
    words = "End to end, float stem, shortcuts and classifier included; results are compared with the unpacked binary network."
    return f"{words}\n\n{sides.table(columns, rows)}"


def inference(model: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return run


def disk() -> str:
    rows = []
    torch.manual_seed(0)
    for name, make in (
        ("CIFAR ResNet-18", models.resnet18_cifar),
        ("ImageNet ResNet-18", models.resnet18_imagenet),
    ):
        model = drawn(make()).eval()
        packed = pack(model)
        with tempfile.TemporaryDirectory() as folder:
            packed.save(folder)
            total = sum(path.stat().st_size for path in Path(folder).iterdir())
        parts = packed.sizes()
        shortcuts = sum(
            array.nbytes for step in packed.steps if "shortcut" in step.name for array in step.arrays.values()
        )
        real = sum(4 * parameter.numel() for parameter in model.parameters())
        ends = parts["float weights"] - shortcuts
        sizes = [parts["1-bit weights"], parts["limits and affine maps"], ends, shortcuts]
        rows.append(
            [
                name,
                *(f"{size / 1e6:.3f}" for size in sizes),
                f"{total / 1e6:.3f} = {total / 2**20:.3f} MiB",
                f"{real / 1e6:.1f}",
            ]
        )
    columns = [
        "MB = 10^6 bytes",
        "1-bit weights",
        "limits, affine maps",
        "float first and last",
        "float 1x1 shortcuts",
        "on disk",
        "float32",
    ]
    return sides.table(columns, rows)


def drawn(model: nn.Module) -> nn.Module:
    """Norms as after training: no two channels alike."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(tensor)
    return model


def ms(timing: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in timing.seconds)).words()


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = [layer(), networks(), disk()]
    sides.write_results("binary_packed", "binary layers and networks on bits", parts)
