"""Where a layer's gradients go: how much its transitions keep, along which paths, and how far an output sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, check_number, wrong
from isocline._core.files import plain
from isocline.plstm.flow import Flow, flow_of
from isocline.plstm.graph import DagBatch
from isocline.plstm.orientation import neighbours_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

MOST_INPUTS = 4  # of a batch, that are looked at
MOST_NODES = 24  # from which states are sent on their way
ROUNDING = 1e-5  # by which a float32 gate's column may exceed one


@dataclass(frozen=True, slots=True, repr=False)
class GradientReport:
    """One layer on one input. All but `field` is exact for this input; `field` is estimated from random probes.

    A state that travels one arc is multiplied by the transition T. ``columns``: ``sum |T|`` over what follows an edge; at most
    1 everywhere is P-mode's guarantee that states cannot grow. ``mass`` and ``peak`` against ``distance``: the L1 norm of a unit
    written at a node after so many arcs, and its largest entry, means over nodes, heads and directions.
    ``path_sums``: how much of what the node ``origin`` writes is read at every node (gates alone). ``field``: the
    size of ``d output(origin) / d x(node)``, its sum 1.
    """

    layer: str
    shape: tuple[int, ...]
    origin: tuple[int, ...]
    stable: bool  # columns <= 1 (P-mode), or |T| <= 1 on a multitree (D-mode)
    largest_column: float
    columns: Array  # 101 quantiles, 0 % to 100 %
    largest_transition: float
    negative: float  # share of transitions below zero
    longest_path: int  # arcs
    path_product: (
        float  # log10 of the largest product of |T| along a longest path: median over heads, directions
    )
    distance: Array  # (K,) arcs
    mass: Array  # (K,)
    mass_low: Array  # (K,) 5 % and
    mass_high: Array  # (K,) 95 % quantile
    peak: Array  # (K,)
    path_sums: Array  # (*shape)
    field: Array  # (*shape)
    field_spread: float  # relative standard error of a field's entry, the median over nodes
    hops: Array  # (*shape) edges between each node and the origin, whatever their direction
    half_radius: float  # distance within which half of the field lies
    nodes_seen: float  # effective number of nodes in the field, (sum f)^2 / sum f^2

    def __repr__(self) -> str:
        return f"GradientReport({self.layer}: {'stable' if self.stable else 'NOT stable'})"

    def __str__(self) -> str:
        verdict = "stable" if self.stable else "NOT stable: states may grow with every arc"
        last = (
            f"{self.mass[-1]:.3g} after {self.distance[-1]:g} arcs" if len(self.mass) else "no arc to travel"
        )
        product = f"10^{self.path_product:.2f}" if isfinite(self.path_product) else "0"
        return "\n".join(
            [
                f"{self.layer} on {' x '.join(map(str, self.shape))} nodes: {verdict}",
                f"columns of |T|: at most {self.largest_column:.5g} (median {np.median(self.columns):.5g})",
                f"transitions: |T| at most {self.largest_transition:.5g}, {100 * self.negative:.3g} % negative",
                f"longest path, {self.longest_path} arcs: product {product}",
                f"mass of a unit: {last}; its largest entry {self.peak[-1] if len(self.peak) else 1:.3g}",
                f"field of {self.origin}: half within {self.half_radius:.3g}, {self.nodes_seen:.3g} nodes in effect "
                f"(± {100 * self.field_spread:.2g} % an entry)",
            ]
        )

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    def plot(self) -> Figure:
        """Four panels: path sums, mass and peak, columns, and the field; a new figure, shown nowhere."""
        from isocline.plstm.pictures import draw_report

        return draw_report(self)


def gradient_report(
    layer: nn.Module,
    x: Tensor,
    graph: DagBatch | None = None,
    edge_features: Tensor | None = None,
    *,
    origin: Sequence[int] | int | None = None,
    probes: int = 16,
    seed: int = 0,
) -> GradientReport:
    """Follow states and gradients through a `PLSTM1d`, `PLSTM2d` or `PLSTMGraph` on an input of its kind.

    ``origin`` is the node whose path sums and receptive field are shown (default: the middle); ``probes`` random signs
    estimate the field, from ``seed``. Of a batch the first 4 inputs are looked at. The layer, its gradients and the global
    random state are left as they are. Raises: TypeError for another kind of layer, ValueError for an input that does not fit.
    Source: pLSTM, the section on stability; Luo et al. 2016 for the receptive field.
    """
    if not isinstance(x, Tensor):
        raise wrong("x", "a tensor, as the layer takes it", x, error=TypeError)
    check_finite("x", x)
    probes = check_number("probes", probes, least=1, integer=True)
    if graph is None:
        x = x[:MOST_INPUTS]
    flow = flow_of(layer, x, graph, edge_features)
    place = _checked_origin(origin, flow)
    field, spread = _field(layer, x, flow, place, probes, seed, graph, edge_features)
    distances = _distances(flow, place)
    numbers = _numbers(flow, getattr(layer, "mode", "P"))
    return GradientReport(
        layer=f"{type(layer).__name__}({layer.extra_repr()})",
        shape=flow.shape,
        origin=place,
        **numbers,
        **_travel(flow),
        path_sums=flow.reached(place).abs().mean((0, 1)).numpy(),
        field=field / max(field.sum(), np.finfo(float).tiny),
        field_spread=spread,
        hops=distances,
        half_radius=_half(field, distances),
        nodes_seen=float(field.sum() ** 2 / max((field**2).sum(), np.finfo(float).tiny)),
    )


def _numbers(flow: Flow, mode: str) -> dict[str, Any]:
    columns, T = flow.columns(), flow.transition
    largest = float(columns.max()) if columns.numel() else 0.0
    entry = float(T.abs().max()) if T.numel() else 0.0
    product = flow.longest_product()
    quantiles = torch.linspace(0, 1, 101, dtype=torch.float64)
    values = columns.flatten().sort().values if columns.numel() else torch.zeros(1, dtype=torch.float64)
    return {
        "stable": (entry if mode == "D" else largest) <= 1 + ROUNDING,
        "largest_column": largest,
        "columns": values[(quantiles * (len(values) - 1)).round().long()].numpy(),
        "largest_transition": entry,
        "negative": float((T < 0).double().mean()) if T.numel() else 0.0,
        "longest_path": int(flow.graph.levels.max()) if flow.graph.num_edges else 0,
        "path_product": float(product.median()),
    }


def _travel(flow: Flow) -> dict[str, Any]:
    rooms = flow.rooms()
    nodes = (rooms > 0).nonzero()[:, 0]
    # Few nodes have far to go: take those with the most room, and an even choice of the others.
    order = nodes[rooms[nodes].argsort(descending=True, stable=True)]
    chosen = order[torch.linspace(0, max(len(order) - 1, 0), min(MOST_NODES, len(order))).long()]
    mass, peak = (
        (x.flatten(0, 1) for x in flow.travel(chosen, rooms[chosen]))
        if len(chosen)
        else (torch.zeros(1, 0),) * 2
    )
    return {
        "distance": np.arange(mass.shape[1], dtype=np.float64),
        "mass": mass.nanmean(0).numpy(),
        "mass_low": mass.nanquantile(0.05, dim=0).numpy() if mass.numel() else mass[0].numpy(),
        "mass_high": mass.nanquantile(0.95, dim=0).numpy() if mass.numel() else mass[0].numpy(),
        "peak": peak.nanmean(0).numpy(),
    }


def _field(
    layer: nn.Module,
    x: Tensor,
    flow: Flow,
    origin: tuple[int, ...],
    probes: int,
    seed: int,
    graph: DagBatch | None,
    edge_features: Tensor | None,
) -> tuple[Array, float]:
    """``sqrt(sum over channels of (d y(origin) / d x(node))^2)``: random signs on the output's channels.

    With the relative standard error of an entry: the median over the nodes, or without repeats the bound ``2^(-1/2)``.
    """
    generator = torch.Generator().manual_seed(seed)
    given = x.detach().clone().requires_grad_()
    extra = () if graph is None else (graph, edge_features)
    with torch.enable_grad():
        y = layer(given, *extra)
        at = y[origin] if graph is not None else y[(slice(None), *origin)]
        drawn = []
        for probe in range(probes):
            signs = 2 * torch.randint(0, 2, at.shape, generator=generator).to(at) - 1
            [slope] = torch.autograd.grad(at, given, signs, retain_graph=probe + 1 < probes)
            squares = slope.detach().double().cpu().square().sum(-1)
            drawn.append(squares if graph is not None else squares.mean(0))
    samples = torch.stack(drawn)
    mean = samples.mean(0)
    if probes == 1:
        return mean.sqrt().numpy(), 2**-0.5
    errors = (samples.std(0) / probes**0.5 / mean)[mean > 0] / 2  # of the root: half that of the square
    return mean.sqrt().numpy(), float(errors.median()) if errors.numel() else 0.0


def _checked_origin(origin: Sequence[int] | int | None, flow: Flow) -> tuple[int, ...]:
    if not prod(flow.shape):
        raise wrong("x", "at least one node", "none")
    if origin is None:
        return tuple(size // 2 for size in flow.shape)
    place = (origin,) if isinstance(origin, int) else tuple(origin)
    inside = len(place) == len(flow.shape) and all(0 <= i < n for i, n in zip(place, flow.shape, strict=True))
    if not inside:
        raise wrong("origin", f"a node inside {flow.shape}", f"{place}")
    return place


def _distances(flow: Flow, origin: tuple[int, ...]) -> Array:
    """From the origin, in edges of the graph without directions; infinite where there is no way."""
    if len(flow.shape) == 2:
        sides = [np.abs(np.arange(size) - at) for size, at in zip(flow.shape, origin, strict=True)]
        return np.add.outer(*sides).astype(np.float64)
    distance = np.full(flow.graph.num_nodes, np.inf)
    neighbours = neighbours_of(flow.graph.edges.numpy(), flow.graph.num_nodes)
    distance[origin[0]], queue = 0, [origin[0]]
    for node in queue:  # grows while it is walked
        for other in neighbours[node]:
            if np.isinf(distance[other]):
                distance[other] = distance[node] + 1
                queue.append(other)
    return distance


def _half(field: Array, distances: Array) -> float:
    order = np.argsort(distances, axis=None, kind="stable")
    inside = np.cumsum(field.ravel()[order])
    if not inside[-1] > 0:
        return 0.0
    return float(distances.ravel()[order][np.searchsorted(inside, inside[-1] / 2)])
