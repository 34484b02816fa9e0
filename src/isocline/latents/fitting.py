"""Learn attributes of images as functions of latent codes, from few codes: those of whose images a predictor is most sure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from isocline._core.checks import check_finite, check_number, wrong
from isocline._core.seeds import derive_seed, seeded, torch_generator
from isocline.latents.attributes import AttributeModel, AttributeNet, Learned
from isocline.latents.generators import Generator

HELD_OUT = 0.3
CORRELATED = 0.5
BATCH, RATE = 32, 3e-3
EVERY = 50  # updates between two looks at the held-out codes

Scores = Mapping[str, Tensor]


class AttributeWarning(UserWarning):
    """An attribute that could not be learned from the codes, or two whose scores go together."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The codes an attribute is learned from: the tails of its score, in two parts."""

    train: Tensor  # indices
    held_out: Tensor
    labels: Tensor  # (N,) of every code; only those of the two parts mean something


def fit_attributes(
    codes: Tensor,
    scores: Scores | None = None,
    *,
    predictor: Callable[[Tensor], Scores] | None = None,
    generator: Generator | None = None,
    tails: float = 0.05,
    hidden: int = 16,
    updates: int = 1500,
    batch: int = 256,
    seed: int = 0,
) -> AttributeModel:
    """A small net for each attribute, from codes ``(N, D)`` and what is seen in their images.

    scores: by name, ``(N,)`` for an attribute with two ends, ``(N, K)`` logits for one of K classes. Without them, `predictor`
    scores images ``(B, C, H, W)`` in [0, 1] that `generator` renders from the codes. tails: the share of all codes taken from
    either end of a score, or for each class, where the predictor is surest; label 1 is the high end. Three tenths of what was
    taken is held out, as many of each label; of every 50 updates the best
    held-out accuracy, then loss, is kept.

    Warns (`AttributeWarning`) by name of an attribute whose held-out accuracy is no better than chance, and of scores that are
    correlated. Raises: ValueError for shapes, NaN, constant scores. Source: paper, section 3.1 (two layers, tails of 5 %).
    """
    N = _checked_codes(codes)
    tails = check_number("tails", tails, above=0, most=0.5)
    check_number("hidden", hidden, least=1, integer=True)
    check_number("updates", updates, least=1, integer=True)
    if scores is None:
        if predictor is None or generator is None:
            raise wrong("scores", "scores by name, or a predictor and a generator", "neither")
        scores = score_codes(codes, generator, predictor, batch=batch)
    if not scores:
        raise wrong("scores", "at least one attribute", "none")
    nets: dict[str, AttributeNet] = {}
    learned: dict[str, Learned] = {}
    classes: dict[str, tuple[str, ...]] = {}
    for name, given in scores.items():
        score = _checked_score(name, given, N)
        sample = _tails(name, score, tails, derive_seed("tails", name, seed))
        net = _trained(codes, sample, score, hidden, updates, derive_seed("net", name, seed))
        nets[name], classes[name] = net, tuple(map(str, range(score.shape[1]))) if score.shape[1] > 1 else ()
        learned[name] = _judged(net, codes, score, sample)
    correlations, notes = _correlations(scores), []
    notes += [_unlearned(name, one, len(classes[name]) or 2) for name, one in learned.items()]
    notes += [
        f"{pair}: their scores go together (r = {r:.2f}); editing one is likely to move the other unless it is kept"
        for pair, r in correlations.items()
        if abs(r) >= CORRELATED
    ]
    notes = [note for note in notes if note]
    for note in notes:
        warnings.warn(note, AttributeWarning, stacklevel=2)
    model = AttributeModel(
        nets, codes.shape[1], classes, learned=learned, correlations=correlations, notes=tuple(notes)
    ).eval()
    with torch.no_grad():
        for name in model.names:
            logits = model.logits(codes, name)
            values = logits.log_softmax(1).amax(1) if model.classes[name] else logits
            model.deviations[name] = float(values.double().std())
    return model


def score_codes(
    codes: Tensor, generator: Generator, predictor: Callable[[Tensor], Scores], *, batch: int = 256
) -> dict[str, Tensor]:
    """What the predictor sees in the images of ``codes (N, D)``, by name. Raises: ValueError for NaN, naming the attribute."""
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for rows in codes.split(batch):
            for name, values in predictor(generator.render(rows)).items():
                check_finite(f"the predictor's {name!r}", values)
                if len(values) != len(rows):
                    raise wrong(f"the predictor's {name!r}", f"{len(rows)} rows", f"{tuple(values.shape)}")
                found.setdefault(name, []).append(values)
    return {name: torch.cat(parts) for name, parts in found.items()}


def _checked_codes(codes: Tensor) -> int:
    if not isinstance(codes, Tensor) or codes.ndim != 2 or not codes.is_floating_point():
        raise wrong("codes", "a tensor (N, D) of real numbers", codes)
    check_finite("codes", codes)
    return len(codes)


def _checked_score(name: str, given: Tensor, N: int) -> Tensor:
    """As ``(N, 1)`` or ``(N, K)``."""
    score = torch.as_tensor(given)
    score = score[:, None] if score.ndim == 1 else score
    if score.ndim != 2 or len(score) != N:
        raise wrong(f"scores[{name!r}]", f"({N},) or ({N}, K)", f"{tuple(given.shape)}", "one row a code")
    check_finite(f"scores[{name!r}]", score)
    if score.shape[1] == 1 and float(score.max()) == float(score.min()):
        raise wrong(f"scores[{name!r}]", "scores that differ", f"{N} times {float(score[0])}")
    return score.detach()


def _tails(name: str, score: Tensor, tails: float, seed: int) -> _Sample:
    N, K = score.shape
    count = max(1, int(tails * N))
    labels = score.argmax(1) if K > 1 else (score[:, 0] > score[:, 0].median()).long()
    if K == 1:
        order = score[:, 0].argsort()
        labels[order[:count]], labels[order[-count:]] = 0, 1
        groups = [order[:count], order[-count:]]
    else:
        groups = []
        for c in range(K):
            of_class = (labels == c).nonzero().flatten()
            groups.append(of_class[score[of_class, c].argsort(descending=True)[:count]])
    small = [c for c, group in enumerate(groups) if len(group) < 4]
    if len(groups) - len(small) < 2:
        raise wrong(
            f"scores[{name!r}]", "at least 4 codes of two labels in the tails", f"{[len(g) for g in groups]}",
            "give more codes, or larger tails",
        )  # fmt: skip
    generator = torch_generator(seed)
    train, held_out = [], []
    for group in groups:
        shuffled = group[torch.randperm(len(group), generator=generator).to(group.device)]
        cut = round(HELD_OUT * len(group))
        held_out.append(shuffled[:cut])
        train.append(shuffled[cut:])
    return _Sample(torch.cat(train), torch.cat(held_out), labels)


def _trained(
    codes: Tensor, sample: _Sample, score: Tensor, hidden: int, updates: int, seed: int
) -> AttributeNet:
    """Adam in batches of 32, as the paper's; what did best on the held-out codes is kept."""
    with seeded(seed):
        net = AttributeNet(codes.shape[1], hidden, score.shape[1], codes.dtype).to(codes.device)
    net.mean.copy_(codes.mean(0))
    net.spread.copy_((codes - codes.mean(0)).square().mean().sqrt())
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    generator = torch_generator(seed)
    best, kept = (-1.0, 0.0), {}
    for update in range(1, updates + 1):
        picked = torch.randint(len(sample.train), (BATCH,), generator=generator).to(codes.device)
        rows = sample.train[picked]
        optimizer.zero_grad()
        _loss(net(codes[rows]), sample.labels[rows]).backward()
        optimizer.step()
        if update % EVERY and update < updates:
            continue
        with torch.no_grad():
            logits, labels = net(codes[sample.held_out]), sample.labels[sample.held_out]
        now = _right(logits, labels)[0], -float(_loss(logits, labels))
        if now > best:
            best, kept = now, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.requires_grad_(False)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return cross_entropy(logits, labels)


def _right(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean over labels of the share that is right, and its standard error."""
    answers = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    shares = [
        (float((answers[labels == c] == c).double().mean()), int((labels == c).sum()))
        for c in labels.unique()
    ]
    error = sum(p * (1 - p) / n for p, n in shares) ** 0.5 / len(shares)
    return sum(p for p, _ in shares) / len(shares), error


def _judged(net: AttributeNet, codes: Tensor, score: Tensor, sample: _Sample) -> Learned:
    with torch.no_grad():
        logits = net(codes)
    held, labels = logits[sample.held_out], sample.labels[sample.held_out]
    accuracy, error = _right(held, labels)
    p = torch.sigmoid(held[:, 0]) if held.shape[1] == 1 else held.softmax(1)
    sure = torch.maximum(p, 1 - p) if p.ndim == 1 else p.amax(1)
    answers = (p > 0.5).long() if p.ndim == 1 else p.argmax(1)
    bins, gap = (sure * 10).long().clamp(max=9), 0.0
    for b in bins.unique():
        rows = bins == b
        gap += float(rows.double().mean()) * abs(
            float(sure[rows].mean() - (answers == labels)[rows].double().mean())
        )
    unseen = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    unseen[sample.train] = False
    place = (
        sample.labels[unseen][:, None]
        if logits.shape[1] > 1
        else torch.zeros_like(sample.labels[unseen][:, None])
    )
    pair = torch.stack([x[unseen].gather(1, place)[:, 0].double() for x in (logits, score)])
    r = float(torch.corrcoef(pair)[0, 1]) if float(pair.std(1).min()) > 0 else 0.0
    return Learned(accuracy, error, gap, r, len(sample.train), len(sample.held_out))


def _unlearned(name: str, one: Learned, K: int) -> str:
    if one.accuracy - 2 * max(one.error, 0.5 / max(one.held_out, 1) ** 0.5 * (one.accuracy < 1)) > 1 / K:
        return ""
    return (
        f"{name}: held-out accuracy {one.accuracy:.0%} of {one.held_out} codes is no better than chance ({1 / K:.0%}); "
        "these codes do not tell it: its edits mean nothing"
    )


def _correlations(scores: Scores) -> dict[str, float]:
    """Pearson's r of every two scores with two ends, by ``"a, b"``."""
    lines = {n: torch.as_tensor(s).reshape(len(s), -1) for n, s in scores.items()}
    two_way = [(name, score[:, 0].double()) for name, score in lines.items() if score.shape[1] == 1]
    return {
        f"{a}, {b}": float(torch.corrcoef(torch.stack([x, y]))[0, 1])
        for (a, x), (b, y) in combinations(two_way, 2)
    }
