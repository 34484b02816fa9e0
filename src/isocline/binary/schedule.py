"""The sharpness of a model's estimators along training, as a function of the share that is done."""

from __future__ import annotations

from torch import nn

from isocline._core.checks import check_number, wrong

from .estimators import Estimator
from .functional import power


class PowerSchedule:
    """Moves all estimators of a model from the straight-through end to the sign: ``o = 1 + (1 - cos(pi p / 2)) (o_end - 1)``.

    total: how many calls of `step` there will be, p the share of them done; epochs or optimiser steps, as you count. EDE,
    RBNN and Progressive follow their own laws of p. The sharpness is computed from the count and written in place, so that
    nothing accumulates, and a compiled model is not compiled again. Call it between steps, not between a forward pass and its
    backward pass. Resume through ``state_dict``; the sharpness itself is in the model's.

    Raises: ValueError for a model without estimators, o_end < 1, total < 1. Source: Wu et al. 2023, Section 4.

    >>> from isocline.binary import BinaryLinear
    >>> layer = BinaryLinear(4, 2)
    >>> schedule = PowerSchedule(layer, o_end=3, total=10)
    >>> for epoch in range(10):
    ...     schedule.step()  # after the epoch
    >>> schedule.o, layer
    (3.0, BinaryLinear(
      in_features=4, out_features=2, bias=False, scale='tensor'
      (weight_estimator): ReSTE(o=3, t=1.5, m=0.1)
      (input_estimator): ReSTE(o=3, t=1.5, m=0.1)
    ))
    """

    def __init__(self, model: nn.Module, o_end: float = 3.0, *, total: int) -> None:
        self.o_end = check_number("o_end", o_end, least=1)
        self.total = check_number("total", total, least=1, integer=True)
        self._estimators = [module for module in model.modules() if isinstance(module, Estimator)]
        if not self._estimators:
            raise wrong(
                "model", "binary layers in it", type(model).__name__, "binarize_model(model) puts them in"
            )
        self.go_to(0)

    @property
    def progress(self) -> float:
        """The share of training that is done, in [0, 1]."""
        return min(self.done / self.total, 1.0)

    @property
    def o(self) -> float:
        """ReSTE's power now."""
        return power(self.progress, self.o_end)

    def step(self) -> None:
        """One more epoch (or step) is done; past the total the sharpness stays at its end."""
        self.go_to(self.done + 1)

    def go_to(self, done: int) -> None:
        """Set the sharpness to what it is after so many epochs (or steps)."""
        self.done = check_number("done", done, least=0, integer=True)
        for estimator in self._estimators:
            estimator.advance(self.progress, self.o_end)

    def state_dict(self) -> dict[str, int | float]:
        """Its place and its shape, plain numbers."""
        return {"done": self.done, "total": self.total, "o_end": self.o_end}

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Go on from a saved place; the model's sharpness is set to it."""
        self.total, self.o_end = int(state["total"]), float(state["o_end"])
        self.go_to(int(state["done"]))
