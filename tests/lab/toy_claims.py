"""A claim that worker processes can import: it sleeps, writes down that it ran, and fails or dies on
request."""

import os
import random
import time
from pathlib import Path

import numpy as np
import torch

from isocline.lab import Claim, Expected, Measurement, Missing, Record, Scale

WAYS = ("good", "raise", "missing", "die", "nan", "complex")


def run(setting, seed, device):
    begin = time.monotonic()
    time.sleep(setting.get("pause", 0.0))
    way = setting.get("way", "good")
    if "gate" in setting and Path(setting["gate"]).exists():  # what kept it from working is gone
        way = "good"
    with open(setting["log"], "a") as log:
        log.write(f"{setting['number']} {seed} {begin} {time.monotonic()}\n")
    if way == "raise":
        raise ArithmeticError("the toy broke")
    if way == "missing":
        raise Missing("the toy box is not on this machine; buy one")
    if way == "die":
        os._exit(3)
    value = float("nan") if way == "nan" else float(setting["number"])
    noise = torch.rand(3).numpy() + random.random()
    arrays = {"noise": noise * 1j if way == "complex" else noise}
    threads = torch.get_num_threads()
    return Measurement(
        {"number": np.float64(value), "limit": np.inf, "seed": seed, "threads": threads}, arrays
    )


def measure(records: list[Record]) -> dict[str, list[float]]:
    return {
        "mean number": [record.values["number"] for record in records],
        "noise": [float(record.arrays["noise"].sum()) for record in records],
    }


def plot(records: list[Record]):
    from isocline.lab.style import new_figure

    figure, (ax,) = new_figure("Noise of <every> run", height=2)
    ax.plot([record.arrays["noise"].sum() for record in records])
    return {"noise": figure}


def claim(log, ways=("good",), *, seeds=1, pause=0.0, alone=False, name="toy/play", gate=None) -> Claim:
    extra = {} if gate is None else {"gate": str(gate)}
    settings = [
        {"number": i, "way": way, "pause": pause, "log": str(log), **extra} for i, way in enumerate(ways)
    ]
    scale = Scale(settings, seeds, "nothing")
    return Claim(
        name=name,
        paper="A paper on <toys>",
        sentence="Toys <b>count</b> & add.",
        expected=[Expected("mean number", 0.0, ">=", source="page 1")],
        scales={"tour": scale, "small": scale, "paper": scale},
        run=run,
        measure=measure,
        plot=plot,
        alone=alone,
    )


# The command line finds this list when the module is named in isocline.lab.claims.ROOMS.
CLAIMS = [
    claim(
        os.environ.get("TOY_LOG", os.devnull),
        os.environ.get("TOY_WAYS", "good good good").split(),
        seeds=int(os.environ.get("TOY_SEEDS", "2")),
        pause=float(os.environ.get("TOY_PAUSE", "0")),
    )
]
