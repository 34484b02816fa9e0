"""What is said of a whole model: true at the size and padding it has, and the model is left as found."""

import json
import re

import pytest
import torch
from torch import nn

from isocline.orthogonal import certified_bounds, diagnose, orthogonal_, singular_values


def _model():
    torch.manual_seed(0)
    model = nn.Sequential(
        orthogonal_(nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 16, 1, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 2 * 2, 5),
    )
    model.add_module("unused", nn.ModuleList([nn.Conv2d(2, 2, 3)]))
    model.unused.forward = lambda x: x
    return model


@pytest.fixture
def sample():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_row_is_what_the_parts_say(sample):
    model = _model()
    found = diagnose(model, sample)
    assert [row.name for row in found.layers] == ["0", "2", "3"]
    for row, size in zip(found.layers, (8, 8, 4), strict=True):
        conv = model.get_submodule(row.name)
        values = singular_values(conv, size, None)
        assert (row.smallest, row.largest) == (float(values[-1]), float(values[0]))
        assert row.input_size == (size, size)
        assert row.sigma_max == certified_bounds(conv).sigma_max >= row.largest
    assert [row.verdict for row in found.layers] == ["orthogonal", "loses", "cannot be orthogonal"]
    assert [row.isometry for row in found.layers] == ["forward", "backward", "backward"]
    assert found.notes == ("not called on this sample: unused.0",)
    assert "16 outputs a place do not fit in the 8 inputs" in str(found)


def test_without_a_sample_only_what_holds_for_every_size():
    found = diagnose(_model())
    assert len(found.layers) == 4
    assert all(row.input_size == () and row.smallest != row.smallest for row in found.layers)
    assert found.layers[0].verdict == "orthogonal"


def test_the_model_is_left_as_found(sample):
    model = _model()
    model.train()
    model[1].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    diagnose(model, sample)
    with pytest.raises(RuntimeError):
        diagnose(model, sample[:, :2])
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_padding_that_is_no_matrix_of_ours_is_named():
    model = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")
    found = diagnose(model, torch.randn(1, 2, 6, 6))
    assert found.layers[0].name == "itself"
    assert "itself: padding_mode: want 'zeros' or 'circular'" in found.notes[0]


def test_table_page_and_picture(sample, tmp_path):
    found = diagnose(_model(), sample)
    written = json.loads(json.dumps(found.to_dict()))
    assert len(written["layers"]) == 3
    html = found.page(tmp_path / "page.html").read_text("utf-8")
    assert html.count("<img") == 1
    assert "cannot be orthogonal" in html
    ax = found.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "2", "3"]
    assert found.plot(ax) is ax


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("model", {}, "model: want a torch module, got str"),
        (nn.Linear(2, 2), {}, "model: want convolutions in it, got Linear"),
        (nn.Conv2d(2, 2, 3), {"steps": 0}, "steps: want a whole number >= 1, got 0"),
    ],
)
def test_wrong_calls_are_answered(model, settings, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        diagnose(model, **settings)
