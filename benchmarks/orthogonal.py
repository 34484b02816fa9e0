"""Orthogonal convolutions: spectra, bounds and the penalty, beside the plain way and two libraries' bounds.

deel-torchlip bounds a layer by the spectral norm of its kernel as an M x C k^2 matrix times sqrt(ceil(k / S)^2); orthogonium
by Gram iteration at the frequencies of the image (circular padding, stride ignored) or on the kernel (zeros, any size).
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from isocline.datasets.images import load_images
from isocline.orthogonal import (
    OrthogonalPenalty,
    certified_bounds,
    extreme_singular_values,
    lorth,
    orthogonal_,
    singular_values,
)

SIDE = 32
FASTER, SLOWER = 2.0, 3.0  # than the whole grid at least; than a peer's bound at most
MILLISECOND, SHARE = 1.0, 0.05
CYCLE = 64  # calls after which every layer has had its turns


def layer(M: int, C: int, k: int = 3, S: int = 1, padding: str = "circular") -> nn.Conv2d:
    return nn.Conv2d(C, M, k, S, k // 2, bias=False, padding_mode=padding)


# The plain way, and the peers'


def full_grid(weight: Tensor, n: int) -> Tensor:
    """Sedghi, Gupta, Long 2019, as printed: FFT on the whole grid, one SVD a frequency."""
    return torch.linalg.svdvals(torch.fft.fft2(weight, (n, n)).permute(2, 3, 0, 1)).flatten()


def torchlip_bound(conv: nn.Conv2d) -> float:
    from deel.torchlip.normalizers import spectral_normalization
    from deel.torchlip.utils.lconv_norm import compute_lconv_coef

    sigma = spectral_normalization(conv.weight.detach().flatten(1), maxiter=50)[2]
    coefficient = compute_lconv_coef(conv.kernel_size, None, conv.stride, "circular")
    return float(sigma) / float(coefficient)


def orthogonium_bound(conv: nn.Conv2d, n: int | None, iterations: int = 4) -> float:
    """n: the image's side, circular; None: zeros, any size."""
    from orthogonium.layers.conv.singular_values import get_conv_sv

    before, conv.padding_mode = conv.padding_mode, "zeros" if n is None else "circular"
    try:
        return float(get_conv_sv(conv, iterations, return_stab_rank=False, imsize=n))
    finally:
        conv.padding_mode = before


def lorth_bound(conv: nn.Conv2d) -> float:
    """What a value of L_orth says without a layer's own frequencies: ``sqrt(1 + sqrt(alpha L))``, alpha of the paper."""
    bounds = certified_bounds(conv)
    return (1 + (bounds.alpha_paper * bounds.l_orth) ** 0.5) ** 0.5


# Speed


def fresh(conv: nn.Conv2d, call: Callable[[nn.Conv2d], Any]) -> Callable[[], Any]:
    """The call on a weight that it has not seen: singular values are kept as long as the weight is the same."""
    turn = iter(range(10**9))
    twins = [conv.weight.detach().clone(), conv.weight.detach() * (1 + 1e-6)]

    def run() -> Any:
        with torch.no_grad():
            conv.weight.copy_(twins[next(turn) % 2])
        return call(conv)

    return run


def spectra() -> str:
    conv = layer(64, 64)
    ours = {
        "`singular_values`": lambda c: singular_values(c, SIDE),
        "`certified_bounds`, grid 32": lambda c: certified_bounds(c, grid=32),
        "`certified_bounds`": certified_bounds,
        "`lorth`, forward": lambda c: lorth(c.weight.detach()),
    }
    peers = {
        "FFT and SVD on the whole grid": lambda c: full_grid(c.weight.detach(), SIDE),
        f"orthogonium, circular {SIDE}": lambda c: orthogonium_bound(c, SIDE),
        "orthogonium, zeros": lambda c: orthogonium_bound(c, None),
        "deel-torchlip": torchlip_bound,
    }
    timings = sides.take_turns({name: fresh(conv, call) for name, call in (ours | peers).items()}, rounds=7)
    exact, bound = timings["`singular_values`"], timings["`certified_bounds`"]
    rows = []
    for name, timing in timings.items():
        words, verdict = {
            "`certified_bounds`": (f"< {MILLISECOND:g} ms", 1e3 * bound.middle < MILLISECOND),
            "FFT and SVD on the whole grid": (f"exact ≥ {FASTER:g}", timing.over(exact).middle >= FASTER),
        }.get(name, ("", None))
        if name in peers and not words:
            words, verdict = f"exact ≥ 1/{SLOWER:g}", timing.over(exact).middle >= 1 / SLOWER
        said = "" if verdict is None else "reached" if verdict else "**lost**"
        gives = "upper bound" if "bound" in name or (name in peers and "grid" not in name) else "all, exact"
        gives = "L_orth" if "lorth" in name else gives
        rows.append(
            [name, gives, ms(timing), timing.over(exact).words(), timing.over(bound).words(), words, said]
        )
    columns = [
        "64 x 64 x 3 x 3, input 32 x 32",
        "gives",
        "ms",
        "/ exact",
        "/ `certified_bounds`",
        "wanted",
        "",
    ]
    error = (
        (full_grid(conv.weight.detach(), SIDE).sort(descending=True)[0] - singular_values(conv, SIDE))
        .abs()
        .max()
    )
    words = (
        f"float32; exact values differ from those of the whole grid by {error:.0e}. Nothing that looks at all frequencies comes "
        "near deel-torchlip's bound, the norm of one 64 x 576 matrix: to multiply the 514 complex matrices of half a grid with "
        "their own transposes alone takes 8 to 15 ms, their singular values by LAPACK 90."
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


# The penalty


class Block(nn.Module):
    def __init__(self, C: int, M: int, S: int) -> None:
        super().__init__()
        self.first, self.norm1 = layer(M, C, 3, S, "zeros"), nn.BatchNorm2d(M)
        self.second, self.norm2 = layer(M, M, 3, 1, "zeros"), nn.BatchNorm2d(M)
        self.shortcut = (
            nn.Sequential(layer(M, C, 1, S, "zeros"), nn.BatchNorm2d(M)) if S > 1 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm2(self.second(relu(self.norm1(self.first(x))))) + self.shortcut(x))


def resnet18() -> nn.Sequential:
    """For images of 32 x 32: a stem of 3 x 3 without a stride."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = [layer(64, 3, 3, 1, "zeros"), nn.BatchNorm2d(64), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*stem, *(Block(*width) for width in widths), *head)


def papers_network() -> nn.Sequential:
    """The widths of the paper's for CIFAR-10, at most 194 channels; its activation replaced by ReLU."""
    parts: list[nn.Module] = []
    for widths in ((3, 64, 66), (264, 64, 128, 130), (520, 128, 192, 194)):
        for C, M in pairwise(widths):
            parts += [layer(M, C), nn.ReLU()]
        parts.append(nn.PixelUnshuffle(2))
    return nn.Sequential(*parts, layer(192, 776), nn.ReLU(), nn.Flatten(), nn.Linear(192 * 16, 10))


def step_of(model: nn.Module, batch: int) -> Callable[[], object]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def cycle(penalty: OrthogonalPenalty) -> Callable[[], object]:
    """All turns of a penalty once, its gradients added to those that are there."""
    calls = 1 if penalty.every == 1 else CYCLE

    def run() -> None:
        for _ in range(calls):
            price = penalty()
            if price.requires_grad:
                price.backward()

    return run


def penalties() -> str:
    rows = []
    for name, make, batch in (("ResNet-18", resnet18, 32), ("the paper's widths", papers_network, 128)):
        torch.manual_seed(0)
        model = make()
        calls = {"step": step_of(model, batch)}
        calls |= {str(every): cycle(OrthogonalPenalty(model, 1e-3, every)) for every in (None, 1)}
        times = sides.take_turns(calls, rounds=5)
        for every, words in ((None, "as it comes"), (1, "`every=1`")):
            own = sides.Timing(tuple(value / (every or CYCLE) for value in times[str(every)].seconds))
            share = sides.Timing(tuple(100 * value for value in own.over(times["step"]).seconds))
            verdict = "" if every else "reached" if share.middle <= 100 * SHARE else "**lost**"
            wanted = "" if every else f"≤ {100 * SHARE:g} %"
            rows.append([name, batch, words, ms(times["step"]), ms(own), share.words(" %"), wanted, verdict])
    columns = [
        "CIFAR size", "batch", "`OrthogonalPenalty`", "step, ms", "both ways, ms a call", "of a step", "wanted", "",
    ]  # fmt: skip
    words = (
        "The penalty's share of a training step (forward, backward, SGD), the mean over a cycle of 64 calls. L_orth does not "
        "depend on the image and grows as the cube of the channels: with 512 of them on 4 x 4 pixels all of it at every call "
        "(`every=1`) takes more multiply-adds than the step, 6.6e10 beside 5.3e10. As it comes, wide layers take turns."
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


# Tightness


def trained(weight: float, steps: int = 150) -> nn.Sequential:
    """A small network for Fashion-MNIST, from exact orthogonal kernels, with ``weight * L_orth`` in the loss."""
    torch.manual_seed(0)
    convs = [layer(32, 1, 5, 2), layer(32, 32), layer(64, 32, 3, 2), layer(64, 64)]
    for conv in convs:
        orthogonal_(conv)
    parts = [part for conv in convs for part in (conv, nn.ReLU())]
    model = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64 * 49, 10))
    penalty = OrthogonalPenalty(model, weight, every=1)
    data = load_images("fashion-mnist", "train", count=64 * steps)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for i in range(steps):
        batch = slice(64 * i, 64 * (i + 1))
        images, labels = (
            torch.from_numpy(data.images[batch]).float() / 255,
            torch.from_numpy(data.labels[batch]),
        )
        optimizer.zero_grad()
        (cross_entropy(model(images), labels) + penalty()).backward()
        optimizer.step()
    return model


def tightness(n: int = 16) -> str:
    rows = []
    for name, weight in (("trained", 0.0), ("trained with 0.01 L_orth", 0.01)):
        for conv in [part for part in trained(weight) if isinstance(part, nn.Conv2d)]:
            (k, _), (S, _) = conv.kernel_size, conv.stride
            circular = float(singular_values(conv, n)[0])
            zeros = extreme_singular_values(conv, n, "zeros").largest
            bounds = {
                "ours": certified_bounds(conv).sigma_max,
                "grid": certified_bounds(conv, grid=32).sigma_max,
                "orthogonium circular": orthogonium_bound(conv, n),
                "orthogonium zeros": orthogonium_bound(conv, None),
                "torchlip": torchlip_bound(conv),
                "paper": lorth_bound(conv),
            }
            shape = f"{conv.in_channels} → {conv.out_channels}, {k}x{k}, stride {S}"
            least = {"orthogonium circular": circular, "orthogonium zeros": zeros}
            cells = []
            for who, value in bounds.items():
                ratio = value / least.get(who, max(circular, zeros))
                cells.append(f"{ratio:.3f}" + (" **no bound**" if ratio < 1 - 1e-4 else ""))
            rows.append([name, shape, f"{circular:.4f}", f"{zeros:.4f}", *cells])
    columns = [
        "layer", "", f"exact, circular {n}", f"exact, zeros {n}", "`certified_bounds`", "the same, grid 32",
        f"orthogonium, circular {n} only", "orthogonium, zeros only", "deel-torchlip", "from L_orth by the paper",
    ]  # fmt: skip
    words = (
        f"Upper bounds over the exact value on {n} x {n} inputs, float32, after 150 steps on Fashion-MNIST: the nearer one, the "
        "tighter. Ours and deel-torchlip's hold for both paddings and are compared with the larger value."
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


def ms(timing: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in timing.seconds)).words()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = [spectra(), tightness(), penalties()]
    sides.write_results("orthogonal", "spectra, bounds and the penalty of convolutions", parts)
