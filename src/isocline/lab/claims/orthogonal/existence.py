"""Which of the paper's 49 152 layers can be orthogonal: counted, with a kernel for each that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline._core.seeds import torch_generator
from isocline.orthogonal import ConvShape, exists, lorth
from isocline.orthogonal.existence import usable_phases
from isocline.orthogonal.initial import block_kernel

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import LINE, ORANGE, TEAL, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 64  # channels
COUNT = "layers that can be orthogonal, of 49 152"
WITNESS = "largest L_orth of a constructed kernel"
MISSING = "L_orth of random kernels over what the missing rank demands, least"
CAPTION = (
    "Layers from C to M channels, kernel k, stride S. Coloured: an orthogonal kernel exists, with orthonormal rows or "
    "columns. White: none does. All other pairs of k and S are coloured throughout, as the panel at the left is."
)
SHOWN = ((3, 2), (1, 2), (3, 4), (1, 4))

AT: dict[str, Any] = {"xycoords": "axes fraction"}


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    k, S = setting["k"], setting["S"]
    found = np.zeros((MOST, MOST), dtype=np.int8)
    layers = [ConvShape(M, C, k, S) for M in range(1, MOST + 1) for C in range(1, MOST + 1)]
    for shape in layers:
        if exists(shape):
            found[shape.M - 1, shape.C - 1] = 1 if shape.rows_fewer else 2
    generator = torch_generator(seed)
    order = torch.randperm(len(layers), generator=generator).tolist()
    worst, least = 0.0, np.inf
    for index in order[: setting["witnesses"] or None]:
        shape = layers[index]
        if found[shape.M - 1, shape.C - 1]:
            worst = max(worst, float(lorth(block_kernel(shape, generator), S)))
        else:
            least = min(least, _demanded(shape, generator))
    values = {"feasible": int((found > 0).sum()), "witness": worst}
    return Measurement(values | ({"missing": least} if np.isfinite(least) else {}), {"map": found})


def _demanded(shape: ConvShape, generator: torch.Generator) -> float:
    """L_orth of a random kernel over the rank that its matrices lack at every frequency; a quotient below 1 is impossible."""
    K = torch.randn(shape.weight_shape, generator=generator, dtype=torch.float64)
    K /= (shape.C * K[0, 0].numel()) ** 0.5
    places = int(np.prod(usable_phases(shape)))
    missing = min(shape.M, shape.C * int(np.prod(shape.S))) - shape.C * places
    return float(lorth(K, shape.S)) / missing


def measure(records: list[Record]) -> dict[str, list[float]]:
    pairs: dict[int, list[Record]] = {}
    for record in records:
        pairs.setdefault(record.seed, []).append(record)
    whole = [group for group in pairs.values() if len(group) == 12]
    return {
        COUNT: [float(sum(r.values["feasible"] for r in group)) for group in whole],
        WITNESS: [max(r.values["witness"] for r in group) for group in whole],
        MISSING: [min(r.values.get("missing", np.inf) for r in group) for group in whole],
    }


def plot(records: list[Record]) -> dict[str, Figure]:
    from matplotlib.colors import ListedColormap

    figure, axes = new_figure(CAPTION, columns=4, width=11.6, height=3.5)
    maps = {(r.setting["k"], r.setting["S"]): r.arrays["map"] for r in records}
    for ax, (k, S) in zip(axes, SHOWN, strict=True):
        ax.set_title(f"k = {k}, S = {S}")
        ax.set(xlabel="C, input channels", xticks=(1, 16, 32, 48, 64), yticks=(1, 16, 32, 48, 64))
        ax.grid(False)
        if (k, S) not in maps:
            continue
        colors = ListedColormap(["white", TEAL, ORANGE])
        edges = (0.5, MOST + 0.5, 0.5, MOST + 0.5)
        ax.imshow(
            maps[k, S], cmap=colors, vmin=0, vmax=2, origin="lower", extent=edges, interpolation="nearest"
        )
        ax.add_patch(_frame())
    axes[0].set_ylabel("M, output channels")
    words = {"fontsize": 9, "fontweight": "bold", "color": "white"}
    axes[0].annotate("rows", (0.62, 0.37), **AT, ha="center", **words)
    axes[0].annotate("columns", (0.05, 0.89), **AT, ha="left", fontsize=9, fontweight="bold", color="white")
    axes[1].annotate("M > C: none", (0.37, 0.78), **AT, ha="center", fontsize=9, fontweight="bold")
    axes[2].annotate("◂ M > 9 C: none", (0.12, 0.89), **AT, ha="left", **words)
    axes[3].annotate("M > C: none", (0.37, 0.78), **AT, ha="center", fontsize=9, fontweight="bold")
    return {"which-layers": figure}


def _frame() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((0.5, 0.5), MOST, MOST, fill=False, edgecolor=LINE, linewidth=0.8)


def _settings(witnesses: int) -> list[dict[str, Any]]:
    return [{"k": k, "S": S, "witnesses": witnesses} for k in (1, 3, 5, 7) for S in (1, 2, 4)]


EXISTENCE = Claim(
    name="orthogonal/existence",
    paper=PAPER,
    sentence=(
        "An orthogonal kernel exists if and only if M ≤ C k² (fewer outputs than inputs) or S ≤ k (more), which holds "
        "for 44 924 of the 49 152 layers with up to 64 channels, k in {1, 3, 5, 7} and S in {1, 2, 4}."
    ),
    expected=(
        Expected(COUNT, 44_924, source="existence theorem"),
        Expected(WITNESS, 0.0, "==", 1e-20, source="a semi-orthogonal matrix in min(k, S)² taps"),
        Expected(MISSING, 1.0, ">=", source="no weight can do better than the missing rank"),
    ),
    scales={
        "tour": Scale(_settings(20), 1, "4 seconds: 240 layers with a kernel"),
        "small": Scale(_settings(0), 1, "10 minutes: every layer with a kernel"),
        "paper": Scale(_settings(0), 3, "half an hour"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
