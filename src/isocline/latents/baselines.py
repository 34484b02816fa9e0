"""Straight directions, to compare with: the linear boundary, style eigenvectors, principal components. One kind of result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import check_finite, check_number, nearest, wrong
from isocline.latents import functional as F
from isocline.latents.editing import LENGTH, STEPS, follow
from isocline.latents.fitting import Scores, _checked_codes, _checked_score
from isocline.latents.path import EditPath


def straight(
    codes: Tensor, direction: Tensor, *, target: str, to: int | Tensor = 1, keep: Sequence[str] = (), method: str = "straight",
    steps: int = STEPS, length: float = LENGTH,
) -> EditPath:  # fmt: skip
    """Codes ``(B, D)`` moved along one ``direction (D,)``, or against it where `to` is -1, in equal steps.

    Raises: ValueError for widths, a zero direction, signs.
    """
    if codes.ndim != 2 or direction.shape != codes.shape[1:]:
        raise wrong("direction", f"({codes.shape[-1]},) as the codes", f"{tuple(direction.shape)}")
    check_finite("direction", direction)
    if not bool((direction != 0).any()):
        raise wrong("direction", "a direction that is not zero", "zeros", "keep fewer attributes")
    check_number("steps", steps, least=1, integer=True)
    check_number("length", length, above=0)
    signs = torch.as_tensor(to, device=codes.device).long().expand(len(codes))
    if not bool(torch.isin(signs, torch.tensor([-1, 1], device=codes.device)).all()):
        raise wrong("to", "+1 or -1, or one for every code", str(signs.tolist()))
    g = signs[:, None] * direction.to(codes)
    everything = torch.ones_like(codes, dtype=torch.bool)
    path, masks, moved, stopped = follow(codes, lambda w: (g, everything), steps, length)
    return EditPath(path, masks, {}, moved, stopped, target, signs, tuple(keep), method, {})


@dataclass(frozen=True, slots=True, eq=False)
class InterFaceGAN:
    """A linear boundary for each two-way attribute: the unit normal of a linear support vector machine.

    Source: Shen, Gu, Tang & Zhou, *Interpreting the Latent Space of GANs*, CVPR 2020.
    """

    normals: dict[str, Tensor]  # (D,)
    offsets: dict[str, float]
    accuracy: dict[str, float]  # on three tenths of the tails, held out

    @classmethod
    def fit(cls, codes: Tensor, scores: Scores, *, tails: float = 0.02, seed: int = 0) -> InterFaceGAN:
        """From codes ``(N, D)`` and scores ``(N,)`` by name; `tails` of all codes from either end, as published."""
        from sklearn.model_selection import train_test_split
        from sklearn.svm import SVC

        N = _checked_codes(codes)
        tails = check_number("tails", tails, above=0, most=0.5)
        normals, offsets, accuracy = {}, {}, {}
        for name, given in scores.items():
            score = _checked_score(name, given, N)
            if score.shape[1] > 1:
                raise wrong(f"scores[{name!r}]", f"({N},): a boundary has two sides", f"{tuple(score.shape)}")
            order, count = score[:, 0].argsort(), max(4, int(tails * N))
            rows = torch.cat([order[:count], order[-count:]])
            X = codes[rows].detach().cpu().double().numpy()
            y = torch.arange(2).repeat_interleave(count).numpy()
            train, test, y_train, y_test = train_test_split(
                X, y, test_size=0.3, random_state=seed, stratify=y
            )
            machine = SVC(kernel="linear").fit(train, y_train)
            normal = torch.from_numpy(machine.coef_[0].copy())
            offsets[name] = float(machine.intercept_[0] / normal.norm())
            normals[name] = F.unit(normal).to(codes)
            accuracy[name] = float(machine.score(test, y_test))
        return cls(normals, offsets, accuracy)

    def direction(self, target: str, keep: Sequence[str] = ()) -> Tensor:
        """The target's normal ``(D,)``; with `keep`, conditional: without the span of the kept attributes' normals."""
        for name in (target, *keep):
            _known(name, self.normals)
        if not keep:
            return self.normals[target]
        return F.conditional(self.normals[target], torch.stack([self.normals[name] for name in keep]))

    def edit(
        self, codes: Tensor, target: str, to: int | Tensor = 1, keep: Sequence[str] = (), **how: Any
    ) -> EditPath:
        """Codes ``(B, D)`` moved straight along `direction`; `how`: steps and length, as `edit` has them."""
        method = "InterFaceGAN, conditional" if keep else "InterFaceGAN"
        return straight(
            codes, self.direction(target, keep), target=target, to=to, keep=keep, method=method, **how
        )


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """Directions found without any score, the strongest first; which one means what, a person has to see."""

    method: str
    directions: Tensor  # (D, D) in rows
    values: Tensor  # (D,) eigenvalues, decreasing

    def edit(
        self, codes: Tensor, index: int, to: int | Tensor = 1, *, target: str = "", **how: Any
    ) -> EditPath:
        """Codes ``(B, D)`` moved straight along direction number `index`."""
        check_number("index", index, least=0, below=len(self.directions), integer=True)
        return straight(
            codes,
            self.directions[index],
            target=target or f"{self.method} {index}",
            to=to,
            method=self.method,
            **how,
        )


class SeFa(Directions):
    """Eigenvectors of the style weights: where equal steps change the styles most. See `functional.style_directions`."""

    __slots__ = ()

    @classmethod
    def fit(cls, style_weights: Sequence[Tensor]) -> SeFa:
        """From weights ``(out_l, D)`` of the affine maps of some layers, or ``generator.style_weights()``."""
        if not style_weights or len({weight.shape[-1] for weight in style_weights}) != 1:
            raise wrong(
                "style_weights",
                "matrices (out, D) of one width",
                f"{[tuple(w.shape) for w in style_weights]}",
            )
        return cls("SeFa", *F.style_directions(list(style_weights)))


class GANSpace(Directions):
    """Principal components of codes. Source: Härkönen, Hertzmann, Lehtinen & Paris 2020."""

    __slots__ = ()

    @classmethod
    def fit(cls, codes: Tensor) -> GANSpace:
        """From codes ``(N, D)`` as the generator samples them."""
        _checked_codes(codes)
        centred = (codes - codes.mean(0)).double()
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
        return cls("GANSpace", vectors.T.flip(0).to(codes), values.flip(0).to(codes))


def _known(name: str, normals: Mapping[str, Tensor]) -> None:
    if name not in normals:
        close = nearest(str(name), normals)
        advice = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise wrong("attribute", f"one of {', '.join(map(repr, normals))}", repr(name), advice)
