"""Drawings of a spectrum and of a diagnosis: on the axes they are given, or on a figure of their own."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isocline.orthogonal.diagnosis import Diagnosis
    from isocline.orthogonal.spectrum import Spectrum


def draw_spectrum(found: Spectrum, ax: Axes | None = None) -> Any:
    """The values in order; without `ax` and with two axes of frequencies, also maps of the two ends. Returns the axes."""
    if ax is not None:
        return _sorted(ax, found)
    import matplotlib.pyplot as plt

    maps = _maps(found)
    figure, axes = plt.subplots(
        1, 1 + len(maps), figsize=(4.4 + 3.4 * len(maps), 3.4), squeeze=False, layout="constrained"
    )
    _sorted(axes[0, 0], found)
    for panel, (title, values) in zip(axes[0, 1:], maps.items(), strict=True):
        image = panel.imshow(
            values, cmap="magma", extent=(-1, 1, -1, 1), origin="lower", interpolation="nearest"
        )
        panel.set(title=title, xlabel=r"$\omega_x / \pi$", ylabel=r"$\omega_y / \pi$")
        panel.grid(False)
        bar = figure.colorbar(image, ax=panel, shrink=0.85, pad=0.03)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return list(axes.flat) if len(maps) else axes[0, 0]


def _maps(found: Spectrum) -> dict[str, np.ndarray]:
    if found.frequencies is None or len(found.input_size) != 2:
        return {}
    ends = found.frequencies.double().cpu()
    N = _outputs(found)
    picked = {"largest, by frequency": ends[:, 0], "smallest, by frequency": ends[:, -1]}
    return {name: torch.fft.fftshift(values.reshape(N)).numpy() for name, values in picked.items()}


def _outputs(found: Spectrum) -> tuple[int, int]:
    """The grid of frequencies has the proportions of the image."""
    assert found.frequencies is not None
    a, b = found.input_size
    rows = round((len(found.frequencies) * a / b) ** 0.5)
    return (rows, len(found.frequencies) // rows)


def _sorted(ax: Axes, found: Spectrum) -> Axes:
    values = found.values.double().cpu().numpy()
    share = np.linspace(0, 100, len(values)) if len(values) > 1 else np.zeros(1)
    ax.axhline(1.0, color="0.6", linewidth=0.9, linestyle="--")
    ax.plot(share, values, color="C0")
    ax.fill_between(share, values, color="C0", alpha=0.12, linewidth=0)
    ax.set(xlabel="share of the singular values, %", ylabel="singular value", xlim=(0, 100))
    ax.set_ylim(0, max(1.12, 1.08 * float(values[0])))
    ax.set_title(f"{found.smallest:.3g} to {found.largest:.3g}")
    return ax


def diagnosis_figure(found: Diagnosis) -> Figure:
    """`draw_diagnosis` on a figure of its own, one line of text high a layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 1.2 + 0.32 * len(found.layers)), layout="constrained")
    draw_diagnosis(found, figure.subplots())
    return figure


def draw_diagnosis(found: Diagnosis, ax: Axes | None = None) -> Axes:
    """For every layer a bar from the smallest to the largest singular value, and a tick at the bound for every size."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(8.6, 1.2 + 0.32 * len(found.layers)), layout="constrained")[1]
    colors = {"orthogonal": "C0", "enlarges": "C1", "loses": "0.55", "cannot be orthogonal": "C2"}
    floor = 10.0 ** np.floor(
        np.log10(max(1e-4, min([0.5, *(r.smallest for r in found.layers if r.smallest > 0)])))
    )
    named: set[str] = set()
    for y, row in enumerate(found.layers):
        known = not isnan(row.smallest)
        low = max(floor, row.smallest if known else max(0.0, 1 - row.err_s) ** 0.5)
        high = max(row.largest if known else row.sigma_max, low)
        words = None if row.verdict in named else row.verdict
        named.add(row.verdict)
        style: dict[str, Any] = {
            "linewidth": 6,
            "solid_capstyle": "round",
            "marker": "o",
            "markersize": 6,
            "markeredgewidth": 0,
            "alpha": 1.0 if known else 0.4,
        }
        ax.plot([low, high], [y, y], color=colors[row.verdict], label=words, **style)
        ax.plot([row.sigma_max], [y], marker="|", markersize=11, color="0.25", linestyle="none")
    ax.axvline(1.0, color="0.6", linewidth=0.9, linestyle="--", zorder=0)
    ax.set_yticks(range(len(found.layers)), [row.name for row in found.layers])
    ax.set(xscale="log", xlabel="singular values", ylim=(len(found.layers) - 0.4, -0.6))
    ax.set_xlim(floor / 1.3, 1.5 * max(2.0, *(row.sigma_max for row in found.layers)))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    return ax
