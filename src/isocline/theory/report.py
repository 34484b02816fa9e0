"""What the theory has to say about one network, as a text, a table, a picture."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isocline._core.files import plain
from isocline.theory.critical import Criticality
from isocline.theory.depth import best_fluctuation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from isocline.theory.effective import EffectiveTheory

Array = npt.NDArray[np.float64]

NOT_CRITICAL = "not critical: norms or gradients are lost with depth"
COLUMNS = ("layer", "K", "chi_par", "chi_perp", "Theta", "V/nK^2", "G1/nK", "lambda_b", "lambda_w")


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """A network's theory in numbers; `table` has a row for each layer and the columns of `COLUMNS`."""

    network: str
    criticality: Criticality
    table: Array  # (depth, 9)
    fluctuation: float  # v = V / (n K^2) at the output
    best_fluctuation: float  # v*
    largest_depth: float  # L*(n)
    regime: str
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Report({self.network}: {self.regime})"

    def __str__(self) -> str:
        head = "  ".join(f"{name:>9}" for name in COLUMNS)
        rows = ["  ".join(f"{value:9.4g}" for value in row) for row in some_layers(self.table)]
        numbers = f"v = {self.fluctuation:.4g} at the output, v* = {self.best_fluctuation:.4g}"
        verdict = f"{numbers}, L*(n) = {self.largest_depth:g}: {self.regime}"
        return "\n".join(
            [
                self.network,
                str(self.criticality),
                "",
                head,
                *rows,
                "",
                verdict,
                *(f"warning: {text}" for text in self.warnings),
            ]
        )

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        values = {
            field.name: plain(getattr(self, field.name)) for field in fields(self) if field.name != "table"
        }
        return {**values, "layers": {name: plain(self.table[:, i]) for i, name in enumerate(COLUMNS)}}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Kernel and NTK against depth, relative to layer 1, with the fluctuation of the kernel as a band; returns
        the axes.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        column = {name: self.table[:, i] for i, name in enumerate(COLUMNS)}
        layers, K, v = (
            column["layer"],
            column["K"] / column["K"][0],
            np.sqrt(np.maximum(column["V/nK^2"], 0.0)),
        )
        ax.plot(layers, K, label="kernel K")
        ax.fill_between(layers, K / (1 + v), K * (1 + v), alpha=0.25, label="its spread over networks")
        ax.plot(layers, column["Theta"] / column["Theta"][0], label="NTK Θ")
        ax.set(yscale="log", xlabel="layer", ylabel="relative to layer 1", title=f"{self.network}")
        ax.legend()
        return ax


def some_layers(table: Array) -> Array:
    """All layers of a shallow network; of a deep one about a dozen, from the first to the last."""
    if len(table) <= 16:
        return table
    return table[np.unique(np.geomspace(1, len(table), 14).round().astype(int)) - 1]


def make_report(theory: EffectiveTheory, outputs: int, K1: float) -> Report:
    """The report on `theory` for an input of kernel `K1` in layer 1 and `outputs` output neurons."""
    run, n = theory.single_input(K1), theory.width_before
    v = run.V / (n * run.K**2)
    best = best_fluctuation(outputs)
    columns = (np.arange(1.0, theory.depth + 1), run.K, run.chi_par, run.chi_perp, run.Theta)
    table = np.stack([*columns, v, run.G1 / (n * run.K), theory.lambda_b, theory.lambda_w], axis=1)
    return Report(
        network=repr(theory),
        criticality=theory.criticality,
        table=table,
        fluctuation=float(v[-1]),
        best_fluctuation=best,
        largest_depth=theory.largest_depth(outputs, K1),
        regime=regime(float(v[-1]), best) if theory.criticality.exists else NOT_CRITICAL,
        warnings=_warnings(theory, table, K1),
    )


def regime(v: float, best: float) -> str:
    """Where a network stands: kernel-like, near the best depth, strongly coupled, or chaotic between draws."""
    if v < 0.25 * best:
        return "kernel-like: close to its infinite-width limit"
    if v <= best:
        return "below the best depth for this width"
    if v <= 1.5 * best:
        return "just past the best depth for this width"
    return (
        "strongly coupled: two draws of the weights behave differently; widen it, shorten it, or add a skip"
    )


def _warnings(theory: EffectiveTheory, table: Array, K1: float) -> tuple[str, ...]:
    found = []
    if not theory.criticality.exists:
        found.append(theory.criticality.note)
    elif not theory.critical:
        found.append(
            f"not the critical variances: K changes by {table[-1, 1] / table[0, 1]:.3g} times over the depth"
        )
    if (
        theory.criticality.universality_class == "half-stable"
        and abs(K1 / theory.criticality.kernel - 1) > 0.05
    ):
        found.append(
            f"K = {K1:.4g} at layer 1, not K* = {theory.criticality.kernel:.4g}: scale the first layer"
        )
    gradient = float(np.prod(table[:-1, 3]))
    if not 1e-3 < gradient < 1e3 and theory.criticality.universality_class != "K*=0":
        found.append(f"gradients change by {gradient:.2g} times from the output to the first layer")
    return tuple(found)
