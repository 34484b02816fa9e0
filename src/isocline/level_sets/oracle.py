"""The model as the walk sees it: one forward pass gives score, confidence and, when asked for, the gradient; all are counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isocline._core.checks import check_shape, wrong
from isocline.level_sets import functional
from isocline.level_sets.adapters import Model, Probabilities, are_probabilities
from isocline.level_sets.scores import ScoreLike, find_score

PART = 4 * 3 * 224 * 224  # values that a CPU takes at once


@dataclass(frozen=True, slots=True)
class Reading:
    """What one forward pass tells of R inputs. `graph` leads back to `x` for the gradient."""

    x: Tensor
    graph: Tensor  # (R,) the lean score, differentiable
    lean: Tensor  # (R,)
    value: Tensor  # (R,)
    confidence: Tensor  # (R,)
    answer: Tensor | None = None  # (R,) the class of the largest output


class Oracle:
    """A model, a score and the labels of B samples. Counts each sample's forward and backward passes."""

    def __init__(self, model: Model, score: ScoreLike, label: Tensor | None, like: Tensor) -> None:
        self.model, self.score, self.label = model, find_score(score), label
        self.forwards = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.backwards = torch.zeros_like(self.forwards)
        self.notes: list[str] = []
        self.layout = torch.contiguous_format

    def first(self, source: Tensor) -> Reading:
        """The clean sources: settles the layout, whether the model gives probabilities, and the labels that were not given."""
        rows = torch.arange(len(source), device=source.device)
        x, output = self._first_output(source)
        self.forwards += 1
        if self.score.of_class:
            self._check_classes(output)
            if are_probabilities(output):
                self.notes.append("the model gives probabilities: their logarithms are taken for logits")
                self.model = Probabilities(self.model)
                output = output.clamp(min=torch.finfo(output.dtype).tiny).log()
            if self.label is None:
                self.label = output.detach().argmax(1)
            if int(self.label.min()) < 0 or int(self.label.max()) >= output.shape[1]:
                raise wrong("label", f"classes in [0, {output.shape[1]})", str(self.label.tolist()))
        elif self.label is None:
            self.label = torch.zeros(len(source), dtype=torch.long, device=source.device)
        return self._reading(x, output, self.label[rows])

    def arranged(self, x: Tensor) -> Tensor:
        """x in the layout that the model is given, the same numbers."""
        return x.contiguous(memory_format=self.layout)

    def read(self, x: Tensor, rows: Tensor, *, last: bool = False) -> Reading:
        """One forward pass of x ``(R, ...)``, inputs of the samples `rows` ``(R,)``; the last leads to no gradient."""
        assert self.label is not None  # `first` comes first
        x = self.arranged(x.detach()).requires_grad_(not last)
        output = self._output(x)
        self.forwards[rows] += 1
        return self._reading(x, output, self.label[rows])

    def gradient(self, reading: Reading, mask: Tensor, rows: Tensor) -> Tensor:
        """Gradient of the lean score where mask ``(R,)`` holds, zero elsewhere; through the pass that was made already."""
        self.backwards[rows[mask]] += 1
        total = torch.where(mask, reading.graph, 0.0).sum()
        (gradient,) = torch.autograd.grad(total, reading.x)
        return gradient

    def _first_output(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """x as the model is given it, and its output: images with channels last, unless it wants them otherwise.

        The CPU's convolutions in float32 take them so without rearranging, a network of ImageNet's in half the time.
        """
        if source.dim() == 4 and source.is_cpu and source.dtype == torch.float32:
            self.layout = torch.channels_last
            x = self.arranged(source.detach().clone()).requires_grad_()
            try:
                return x, self._output(x)
            except RuntimeError:  # a view of what it takes for contiguous; any other error comes again
                self.layout = torch.contiguous_format
        x = source.detach().clone().requires_grad_()
        return x, self._output(x)

    def _output(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(x.requires_grad):
            parts = [self.model(part) for part in self._parts(x)]
        if not all(isinstance(part, Tensor) for part in parts):
            kind = type(parts[0]).__name__
            raise wrong("model", "one that gives a tensor", kind, "wrap it", error=TypeError)
        output = parts[0] if len(parts) == 1 else torch.cat(parts)
        if output.dim() < 1 or len(output) != len(x):
            raise wrong("model", f"an output of {len(x)} rows, one a sample", output)
        return output

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """A CPU is given large images a few at a time: the activations of more do not stay in its caches."""
        size = x[0].numel() if len(x) else 0
        if not x.is_cpu or not size:
            return (x,)
        return x.split(max(1, PART // size))

    def _check_classes(self, output: Tensor) -> None:
        do = "for any other output give a function as score"
        sizes = check_shape("the model's output", output, "B K", do)
        if sizes["K"] < 2:
            raise wrong("the model's output", "at least 2 classes", output, do)

    def _reading(self, x: Tensor, output: Tensor, label: Tensor) -> Reading:
        with torch.set_grad_enabled(x.requires_grad):
            graph = self.score.lean(output, label)
        if graph.shape != (len(x),):
            raise wrong("score", f"shape ({len(x)},)", graph, "one number a sample")
        if x.requires_grad and not graph.requires_grad:
            raise wrong(
                "model", "one that can be differentiated in its input", "an output without a gradient"
            )
        lean, answer = graph.detach(), None
        value = confidence = self.score.value(lean)
        if self.score.of_class:
            logits = output.detach()
            answer = logits.argmax(1)
            if self.score.name != "probability":
                confidence = functional.log_odds(logits, label).sigmoid()
        return Reading(x, graph, lean, value, confidence, answer)
