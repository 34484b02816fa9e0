"""`edit`: follow an attribute's gradient through the latent space, step by step, without moving what must stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline._core.rest import at_rest
from isocline.latents import functional as F
from isocline.latents.attributes import AttributeModel
from isocline.latents.exclusion import TradeOff, choose_exclusion
from isocline.latents.generators import SPACES
from isocline.latents.path import EditPath

METHODS = ("exclude", "project", "none")
STOPS = ("score", "effect")
STEPS, LENGTH = 9, 4.0

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class _Ask:
    """One edit, checked."""

    model: AttributeModel
    target: str
    to: Tensor  # (B,)
    keep: tuple[str, ...]
    method: str
    score: str

    def climbed(self, w: Tensor) -> Tensor:
        """What is to grow, ``(B,)``: the target's score, or its negative."""
        logits = self.model.logits(w, self.target)
        if self.model.classes[self.target]:
            return F.class_score(logits, self.to, self.score)
        sign = self.to.to(w.dtype)
        return F.two_way_score(sign * logits, "logit" if self.score != "log_prob" else "log_prob")

    def gradient(self, w: Tensor) -> Tensor:
        return _gradient(self.climbed, w)

    def kept_gradients(self, w: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        """``(E, B, D)``: of two-way attributes the logit's, else of the log-probability of the class it was at the start."""
        found = [_gradient(lambda x, name=name: _held(self.model, x, name, present), w) for name in self.keep]
        return torch.stack(found) if found else w.new_zeros(0, *w.shape)


def edit(
    model: AttributeModel,
    codes: Tensor,
    target: str,
    to: int | Tensor = 1,
    keep: Sequence[str] = (),
    *,
    method: str = "project",
    exclude_channels: Mapping[str, int] | str = "auto",
    score: str | None = None,
    space: str = "w",
    layers: tuple[int, int] | None = None,
    steps: int = STEPS,
    length: float = LENGTH,
    stop: Mapping[str, float] | None = None,
) -> EditPath:
    """Change one attribute of ``codes (B, D)`` and leave the `keep` ones as they are, along a path of `steps` equal steps.

    to: +1 or -1 of a two-way attribute, a class of the others, or one a code ``(B,)``. Each step follows the gradient of the
    target at the current code: as it is (``method="none"``), without the channels most salient for any kept attribute
    (``"exclude"``: the paper's; `exclude_channels` says how many for each, ``"auto"`` chooses by first-order leakage), or
    without the span of the kept attributes' gradients (``"project"``: ours, independent of the axes). length: of the whole
    path. score: what is climbed, ``"logit"``, ``"log_prob"`` or ``"prob"``; by default the logit of two-way attributes and the
    log-probability of a class. layers: which layers of a "w+" generator see the edit, when frames are made. stop: leave a
    sample where it is once ``{"score": s}`` the target's score is past s, or ``{"effect": x}`` its logit (log-probability of
    the class) has changed by x of its spreads.

    Raises: ValueError for unknown names (with the nearest), widths, classes, channels that leave nothing to move. A sample
    whose gradient has nothing left stays where it is, and `EditPath.stopped` says so. Source: paper, sections 3.2 and 3.3.
    """
    codes, ask = _asked(model, codes, target, to, keep, method, score)
    check_choice("space", space, SPACES)
    if layers is not None and space != "w+":
        raise wrong("layers", "None, or space='w+'", f"{layers} with space={space!r}")
    check_number("steps", steps, least=1, integer=True)
    check_number("length", length, above=0)
    reached = _stop(ask, codes, stop)
    with at_rest(model):
        present = _present(model, codes, ask.keep)
        counts, notes = _counts(ask, codes, present, exclude_channels)

        def direction(w: Tensor) -> tuple[Tensor, Tensor]:
            g = ask.gradient(w)
            everything = torch.ones_like(g, dtype=torch.bool)
            if not ask.keep or method == "none":
                return g, everything
            kept = ask.kept_gradients(w, present)
            if method == "project":
                return F.project_out(g, kept), everything
            mask = F.surviving_channels(kept.abs(), [counts[name] for name in ask.keep])
            return g * mask, mask

        path, masks, moved, stopped = follow(codes, direction, steps, length, reached)
        scores = _scores(model, path)
    return EditPath(
        path, masks, scores, moved, stopped, target, ask.to, ask.keep, method, counts, space, layers, notes
    )


def follow(
    codes: Tensor,
    direction: Gradient,
    steps: int,
    length: float,
    reached: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Steps of equal length along ``direction(w) -> (g, mask)``; gives codes, masks, which were made, why a sample stopped."""
    path, masks, moved = [codes], [], []
    active = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    why = ["walked the whole path"] * len(codes)
    for n in range(steps):
        w = path[-1]
        if reached is not None:
            _say(why, active & reached(w), f"reached its aim after {n} steps")
            active = active & ~reached(w)
        g, mask = direction(w)
        nothing = ~((g != 0).any(-1) & g.isfinite().all(-1))
        _say(why, active & nothing & ~mask.any(-1), f"every channel is excluded at step {n}")
        _say(why, active & nothing & mask.any(-1), f"no gradient is left at step {n}")
        active = active & ~nothing
        new = F.step(w, g.where(active[:, None], torch.zeros_like(g)), length / steps)
        path.append(torch.where(active[:, None], new, w))
        masks.append(mask)
        moved.append(active)
    return torch.stack(path), torch.stack(masks), torch.stack(moved), tuple(why)


def trade_off(
    model: AttributeModel,
    codes: Tensor,
    target: str,
    to: int | Tensor = 1,
    keep: Sequence[str] = (),
    *,
    score: str | None = None,
    bound: float = 0.1,
) -> TradeOff:
    """First-order leakage against the number of excluded channels, for each kept attribute; what ``"auto"`` chooses from.

    Raises: ValueError as `edit`, and where the model does not know the spreads of its scores.
    """
    codes, ask = _asked(model, codes, target, to, keep, "exclude", score)
    if not ask.keep:
        raise wrong("keep", "at least one attribute", "none")
    check_number("bound", bound, above=0)
    unit = {name: _unit_of(model, name) for name in (target, *ask.keep)}
    with at_rest(model):
        g = ask.gradient(codes) / unit[target]
        kept = ask.kept_gradients(codes, _present(model, codes, ask.keep))
    spreads = torch.tensor([unit[name] for name in ask.keep], dtype=kept.dtype, device=kept.device)
    return choose_exclusion(g, kept / spreads[:, None, None], ask.keep, bound)


def _asked(
    model: AttributeModel, codes: Tensor, target: str, to: Any, keep: Any, method: str, score: str | None
) -> tuple[Tensor, _Ask]:
    if not isinstance(codes, Tensor) or codes.ndim != 2 or codes.shape[1] != model.width:
        raise wrong(
            "codes", f"a tensor (B, {model.width})", codes, "one code a row, of the space the attributes know"
        )
    check_finite("codes", codes)
    model.index(target)
    if isinstance(keep, str):
        raise wrong("keep", "a list of names", repr(keep), f"write [{keep!r}]")
    for name in keep:
        model.index(name)
    if target in keep:
        raise wrong("keep", "attributes other than the target", repr(target))
    check_choice("method", method, METHODS)
    K = len(model.classes[target])
    score = check_choice("score", score or ("log_prob" if K else "logit"), F.SCORES)
    labels = torch.as_tensor(to, device=codes.device).long()
    allowed = torch.arange(K, device=codes.device) if K else torch.tensor([-1, 1], device=codes.device)
    if not bool(torch.isin(labels, allowed).all()):
        raise wrong("to", f"a class from 0 to {K - 1}" if K else "+1 or -1", str(labels.tolist()))
    if labels.ndim > 1 or (labels.ndim == 1 and len(labels) != len(codes)):
        raise wrong("to", f"one number, or {len(codes)}", f"{tuple(labels.shape)}")
    return codes.detach(), _Ask(
        model, target, labels.expand(len(codes)), tuple(dict.fromkeys(keep)), method, score
    )


def _counts(
    ask: _Ask, codes: Tensor, present: Mapping[str, Tensor], given: Mapping[str, int] | str
) -> tuple[dict[str, int], tuple[str, ...]]:
    if ask.method != "exclude" or not ask.keep:
        return {}, ()
    if isinstance(given, str):
        check_choice("exclude_channels", given, ("auto",))
        found = trade_off(ask.model, codes, ask.target, ask.to, ask.keep, score=ask.score)
        missed = [name for name in ask.keep if not found.reached[name]]
        names = ", ".join(missed)
        said = f"no number of excluded channels keeps {names} within {found.bound} to first order: took the least leaky"
        return found.chosen, (said,) if missed else ()
    for name, k in given.items():
        ask.model.index(name)
        check_number(f"exclude_channels[{name!r}]", k, least=0, most=ask.model.width - 1, integer=True)
        if name not in ask.keep:
            raise wrong("exclude_channels", "names that are in keep", repr(name), "add it to keep")
    return {name: int(given.get(name, 0)) for name in ask.keep}, ()


def _stop(ask: _Ask, codes: Tensor, stop: Mapping[str, float] | None) -> Callable[[Tensor], Tensor] | None:
    if not stop:
        return None
    for name, aim in stop.items():
        check_choice("stop", name, STOPS)
        check_number(f"stop[{name!r}]", aim)
    sign = ask.to.to(codes.dtype) if not ask.model.classes[ask.target] else torch.ones_like(codes[:, 0])

    def value(w: Tensor) -> Tensor:
        with torch.no_grad():
            logits = ask.model.logits(w, ask.target)
            if ask.model.classes[ask.target]:
                return F.class_score(logits, ask.to, ask.score)
            return F.two_way_score(logits, ask.score)

    start = value(codes)
    unit = _unit_of(ask.model, ask.target) if "effect" in stop else 1.0

    def reached(w: Tensor) -> Tensor:
        now, done = value(w), torch.zeros(len(w), dtype=torch.bool, device=w.device)
        if "score" in stop:
            done = done | (sign * now >= sign * stop["score"])
        if "effect" in stop:
            done = done | (sign * (now - start) >= stop["effect"] * unit)
        return done

    return reached


def _present(model: AttributeModel, codes: Tensor, keep: Sequence[str]) -> dict[str, Tensor]:
    """The class of every kept attribute at the start."""
    with torch.no_grad():
        return {name: model.logits(codes, name).argmax(-1) for name in keep if model.classes[name]}


def _held(model: AttributeModel, w: Tensor, name: str, present: Mapping[str, Tensor]) -> Tensor:
    logits = model.logits(w, name)
    return F.class_score(logits, present[name], "log_prob") if name in present else logits


def _gradient(of: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    with torch.enable_grad():
        x = w.detach().requires_grad_()
        (g,) = torch.autograd.grad(of(x).sum(), x)
    return g


def _scores(model: AttributeModel, path: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        found = model(path.flatten(0, 1))
    return {name: values.unflatten(0, path.shape[:2]) for name, values in found.items()}


def _unit_of(model: AttributeModel, name: str) -> float:
    spread = model.deviations.get(name, 0.0)
    if spread <= 0:
        raise wrong(
            "model", f"the spread of {name!r} over the population", "none",
            "give from_classifiers(..., codes=) some codes, or say exclude_channels yourself",
        )  # fmt: skip
    return spread


def _say(why: list[str], rows: Tensor, words: str) -> None:
    for i in rows.nonzero().flatten().tolist():
        why[i] = words
