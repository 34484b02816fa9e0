"""Projected gradient descent: the worst point that a search finds within a ball around each image.

Source: Madry et al. 2018, *Towards Deep Learning Models Resistant to Adversarial Attacks*, eq. 2.1 and section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from isocline._core.checks import check_choice, check_number, check_shape

NORMS = ("l2", "linf")


@dataclass(frozen=True, slots=True)
class PGD:
    """An attack: how far, in which norm, how long. Distances are in units of the pixels, which lie in [0, 1]."""

    radius: float = 36 / 255
    norm: str = "l2"
    steps: int = 10
    step_size: float | None = None  # None: 2.5 radius / steps, which can reach any point of the ball
    restarts: int = 1

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        check_number("radius", self.radius, least=0)
        for name in ("steps", "restarts"):
            check_number(name, getattr(self, name), least=1, integer=True)
        if self.step_size is not None:
            check_number("step_size", self.step_size, above=0)


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """What an attack has found: a lower bound on how bad it can get, never a proof of robustness."""

    images: Tensor  # (B, C, H, W), the worst point visited of each
    fooled: Tensor  # (B,) bool: some point that was visited, the image itself included, is misclassified


def pgd(
    model: nn.Module, images: Tensor, labels: Tensor, attack: PGD, generator: Generator | None = None
) -> Attacked:
    """Climb the cross entropy inside the ball and the pixels' range, from a random point (or `restarts` of them).

    Shapes: images ``(B, C, H, W)`` in [0, 1], labels ``(B,)``. The worst point of all that are visited, the image itself
    first, is kept: one that is misclassified if there is one, and of those the one whose logit falls most behind. No
    parameter gets a gradient; put the model in evaluation mode first. generator: on the device of the images.
    Raises ValueError for another shape.
    """
    check_shape("images", images, "B C H W")
    step = attack.step_size or 2.5 * attack.radius / attack.steps
    worst, fooled, behind = images, *_judged(model, images, labels)
    for _ in range(attack.restarts):
        point = _allowed(images, _random_in_ball(images, attack, generator), attack)
        for _ in range(attack.steps):
            point = _allowed(
                images, point + step * _steepest(model, point, labels, attack.norm) - images, attack
            )
            wrong, margin = _judged(model, point, labels)
            worse = (wrong & ~fooled) | ((wrong == fooled) & (margin > behind))
            worst = torch.where(worse.view(-1, 1, 1, 1), point, worst)
            behind, fooled = torch.where(worse, margin, behind), fooled | wrong
    return Attacked(worst, fooled)


def project(delta: Tensor, radius: float, norm: str) -> Tensor:
    """The nearest point of the ball around 0, for each of the batch: shapes ``(B, ...)``."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    length = _length(delta)
    return delta * (radius / length.clamp(min=torch.finfo(delta.dtype).tiny)).clamp(max=1.0)


def _allowed(images: Tensor, delta: Tensor, attack: PGD) -> Tensor:
    """Clamping to [0, 1] moves every pixel towards the image, so it does not leave the ball."""
    return (images + project(delta, attack.radius, attack.norm)).clamp(0, 1)


def _steepest(model: nn.Module, images: Tensor, labels: Tensor, norm: str) -> Tensor:
    """The direction of length one, in the norm, along which the cross entropy rises fastest; 0 where it is flat.

    With ``z_y`` the label's logit it is ``log(1 + e^h)``, ``h = log sum_{j != y} e^{z_j} - z_y``; the gradient of h has the same
    direction. h is climbed: the cross entropy of a confident network is flat to machine precision, which hides the way.
    """
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        own, others = _apart(model(x), labels)
        (gradient,) = torch.autograd.grad((others.logsumexp(1) - own).sum(), x)
    if norm == "linf":
        return gradient.sign()
    # by the largest entry first: squares of small gradients vanish
    largest = gradient.abs().amax((1, 2, 3), keepdim=True)
    gradient = gradient / torch.where(largest > 0, largest, 1.0)
    return gradient / torch.where(largest > 0, _length(gradient), 1.0)


@torch.no_grad()
def _judged(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each is misclassified, and by how much the best other logit is ahead of the label's."""
    logits = model(images)
    own, others = _apart(logits, labels)
    return logits.argmax(1) != labels, others.amax(1) - own


def _apart(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The label's logit ``(B,)``, and all with that one at -inf, ``(B, classes)``."""
    return logits.gather(1, labels[:, None])[:, 0], logits.scatter(1, labels[:, None], -torch.inf)


def _random_in_ball(images: Tensor, attack: PGD, generator: Generator | None) -> Tensor:
    """Uniform in the ball: in "l2" a Gaussian direction, and a length whose power of the dimension is uniform."""
    like = {"dtype": images.dtype, "device": images.device, "generator": generator}
    if attack.norm == "linf":
        return attack.radius * (2 * torch.rand(images.shape, **like) - 1)
    direction = torch.randn(images.shape, **like)
    share = torch.rand(len(images), **like) ** (1 / max(1, images[0].numel()))
    return attack.radius * share.view(-1, 1, 1, 1) * direction / _length(direction)


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
