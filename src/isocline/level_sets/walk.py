"""The walk itself: many samples at once, each with its own step, memory of gradients and reason to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline._core.rest import at_rest
from isocline.level_sets import functional
from isocline.level_sets.adapters import Model
from isocline.level_sets.oracle import Oracle, Reading
from isocline.level_sets.scores import Score, ScoreLike, find_score
from isocline.level_sets.traversal import Traversal

Bounds = tuple[float, float]
METHODS = ("lst", "paper")


def traverse(
    model: Model,
    source: Tensor,
    target: Tensor,
    label: Tensor | None = None,
    eta: float = 0.05,
    steps: int = 80,
    eps: float = 2e-3,
    delta: float = 0.2,
    score: ScoreLike = "probability",
    method: Literal["lst", "paper"] = "lst",
    bounds: Bounds = (0.0, 1.0),
    start_noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    most: float = 0.1,
    growth: float = 1.25,
    halvings: int = 6,
    correct: bool = False,
    every: int | None = None,
) -> Traversal:
    """Walk from each source towards its target while the model's score drops by less than delta.

    A step goes ``eta`` of the way to the target within the level set's tangent, less the clipped sum of the gradients
    of the cost (`functional`); it is taken if the score at its end is above the *source's* minus delta. "paper": exactly
    the published algorithm, one eta for all steps. "lst": a refused step is tried again at half its eta (up to
    `halvings` times in a row), an accepted one makes the next longer by `growth`, up to `most`; `correct` adds the Newton
    step that takes a lowered score back to the source's, at no cost; where the tangent leads no nearer, what the score has
    gained over the source's is spent on the way (`functional.spendable`); and the walk ends once it is as near as `steps`
    unhindered steps of `eta` would be. Either way an accepted proposal's forward pass serves the next gradient.

    Shapes: source, target ``(B, ...)`` of one floating dtype, within `bounds` (infinite ones are allowed); label ``(B,)``
    whole numbers, by default the model's answer. model: gives ``(B, K)`` logits, or probabilities, which are recognised; with
    a function as `score`, ``(output, label) -> (B,)``, anything. start_noise: u in [0, 1] of the noise at the start
    (`functional.start`); without it drawn from `generator`; without either there is none. eps: 0 turns the gradient step off.
    every: keep one iterate in so many (about ten in all by default).

    Samples that are misclassified, have no confidence to lose, or a model output that is not finite stay at their source,
    and `stopped` says why. Raises: ValueError and TypeError for arguments that make no sense.
    Source: BSSF (see `functional`), Algorithm 1; step control and correction are ours.
    """
    check_pair(source, target, bounds)
    _check_extras(source, label, start_noise)
    for name, value in (("eta", eta), ("most", most)):
        check_number(name, value, above=0, most=1)
    check_number("steps", steps, least=1, integer=True)
    check_number("eps", eps, least=0)
    check_number("delta", delta, above=0)
    check_number("growth", growth, least=1)
    check_number("halvings", halvings, least=0, integer=True)
    check_choice("method", method, METHODS)
    every = max(1, steps // 10) if every is None else check_number("every", every, least=1, integer=True)
    plan = Plan(
        eta, steps, eps, delta, bounds, method == "lst", max(most, eta), growth, halvings, correct, every
    )
    kind = find_score(score).as_published() if method == "paper" else find_score(score)
    return run(plan, method, model, source, target, label, kind, start_noise, generator)


# (target, x, g, g at the source, eta, standard normal numbers) to the next proposal, before it is clipped; all (R, ...)
Move = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of a walk. move: another way to go than along level sets, `baselines`."""

    eta: float
    steps: int
    eps: float
    delta: float
    bounds: Bounds
    adaptive: bool
    most: float
    growth: float
    halvings: int
    correct: bool
    every: int
    move: Move | None = None


def run(
    plan: Plan,
    method: str,
    model: Model,
    source: Tensor,
    target: Tensor,
    label: Tensor | None,
    score: Score,
    start_noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Traversal:
    """Walk by a plan; arguments are checked already."""
    source, target = source.detach(), target.detach()
    with at_rest(model) as said:
        oracle = Oracle(model, score, label if label is None else label.long(), source)
        walk = _Walk(plan, oracle, source, target, start_noise, generator)
        for step in range(plan.steps):
            if not len(walk.rows):
                break
            walk.step(step)
        return walk.result(method, said)


class _Walk:
    """Every sample's state; `rows` are those that still walk."""

    def __init__(
        self,
        plan: Plan,
        oracle: Oracle,
        source: Tensor,
        target: Tensor,
        start_noise: Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        self.plan, self.oracle = plan, oracle
        self.first = reading = oracle.first(source)
        self.source, self.target = oracle.arranged(source), oracle.arranged(target)
        source = self.source
        self.generator = generator
        self.stopped = self._refusals()
        self.rows = torch.tensor(
            [i for i, why in enumerate(self.stopped) if not why], device=source.device
        ).long()
        self.kept = torch.tensor([not why for why in self.stopped], device=source.device)
        self.x, rows = source.clone(), self.rows
        self.g, self.a = torch.zeros_like(source), torch.zeros_like(source)
        self.lean, self.confidence = reading.lean.clone(), reading.confidence.clone()
        noise = _noise(source, start_noise, generator) if plan.move is None else None
        if noise is not None and len(rows):
            self.x[rows] = functional.start(source[rows], noise[rows], plan.bounds)
            reading = oracle.read(self.x[rows], rows)
            self.lean[rows], self.confidence[rows] = reading.lean, reading.confidence
            self.g[rows] = oracle.gradient(reading, torch.ones_like(rows, dtype=torch.bool), rows)
        elif len(rows):
            self.g = oracle.gradient(reading, self.kept, torch.arange(len(source), device=source.device))
        B, steps = len(source), plan.steps
        self.eta = source.new_full((B,), plan.eta)
        self.refused = torch.zeros(B, dtype=torch.long, device=source.device)
        self.confidences = self.confidence[:, None].repeat(1, steps + 1)
        self.accepted = torch.zeros(B, steps, dtype=torch.bool, device=source.device)
        self.etas = source.new_zeros(B, steps)
        self.origin = self.g.clone() if plan.move is not None else self.g
        self.goal = (1 - plan.eta) ** steps * _distance(source, target)
        self.path, self.path_steps = [self.x.clone()], [0]
        self._stop_where_gradient_is_lost()

    def step(self, step: int) -> None:
        """One proposal for every sample that walks: a forward pass, and a backward one for those that are accepted."""
        plan, rows = self.plan, self.rows
        before = _take(self.a, rows)
        proposal, a = self._proposal(rows)
        self.a = _put(self.a, rows, a)
        reading = self.oracle.read(proposal, rows)
        ok = self.oracle.score.holds(reading.value, self.first.value[rows], plan.delta)
        ok &= torch.isfinite(reading.lean)
        self.x = _put(self.x, rows, _choose(ok, proposal, self.x, rows))
        self.lean[rows] = torch.where(ok, reading.lean, self.lean[rows])
        self.confidence[rows] = torch.where(ok, reading.confidence, self.confidence[rows])
        self.confidences[:, step + 1 :] = self.confidence[:, None]
        self.accepted[rows, step], self.etas[rows, step] = ok, self.eta[rows]
        if (step + 1) % plan.every == 0:
            self.path.append(self.x.clone())
            self.path_steps.append(step + 1)
        last = step + 1 == plan.steps
        if not (plan.adaptive or last or ok.all()):  # the same proposal would be refused for ever
            same = (a == before).flatten(1).all(1)
            self._stop(rows[~ok & same], "refused, and nothing changes")
        self._next(rows, ok, reading, last=last)

    def _proposal(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where to next, and the gradients gathered by then."""
        plan, eta = self.plan, self.eta[rows]
        x, g, a, target = (_take(t, rows) for t in (self.x, self.g, self.a, self.target))
        if plan.move is not None:
            shape, kind = (len(rows), *x.shape[1:]), {"dtype": x.dtype, "device": x.device}
            draw = torch.randn(shape, generator=self.generator, **kind)
            new = plan.move(target, x, g, self.origin[rows], _spread(eta, x), draw)
            return functional.clip(new, plan.bounds), draw
        level = self.first.lean[rows]
        pull = self.oracle.score.pull(self.lean[rows], level)
        if plan.adaptive:  # a longer step gathers as much as the short ones it stands for
            pull = pull * (eta / plan.eta).clamp(min=1)
        a = functional.accumulate(a, g, plan.eps, _spread(pull, g))
        v = target - x
        along = functional.tangent(v, g).mul_(_spread(eta, x))
        new = x + along
        new -= a
        if plan.adaptive and plan.eps > 0 and not self.oracle.score.two_sided:
            spent = functional.spendable(v, g, self.lean[rows] - level, eta)
            new = functional.corrected(new, g, spent)
        if plan.adaptive and plan.correct:
            new += self._correction(rows, level, along)
        return functional.clip(new, plan.bounds), a

    def _correction(self, rows: Tensor, level: Tensor, along: Tensor) -> Tensor:
        """The Newton step back to the level, no longer than the step along it."""
        g, excess = _take(self.g, rows), self.lean[rows] - level
        if not self.oracle.score.two_sided:
            excess = excess.clamp(max=0)
        back = functional.corrected(torch.zeros_like(g), g, excess)
        longest, length = along.flatten(1).norm(dim=1), back.flatten(1).norm(dim=1)
        return back * _spread((longest / length.clamp(min=torch.finfo(g.dtype).tiny)).clamp(max=1), g)

    def _next(self, rows: Tensor, ok: Tensor, reading: Reading, *, last: bool) -> None:
        """Who goes on, with which gradient and which step."""
        plan = self.plan
        self.refused[rows] = torch.where(ok, 0, self.refused[rows] + 1)
        if plan.adaptive:
            left = _distance(_take(self.x, rows), _take(self.target, rows))
            arrived = ok & (left <= self.goal[rows])
            eta = self.eta[rows]
            self.eta[rows] = torch.where(ok, (eta * plan.growth).clamp(max=plan.most), eta / 2)
            self._stop(rows[arrived], "schedule reached")
            self._stop(rows[self.refused[rows] > plan.halvings], "no shorter step is accepted")
        fresh = ok & torch.isin(rows, self.rows)
        if not last and bool(fresh.any()):
            gradient = self.oracle.gradient(reading, fresh, rows)
            self.g = _put(self.g, rows, _choose(fresh, gradient, self.g, rows))
            self._stop_where_gradient_is_lost()

    def _stop(self, rows: Tensor, why: str) -> None:
        for row in rows.tolist():
            self.stopped[row] = self.stopped[row] or why
        if len(rows):
            self.rows = self.rows[~torch.isin(self.rows, rows)]

    def _stop_where_gradient_is_lost(self) -> None:
        lost = ~torch.isfinite(functional.largest(_take(self.g, self.rows))).flatten()
        self._stop(self.rows[lost], "the gradient is not finite")

    def _refusals(self) -> list[str]:
        """Why a sample is not walked; empty words for those that are."""
        first, score = self.first, self.oracle.score
        assert self.oracle.label is not None
        wrong_class = (
            (first.answer != self.oracle.label)
            if first.answer is not None
            else torch.zeros_like(self.oracle.label)
        )
        sure = first.value > self.plan.delta if score.name == "probability" and self.plan.adaptive else None
        reasons = []
        for i, value in enumerate(first.lean.isfinite().tolist()):
            why = "" if value else "the model's output is not finite"
            why = why or ("misclassified" if wrong_class[i] else "")
            reasons.append(why or ("no confidence above delta" if sure is not None and not sure[i] else ""))
        return reasons

    def result(self, method: str, said: list[str]) -> Traversal:
        """Look once more at every end, and put all together."""
        plan, first, oracle = self.plan, self.first, self.oracle
        everyone = torch.arange(len(self.x), device=self.x.device)
        end = oracle.read(self.x, everyone, last=True)
        if self.path_steps[-1] != plan.steps:
            self.path.append(self.x.clone())
            self.path_steps.append(plan.steps)
        assert oracle.label is not None
        return Traversal(
            source=self.source.contiguous(),
            target=self.target.contiguous(),
            label=oracle.label,
            end=self.x.contiguous(),
            path=torch.stack(self.path, 1),
            path_steps=torch.tensor(self.path_steps),
            confidences=self.confidences,
            accepted=self.accepted,
            etas=self.etas,
            kept=self.kept,
            stopped=tuple(why or "steps used up" for why in self.stopped),
            source_score=first.value,
            end_score=end.value,
            source_confidence=first.confidence,
            end_confidence=end.confidence,
            bound=functional.schedule_bound(self.etas, self.accepted),
            forwards=oracle.forwards,
            backwards=oracle.backwards,
            method=method,
            score=oracle.score.name,
            delta=plan.delta,
            notes=(*said, *oracle.notes, *self._saturated()),
        )

    def _saturated(self) -> list[str]:
        """A word on sources whose own probability has no gradient left."""
        count = int((self.first.confidence > 1 - 1e-6).sum()) if self.oracle.score.of_class else 0
        return (
            [f"{count} of {len(self.x)} sources are sure to 1e-6: the gradient is the log-odds'"]
            if count
            else []
        )


def check_pair(source: Tensor, target: Tensor, bounds: Bounds) -> None:
    """Two batches that can be walked between. Raises: ValueError, TypeError."""
    low, high = float(bounds[0]), float(bounds[1])
    if not low < high:
        raise wrong("bounds", "(low, high) with low < high", str(bounds))
    for name, given in (("source", source), ("target", target)):
        if not isinstance(given, Tensor) or not given.is_floating_point():
            raise wrong(
                name,
                "a tensor of floating point numbers",
                given,
                "scale images to the bounds",
                error=TypeError,
            )
        if given.dim() < 2 or not given.numel():
            raise wrong(name, "shape (B, ...) with at least one sample", given, "put the batch first")
        check_finite(name, given)
        if float(given.min()) < low or float(given.max()) > high:
            got = f"values from {float(given.min()):.4g} to {float(given.max()):.4g}"
            raise wrong(
                name, f"values within bounds, {low} to {high}", got, "scale it, or pass its own bounds"
            )
    if source.shape != target.shape or source.dtype != target.dtype or source.device != target.device:
        raise wrong(
            "target", f"shape, dtype and device of the source, {tuple(source.shape)}, {source.dtype}", target
        )


def _check_extras(source: Tensor, label: Tensor | None, start_noise: Tensor | None) -> None:
    if label is not None and (
        not isinstance(label, Tensor)
        or label.shape != (len(source),)
        or label.dtype not in (torch.int64, torch.int32)
    ):
        raise wrong("label", f"{len(source)} whole numbers, shape ({len(source)},)", label)
    if start_noise is None:
        return
    if not isinstance(start_noise, Tensor) or start_noise.shape != source.shape:
        raise wrong("start_noise", f"the shape of the source, {tuple(source.shape)}", start_noise)
    check_finite("start_noise", start_noise)
    if float(start_noise.min()) < 0 or float(start_noise.max()) > 1:
        raise wrong("start_noise", "values within 0 and 1", start_noise)


def _noise(source: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor | None:
    if given is not None:
        return given.to(source)
    if generator is None:
        return None
    return torch.rand(source.shape, generator=generator, dtype=source.dtype, device=generator.device).to(
        source
    )


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).norm(2, tuple(range(1, x.dim())))


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """``(R,)`` as ``(R, 1, ..., 1)``."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """Some rows, the tensor itself if they are all: not to be written to."""
    return values if len(rows) == len(values) else values[rows]


def _put(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Values with new ones in some rows; the new ones themselves if they are all."""
    if len(rows) == len(values):
        return new
    values[rows] = new
    return values


def _choose(mask: Tensor, new: Tensor, values: Tensor, rows: Tensor) -> Tensor:
    """New where mask ``(R,)`` holds, else what the rows have."""
    return new if bool(mask.all()) else torch.where(_spread(mask, new), new, _take(values, rows))
