"""The room's claims: that they can fail, and that a run of a few updates has every figure."""

import pytest
import torch

from isocline.lab.claim import Record
from isocline.lab.claims.latents import CLAIMS, entangled
from isocline.lab.verdict import judge


def record(ours, rival, success=0.9, keeps=0.95):
    one = {"success": success, "compared": True, "error": 0.01, "others": {}, "codes": 100}
    rest = {"flips": 0.1, "walked": 1.0, "mahalanobis": 20.0}
    row = {method: one | rest | {"leaked": 0.5} for method in entangled.METHODS}
    row |= {entangled.OURS: one | rest | {"leaked": ours}, entangled.RIVAL: one | rest | {"leaked": rival}}
    values = dict.fromkeys(entangled.SCORED, row)
    return Record(
        {}, 0, values | {"r": 0.4, "gate": dict.fromkeys(entangled.SCORED, keeps), "passed": True}, {}, 0.0
    )


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        ([record(0.2, 0.4), record(0.25, 0.4)], "holds"),
        ([record(0.4, 0.2), record(0.4, 0.25)], "does not hold"),
        ([record(0.39, 0.4), record(0.2, 0.4)], "does not hold"),  # less, by no more than its spread
        ([record(0.2, 0.4, success=0.5), record(0.2, 0.4, success=0.5)], "does not hold"),
        ([record(0.2, 0.4, keeps=0.5), record(0.2, 0.4, keeps=0.5)], "does not hold"),
    ],
)
def test_judged_by_the_difference_its_spread_and_success(records, answer):
    assert judge(entangled.ENTANGLED_CLAIM, "small", records).answer == answer


def test_a_short_run_has_every_figure_and_its_pictures():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        short = {"regressor": 60, "decoder": 60, "sample": 500, "codes": 12, "updates": 100, "steps": 8}
        setting = entangled._setting(**short)[0]
        found = entangled.run(setting, 0, "cpu")
    finally:
        torch.set_default_dtype(default)
    made = Record(setting, 0, dict(found.values), dict(found.arrays), 0.0)
    figures = entangled.measure([made])
    assert {f"{t}: success, {m}" for t in entangled.SCORED for m in entangled.METHODS} <= set(figures)
    assert {len(figure.axes) for figure in entangled.plot([made]).values()} == {5, 18}


def test_names():
    assert [claim.name for claim in CLAIMS] == ["latents/entangled"]
