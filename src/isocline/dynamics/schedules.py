"""How strongly to force while training: the four schedules that ``Reconstructor(forcing=...)`` takes.

Each is plain data: what alpha is at the start, at which steps it acts, and what becomes of it when the Jacobians
along the data have been looked at. Source: Hess et al. 2023, sections 3.2 and 3.3; sparse: Mikhaeil et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from isocline._core.checks import check_choice, check_number, wrong

from .alpha import METHODS, anneal_alpha


@dataclass(frozen=True)
class ConstantForcing:
    """Generalized teacher forcing with one ``alpha`` in [0, 1] throughout (GTF)."""

    alpha: float = 0.1
    interval: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, least=0, most=1)

    @property
    def first(self) -> float:
        """alpha of the first update."""
        return float(self.alpha)


@dataclass(frozen=True)
class AdaptiveForcing:
    """alpha follows the Jacobians along the data (aGTF): up at once, down slowly.

    ``method``: one of ``functional.METHODS``, evaluated on the windows of every ``every``-th update; ``start``: the
    first alpha; ``gamma``: how much of alpha stays when the estimate is lower.
    """

    method: str = "exact_product"
    start: float = 1.0
    gamma: float = 0.999
    every: int = 5
    interval: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_number("start", self.start, least=0, most=1)
        check_number("gamma", self.gamma, least=0, most=1)
        check_number("every", self.every, least=1, integer=True)

    @property
    def first(self) -> float:
        """alpha of the first update."""
        return float(self.start)

    def after(self, alpha: float, estimate: float) -> float:
        """alpha once the Jacobians have been looked at."""
        return anneal_alpha(alpha, estimate, gamma=self.gamma)


@dataclass(frozen=True)
class SparseForcing:
    """The data replace the state at every ``interval``-th step, and between them it runs freely (STF)."""

    interval: int

    def __post_init__(self) -> None:
        check_number("interval", self.interval, least=1, integer=True)

    @property
    def first(self) -> float:
        """alpha of the steps that are forced."""
        return 1.0


@dataclass(frozen=True)
class NoForcing:
    """No forcing: back-propagation through the free run of every window, from its first sample."""

    interval: ClassVar[int | None] = None

    @property
    def first(self) -> float:
        """alpha: 0."""
        return 0.0


Forcing = ConstantForcing | AdaptiveForcing | SparseForcing | NoForcing
KINDS: dict[str, type[Any]] = {
    "adaptive": AdaptiveForcing,
    "constant": ConstantForcing,
    "sparse": SparseForcing,
    "none": NoForcing,
}


def forcing_to_dict(forcing: Forcing) -> dict[str, Any]:
    """The schedule in plain JSON types: its kind and its fields."""
    for name, kind in KINDS.items():
        if type(forcing) is kind:
            return {"kind": name, **asdict(forcing)}
    known = ", ".join(f"{kind.__name__}(...)" for kind in KINDS.values())
    raise wrong("forcing", f"one of {known}", repr(forcing), error=TypeError)


def forcing_from_dict(saved: Mapping[str, Any]) -> Forcing:
    """The inverse of ``forcing_to_dict``. Raises KeyError, TypeError or ValueError for anything else."""
    return KINDS[saved["kind"]](**{name: value for name, value in saved.items() if name != "kind"})
