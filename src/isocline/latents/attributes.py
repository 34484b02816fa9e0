"""What an image shows, as functions of its latent code: a small net for each attribute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, nearest, wrong
from isocline._core.files import CheckpointError, load_folder, save_folder


@dataclass(frozen=True, slots=True)
class Learned:
    """How well one attribute was learned, on held-out codes that no step of the training saw."""

    accuracy: float  # balanced over classes, on the held-out tails
    error: float  # its standard error
    calibration: float  # expected calibration error, ten bins, on the same codes
    correlation: (
        float  # of the logit with the score over all codes outside the training (K-way: of the true class's)
    )
    trained: int
    held_out: int


class AttributeNet(nn.Module):
    """``D -> hidden -> K`` with LeakyReLU(0.1), on codes less their mean in units of one common spread.

    One spread for all channels, so that gradients point as they do in the space of the codes.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, hidden: int, outputs: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, dtype=dtype))
        self.register_buffer("spread", torch.ones((), dtype=dtype))
        first, last = nn.Linear(width, hidden, dtype=dtype), nn.Linear(hidden, outputs, dtype=dtype)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.1), last)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers((codes - self.mean) / self.spread)


class AttributeModel(nn.Module):
    """A net ``codes (B, D) -> logits`` for every attribute: ``(B, 1)`` two-way, ``(B, K)`` for K classes.

    Made by `fit_attributes`, `from_classifiers` or `load`. deviations: the standard deviation of every two-way logit over the
    codes it was fitted on, the unit of "effect" and of leakage. notes: what a reader should know.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        width: int,
        classes: Mapping[str, tuple[str, ...]],
        *,
        deviations: Mapping[str, float] | None = None,
        learned: Mapping[str, Learned] | None = None,
        correlations: Mapping[str, float] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.names = tuple(nets)
        self.nets = nn.ModuleList(nets.values())
        self.width = width
        self.classes = dict(classes)
        self.deviations = dict(deviations or {})
        self.learned = dict(learned or {})
        self.correlations = dict(correlations or {})
        self.notes = notes

    @classmethod
    def from_classifiers(
        cls, classifiers: Mapping[str, nn.Module], *, codes: Tensor | None = None, width: int | None = None
    ) -> AttributeModel:
        """Nets that exist already: each takes codes ``(B, D)`` and gives one logit or K of them.

        codes ``(N, D)``: some of the population, from which the unit of every logit is taken; without them `width` has to be
        given, and "effect" and automatic exclusion are not to be had. Raises: ValueError for outputs of another shape, NaN.
        """
        if not classifiers:
            raise wrong("classifiers", "at least one net by its name", "none")
        if codes is None and width is None:
            raise wrong("width", "the width of a code, or codes", "neither")
        probe = torch.zeros(2, width or 0) if codes is None else codes
        classes: dict[str, tuple[str, ...]] = {}
        deviations: dict[str, float] = {}
        for name, net in classifiers.items():
            like = next(net.parameters(), probe)
            with torch.no_grad():
                out = net(probe.to(like))
            if out.ndim == 1:
                out = out[:, None]
            if out.ndim != 2 or len(out) != len(probe):
                raise wrong(f"classifiers[{name!r}]", "logits (B, 1) or (B, K)", f"{tuple(out.shape)}")
            check_finite(f"classifiers[{name!r}]'s logits", out)
            classes[name] = tuple(map(str, range(out.shape[1]))) if out.shape[1] > 1 else ()
            if codes is not None:
                deviations[name] = _deviation(out)
        return cls(classifiers, probe.shape[1], classes, deviations=deviations)

    def logits(self, codes: Tensor, name: str) -> Tensor:
        """``(B,)`` of a two-way attribute, ``(B, K)`` of one with K classes. Raises: ValueError for an unknown name."""
        out: Tensor = self.nets[self.index(name)](codes)
        return out.reshape(len(codes)) if not self.classes[name] else out

    def forward(self, codes: Tensor) -> dict[str, Tensor]:
        """Every attribute's logits, by name."""
        return {name: self.logits(codes, name) for name in self.names}

    def index(self, name: str) -> int:
        """The place of an attribute. Raises: ValueError that suggests the nearest names."""
        if name not in self.names:
            close = nearest(str(name), self.names)
            advice = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise wrong("attribute", f"one of {', '.join(map(repr, self.names))}", repr(name), advice)
        return self.names.index(name)

    def extra_repr(self) -> str:
        kinds = {n: f"{len(c)} classes" if c else "two-way" for n, c in self.classes.items()}
        return ", ".join(
            f"{n}: {kind}" + (f", {self.learned[n].accuracy:.1%} held out" if n in self.learned else "")
            for n, kind in kinds.items()
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write safetensors and JSON into `folder`, atomically. Raises: ValueError for nets that are not `fit_attributes`'."""
        foreign = [
            n for n, net in zip(self.names, self.nets, strict=True) if not isinstance(net, AttributeNet)
        ]
        if foreign:
            raise wrong(
                "model",
                "nets of fit_attributes",
                f"other ones for {', '.join(foreign)}",
                "save those yourself",
            )
        hidden = [net.layers[0].out_features for net in self.nets]  # type: ignore[index, union-attr]
        config: dict[str, Any] = {
            "kind": "isocline.latents.AttributeModel",
            "names": list(self.names),
            "width": self.width,
            "hidden": hidden,
            "classes": self.classes,
            "deviations": self.deviations,
            "learned": self.learned,
            "correlations": self.correlations,
            "notes": list(self.notes),
        }
        save_folder(folder, config, dict(self.state_dict()))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> AttributeModel:
        """What `save` wrote; runs nothing that it reads. Raises: CheckpointError for anything else."""
        config, arrays = load_folder(folder, tensors=True)
        if config.get("kind") != "isocline.latents.AttributeModel":
            raise CheckpointError(f"{folder}: holds no attributes of latent codes")
        try:
            classes = {name: tuple(words) for name, words in config["classes"].items()}
            nets = {
                name: AttributeNet(config["width"], hidden, len(classes[name]) or 1)
                for name, hidden in zip(config["names"], config["hidden"], strict=True)
            }
            model = cls(
                nets,
                config["width"],
                classes,
                deviations={name: float(value) for name, value in config["deviations"].items()},
                learned={name: _learned(one) for name, one in config["learned"].items()},
                correlations={name: float(value) for name, value in config["correlations"].items()},
                notes=tuple(config["notes"]),
            )
            kinds = {tensor.dtype for tensor in arrays.values()}
            model.to(kinds.pop() if len(kinds) == 1 else torch.get_default_dtype()).load_state_dict(arrays)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{Path(folder)}: its attributes are not ours ({error})") from error
        return model.eval()


def _learned(one: Mapping[str, Any]) -> Learned:
    accuracy, error, calibration, correlation = (
        float(one[name]) for name in ("accuracy", "error", "calibration", "correlation")
    )
    return Learned(accuracy, error, calibration, correlation, int(one["trained"]), int(one["held_out"]))


def _deviation(logits: Tensor) -> float:
    """The standard deviation over codes of a logit, or of the log-probability of the likeliest class."""
    values = logits[:, 0] if logits.shape[1] == 1 else logits.log_softmax(1).amax(1)
    return float(values.double().std()) if len(values) > 1 else 0.0
