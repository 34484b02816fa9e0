"""When to stop: at the first parameters that get every sample right."""

import torch
from torch import Tensor

from isocline._core.checks import wrong
from isocline.linear_model.losses import margins_of


def stop_at_separation(margins: Tensor, targets: Tensor | None = None) -> bool:
    """Is every margin above zero, strictly? Of all samples: a mini-batch says nothing of the rest.

    Shapes: margins ``(n,)``; or, with targets, logits and labels as
    `isocline.linear_model.normalized_logistic_loss` takes them. NaN is not above zero. Reads the answer back
    from the device.
    Raises: ValueError without samples, or for margins that are not ``(n,)``.

    >>> stop_at_separation(torch.tensor([0.5, 2.0])), stop_at_separation(torch.tensor([0.5, 0.0]))
    (True, False)
    """
    if targets is not None:
        margins = margins_of(margins, targets, hard=True)
    if margins.ndim != 1 or len(margins) == 0:
        do = "pass the margins of all samples, or (logits, targets)"
        raise wrong("margins", "(n,) with n >= 1", f"{tuple(margins.shape)}", do)
    return bool(torch.all(margins.detach() > 0))
