"""Edits of a generator whose factors are known exactly: what else an edit has changed is read off, not estimated."""

import pytest
import torch
from torch import nn

from isocline.datasets.shapes import FACTORS, MixedShapes
from isocline.latents import AttributeModel, edit


class Factor(nn.Module):
    """One true factor of a code, as an attribute net."""

    def __init__(self, shapes: MixedShapes, index: int) -> None:
        super().__init__()
        self.shapes, self.index = shapes, index

    def forward(self, w):
        return self.shapes.factors(w)[:, self.index : self.index + 1]


def world(**how):
    shapes = MixedShapes(24, **how)
    model = AttributeModel.from_classifiers({n: Factor(shapes, i) for i, n in enumerate(FACTORS)}, width=24)
    return shapes, model, shapes.sample(20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("target", FACTORS)
def test_independent_factors_a_projected_edit_changes_nothing_else(target):
    shapes, model, w = world(linear=True)
    others = [n for n in FACTORS if n != target]
    path = edit(model, w, target, 1, others, length=1.0)
    changed = shapes.factors(path.end) - shapes.factors(w)
    index = FACTORS.index(target)
    torch.testing.assert_close(changed[:, index], torch.full((20,), 1.0))
    changed[:, index] = 0
    assert float(changed.abs().max()) < 1e-6


def test_entangled_factors_projection_leaks_to_second_order_only():
    shapes, model, w = world(strength=1.0)
    others = [n for n in FACTORS if n != "hue"]
    leaks = {}
    for method, steps in (("none", 40), ("project", 10), ("project", 40)):
        path = edit(model, w, "hue", 1, others, method=method, steps=steps, length=1.0, stop={"score": 0.9})
        changed = shapes.factors(path.end) - shapes.factors(w)
        hue = changed[:, FACTORS.index("hue")].clone()
        changed[:, FACTORS.index("hue")] = 0
        leaks[method, steps] = float((changed.abs().amax(1) / hue.abs().clamp(min=0.05)).median())
    assert leaks["project", 40] < 0.4 * leaks["project", 10]
    assert leaks["project", 40] < 0.2 * leaks["none", 40]
