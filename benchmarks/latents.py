"""Latent controls: 400 codes at once beside one by one, and the generator's calls."""

import side_by_side as sides  # first: holds the threads  # isort: skip

import torch
from torch import nn

from isocline.latents import AttributeModel, edit

CODES, STEPS, WIDTH = 400, 9, 512


def model() -> AttributeModel:
    """The published nets' shape: 512 -> 16 -> 1, four attributes."""
    torch.manual_seed(0)
    nets = {
        name: nn.Sequential(nn.Linear(WIDTH, 16), nn.LeakyReLU(0.1), nn.Linear(16, 1))
        for name in ("gender", "smile", "eyeglasses", "age")
    }
    return AttributeModel.from_classifiers(nets, codes=torch.randn(1000, WIDTH))


def plain(nets: AttributeModel, w: torch.Tensor, method: str) -> torch.Tensor:
    """The published loop for one code ``(1, 512)``: a gradient of the target and one of each kept attribute a step."""
    for _ in range(STEPS):
        grads = []
        for name in ("smile", "gender", "eyeglasses", "age"):
            x = w.detach().requires_grad_()
            (g,) = torch.autograd.grad(torch.sigmoid(nets.logits(x, name)).sum(), x)
            grads.append(g[0])
        g, kept = grads[0], grads[1:]
        if method == "exclude":
            for r, k in zip(kept, (200, 50, 100), strict=True):
                g = g.index_fill(0, r.abs().topk(k).indices, 0.0)
        if method == "project":
            Q = torch.linalg.qr(torch.stack(kept, 1))[0]
            g = g - Q @ (Q.T @ g)
        w = w + 4 / STEPS * (g / g.norm())[None]
    return w


def rates() -> str:
    nets, w = model(), torch.randn(CODES, WIDTH)
    keep, k = ("gender", "eyeglasses", "age"), {"gender": 200, "eyeglasses": 50, "age": 100}
    rows = []
    for method in ("none", "exclude", "project"):
        ours = {"exclude_channels": k} if method == "exclude" else {}
        kept = () if method == "none" else keep
        runs = {
            "loop": lambda m=method: torch.cat([plain(nets, one[None], m) for one in w]),
            "ours": lambda m=method, o=ours, e=kept: edit(nets, w, "smile", 1, e, method=m, **o).end,
        }
        away = (runs["loop"]() - runs["ours"]()).abs().max().item()
        times = sides.take_turns(runs, rounds=3, warmup=1)
        ratio = times["loop"].over(times["ours"])
        rate = sides.Timing(tuple(CODES / s for s in times["ours"].seconds))
        verdict = "reached" if ratio.middle >= 20 else "**missed**"
        rows.append([f'`method="{method}"`', rate.words(), ratio.words(), "≥ 20", verdict, f"{away:.0e}"])
    columns = [
        "",
        "edits a second",
        "one by one over all at once",
        "wanted",
        "",
        "largest difference of a code",
    ]
    words = (
        f"{CODES} codes of {WIDTH} channels, {STEPS} steps, three kept attributes, CPU time of one thread; edits a second are a "
        "machine's own. Nothing is rendered on the way: frames are made for the steps that are asked for, in one call."
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sides.write_results("latents", "edits of latent codes", [rates()])
