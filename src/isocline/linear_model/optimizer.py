"""The batch rules as a `torch.optim.Optimizer`: its closure returns margins where others return a loss."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline.linear_model.losses import margin_weights, margins_of

Closure = Callable[[], Tensor | tuple[Tensor, Tensor]]


class PerceptronGD(torch.optim.Optimizer):
    """Large-step gradient descent on the margins of all samples at once.

    ``step(closure)`` calls the closure for the margins ``(n,)``, or for ``(logits, targets)`` as
    `normalized_logistic_loss` takes them, weighs the samples, goes back through the model once, and moves
    each parameter by ``-lr`` times its gradient. ``normalize=True`` is Normalized LR+GD, False is LR+GD;
    ``hard=True`` gives their limits of large steps, the normalized and the plain batch perceptron, with `lr`
    as a mere scale. Afterwards `.grad` holds the gradient that was used; the closure neither clears gradients
    nor goes backward. `lr` may differ by group and follow any scheduler; the other two are one for all.
    Source: paper, Theorems 3.2, 5.3 and 6.1.
    Raises: ValueError for a learning rate that is not finite and above zero.

    >>> theta = torch.nn.Parameter(torch.zeros(2))
    >>> rows = torch.tensor([[1.0, -1.0], [1.0, 4.0]])  # signed: y_i x_i
    >>> optimizer = PerceptronGD([theta], hard=True)
    >>> for _ in range(2):
    ...     margins = optimizer.step(lambda: rows @ theta)
    >>> (rows @ theta > 0).all().item()
    True
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, normalize: bool = True, hard: bool = False
    ) -> None:
        super().__init__(params, {"lr": lr, "normalize": normalize, "hard": hard, "steps": 0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with a learning rate of their own."""
        lr = param_group.get("lr", self.defaults["lr"])
        if lr == float("inf"):
            raise wrong("lr", "a finite number > 0", lr, "hard=True is the limit of large steps")
        check_number("lr", lr, above=0)
        for name in ("normalize", "hard"):
            own = param_group.get(name, self.defaults[name])
            if own != self.defaults[name]:
                raise wrong(
                    name, f"{self.defaults[name]} in every group", own, "samples are weighed once for all"
                )
        super().add_param_group(param_group)

    def step(self, closure: Closure | None = None) -> Tensor:  # pyright: ignore
        """One step of the rule; returns the margins ``(n,)`` before it, without a gradient."""
        if closure is None:
            want = "a function that returns margins"
            raise wrong("closure", want, closure, "pass lambda: y * model(x).squeeze(-1)", error=TypeError)
        groups = self.param_groups
        with torch.enable_grad():
            margins, classes = _margins(closure(), hard=groups[0]["hard"])
        # Where all classes score alike, softmax gives the wrong ones (K - 1) / K, and so does the limit.
        tie = 1 - 1 / classes if groups[0]["steps"] == 0 else 1.0
        weights = margin_weights(margins, normalize=groups[0]["normalize"], hard=groups[0]["hard"], tie=tie)
        params = [p for group in groups for p in group["params"] if p.requires_grad]
        for p in params:
            p.grad = None
        torch.autograd.backward(margins, -weights.to(margins.dtype), inputs=params)
        for group in groups:
            _move(group["params"], float(group["lr"]))
            group["steps"] += 1
        return margins.detach()


@torch.no_grad()
def _move(params: list[Tensor], lr: float) -> None:
    for p in params:
        if p.grad is not None:
            p.add_(p.grad, alpha=-lr)


def _margins(returned: Tensor | tuple[Tensor, Tensor], *, hard: bool) -> tuple[Tensor, int]:
    """The margins a closure returned, and the number of classes."""
    classes = 2
    if isinstance(returned, tuple | list) and len(returned) == 2:
        margins = margins_of(*returned, hard=hard)
        classes = max(2, returned[0].shape[-1] if returned[0].ndim == 2 else 2)
    elif isinstance(returned, Tensor) and returned.ndim == 1 and len(returned):
        margins = returned
    else:
        got = "a scalar" if isinstance(returned, Tensor) and returned.ndim == 0 else returned
        do = "return y * model(x).squeeze(-1), or (logits, y), instead of a loss"
        raise wrong("closure", "the margins (n,) of all samples, or (logits, targets)", got, do)
    if not margins.requires_grad:
        want = "margins that depend on the parameters"
        raise wrong("closure", want, "margins without a gradient", "drop no_grad and detach")
    return margins, classes
