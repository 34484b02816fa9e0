"""Level set traversal: beside a plain loop of the published algorithm, and sixteen pairs at once beside one by one.

The network is EfficientNet-Lite0 with ImageNet weights. The plain loop makes two forward passes and one backward a step.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import sys
import time

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from isocline.level_sets import example_model, traverse

ETA, EPS, DELTA = 0.05, 2e-3, 0.2


def photographs() -> Tensor:
    """Coffee, cat and astronaut of scikit-image, at 224 pixels."""
    from skimage import data
    from skimage.transform import resize

    found = []
    for image in (data.coffee(), data.cat(), data.astronaut()):
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = image[top : top + side, left : left + side]
        found.append(torch.tensor(resize(square, (224, 224), anti_aliasing=True).transpose(2, 0, 1)))
    return torch.stack(found).float()


def plain(model: torch.nn.Module, source: Tensor, target: Tensor, label: Tensor, steps: int) -> Tensor:
    """The published algorithm as the paper words it; returns the accepted steps of every sample."""
    with torch.no_grad():
        p_source = model(source).softmax(1).gather(1, label[:, None])[:, 0]
    x, a, accepted = source.clone(), torch.zeros_like(source), torch.zeros(len(source))
    for _ in range(steps):
        x.requires_grad_()
        (g,) = torch.autograd.grad(cross_entropy(model(x), label, reduction="sum"), x)
        with torch.no_grad():
            v = target - x
            dots = [(p * q).flatten(1).sum(1)[:, None, None, None] for p, q in ((g, v), (g, g))]
            a = (a + EPS / 2 * g).clamp(-EPS, EPS)
            new = (x + ETA * (v - g * dots[0] / dots[1]) - a).clamp(0, 1)
            ok = p_source - model(new).softmax(1).gather(1, label[:, None])[:, 0] < DELTA
            x = torch.where(ok[:, None, None, None], new, x)
            accepted += ok
    return accepted


def loops(model: torch.nn.Module, images: Tensor) -> str:
    rows = []
    for batch, steps in ((1, 16), (16, 3)):
        source, target = images[:1].repeat(batch, 1, 1, 1), images[1:2].repeat(batch, 1, 1, 1)
        label = model(source).argmax(1)
        options = {"eta": ETA, "eps": EPS, "delta": DELTA, "steps": steps}
        runs = {
            "plain": lambda s=source, t=target, y=label, n=steps: plain(model, s, t, y, n),
            "plain, channels last": lambda s=source, t=target, y=label, n=steps: plain(
                model, *(x.contiguous(memory_format=torch.channels_last) for x in (s, t)), y, n
            ),
            "paper": lambda s=source, t=target, y=label, o=options: traverse(
                model, s, t, y, method="paper", **o
            ),
            "lst": lambda s=source, t=target, y=label, o=options: traverse(model, s, t, y, **o),
        }
        accepted = dict.fromkeys(
            ("plain", "plain, channels last"), plain(model, source, target, label, steps).mean().item()
        )
        accepted |= {name: runs[name]().accepted.double().sum(1).mean().item() for name in ("paper", "lst")}
        times = sides.take_turns(runs, rounds=3, warmup=1)
        each = {name: sides.Timing(tuple(s / accepted[name] for s in t.seconds)) for name, t in times.items()}
        for name in ("paper", "lst"):
            ratio = each["plain"].over(each[name])
            verdict = "reached" if ratio.middle >= 1.3 else "**missed**"
            rows.append(
                [
                    f'`method="{name}"`',
                    batch,
                    steps,
                    ms(each["plain"]),
                    ms(each[name]),
                    ratio.words(),
                    "≥ 1.3",
                    verdict,
                    each["plain, channels last"].over(each[name]).words(),
                ]
            )
    columns = ["", "batch", "steps", "plain loop, ms", "ours, ms", "plain over ours", "wanted", ""]
    columns += ["a plain loop on images laid out channels last, over ours"]
    words = (
        "CPU time per accepted step, coffee to cat, eta 0.05: all from the first look at the source to the last at the end "
        "over the accepted steps. Ours looks once more at the end. Ours lays images out channels last, which a plain loop that "
        "thinks of it can do as well: the last column is beside that one."
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


def batching(model: torch.nn.Module, images: Tensor, steps: int = 3) -> str:
    source, target = images[:1].repeat(16, 1, 1, 1), images[1:2].repeat(16, 1, 1, 1)
    label = model(source).argmax(1)
    rows = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        together, alone = [], []
        for _ in range(3):
            together.append(_wall(lambda: traverse(model, source, target, label, steps=steps)))
            alone.append(
                _wall(
                    lambda: [
                        traverse(model, source[i : i + 1], target[i : i + 1], label[i : i + 1], steps=steps)
                        for i in range(16)
                    ]
                )
            )
        ours, theirs = sides.Timing(tuple(together[1:])), sides.Timing(tuple(alone[1:]))  # the first warms up
        ratio = theirs.over(ours)
        verdict = "" if count == 1 else "reached" if ratio.middle >= 1.5 else "**missed**"
        rows.append(
            [count, theirs.words(), ours.words(), ratio.words(), "≥ 1.5" if count == 2 else "", verdict]
        )
    torch.set_num_threads(threads)
    columns = ["threads", "one by one, s", "16 at once, s", "one by one over at once", "wanted", ""]
    words = f"Wall time of 16 walks of {steps} steps, 16 pairs in one batch beside one after the other."
    return f"{words}\n\n{sides.table(columns, rows)}"


def _wall(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def ms(timing: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in timing.seconds)).words()


if __name__ == "__main__":
    torch.set_num_threads(1)
    network, pictures = example_model("efficientnet-lite0"), photographs()
    parts = [loops(network, pictures), batching(network, pictures)]
    sides.write_results("level_sets", "walks along level sets of EfficientNet-Lite0", parts)
    sys.stdout.flush()
