"""Losses whose gradient is that of Normalized LR+GD: any optimiser, model or mini-batch can take its step.

The normalisation needs the margin of every sample, which an optimiser's ``step()`` never sees; a loss does.
The paper's guarantee is for linear models and whole batches.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from isocline._core.checks import wrong


def margins_of(logits: Tensor, y: Tensor, *, hard: bool = False) -> Tensor:
    """The margin of each sample: ``y logit`` for two classes, ``s_y - log sum_{k != y} exp s_k`` for K.

    ``sigmoid(-m)`` is then the probability softmax gives to the wrong classes. With `hard` the margin among K
    classes is the limit for large scores, ``s_y - max_{k != y} s_k``: above zero where the sample is right.
    Shapes: logits ``(n,)`` or ``(n, 1)`` with y ``(n,)`` or ``(n, 1)``, where a label above zero is the
    positive class (-1 and 1, 0 and 1, and booleans all mean what they should); or logits ``(n, K)`` with y
    ``(n,)`` class indices. Returns ``(n,)``, in float32 at least.
    Raises: ValueError for other shapes or no samples, TypeError for indices that are not whole numbers.
    """
    logits = _checked(logits, y)
    if logits.ndim == 1:
        return torch.where(y.reshape(logits.shape) > 0, logits, -logits)
    index = y.long()[:, None]
    right = torch.arange(logits.shape[1], device=logits.device) == index
    others = logits.masked_fill(right, -torch.inf)
    return logits.gather(1, index)[:, 0] - (others.amax(dim=1) if hard else others.logsumexp(dim=1))


def margin_weights(
    margins: Tensor, *, normalize: bool = True, hard: bool = False, tie: float = 1.0
) -> Tensor:
    """What each sample counts in a step: the weights of the four batch rules, without a gradient.

    ``softmax(log sigmoid(-m))`` (Normalized LR+GD) or ``sigmoid(-m) / n`` (LR+GD); with `hard` the limits of
    large steps: the samples with ``m <= 0`` alike, one with ``m = 0`` counting `tie` (1/2 to 1), summing to
    one (to zero when there are none) or divided by n. Shapes: margins ``(n,)``, returns the same, in float32
    at least.
    Source: paper, Theorems 3.2, 5.3 and 6.1.
    """
    m = _at_least_float32(margins.detach())
    if not hard:
        logs = F.logsigmoid(-m)
        return torch.softmax(logs, dim=0) if normalize else logs.exp() / m.shape[0]
    mistakes = (m < 0).to(m.dtype) + tie * (m == 0).to(m.dtype)
    return mistakes / (mistakes.sum().clamp(min=0.5) if normalize else m.shape[0])


def normalized_logistic_loss(logits: Tensor, y: Tensor) -> Tensor:
    """``-sum w_i m_i`` with ``w = softmax(log sigmoid(-m))`` held fixed: its gradient is exactly ``beta grad
    f``.

    f is the mean logistic loss (cross-entropy for K classes) and ``beta = 1 / mean sigmoid(-m)``. Plain SGD
    with this loss on all the data is Normalized LR+GD. Its *value* is a weighted margin that falls and rises
    and may be negative: watch `logistic_report` instead. Labels: for logits ``(n,)`` or ``(n, 1)`` those
    above zero are the positive class; for ``(n, K)`` they are class indices. Returns ``()``, in float32 at
    least.
    Source: paper, section 6; for any model, section 8.

    >>> logits = torch.tensor([2.0, -1.0], requires_grad=True)
    >>> normalized_logistic_loss(logits, torch.tensor([1, 1])).backward()
    >>> logits.grad.sum().item()  # the weights sum to one
    -1.0
    """
    margins = margins_of(logits, y)
    return -(margin_weights(margins) * margins).sum()


def logistic_report(logits: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What to watch beside the loss, each ``()`` and without a gradient.

    ``logistic_loss`` (the mean; cross-entropy for K classes), ``log_beta``, ``min_margin`` and ``wrong``, the
    number of samples whose margin is not above zero. Labels: as `normalized_logistic_loss`.
    """
    soft, hard = (margins_of(logits.detach(), y, hard=hard) for hard in (False, True))
    logs = F.logsigmoid(-soft)
    return {
        "logistic_loss": F.softplus(-soft).mean(),
        "log_beta": math.log(len(logs)) - logs.logsumexp(dim=0),
        "min_margin": hard.min(),
        "wrong": (~(hard > 0)).sum(),
    }


def _checked(logits: Tensor, y: Tensor) -> Tensor:
    shape, n = tuple(logits.shape), logits.shape[0] if logits.ndim else 0
    if not 1 <= logits.ndim <= 2 or 0 in shape:
        raise wrong("logits", "(n,) or (n, K) with n >= 1", f"{shape}")
    binary = logits.ndim == 1 or shape[1] == 1
    if tuple(y.shape) not in ([(n,), (n, 1)] if binary else [(n,)]):
        do = "" if binary else "pass class indices, not one-hot rows"
        raise wrong("y", f"one label a sample, ({n},)", f"{tuple(y.shape)}", do)
    if not binary and (y.is_floating_point() or y.dtype == torch.bool):
        raise wrong("y", "class indices as whole numbers", f"{y.dtype}", "pass y.long()", error=TypeError)
    logits = _at_least_float32(logits)
    return logits.reshape(n) if binary else logits


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
