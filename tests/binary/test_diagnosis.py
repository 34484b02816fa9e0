"""`diagnose`: its numbers are the indicators', and the model is left as it was found."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from isocline.binary.diagnosis import diagnose
from isocline.binary.functional import reste_primitive
from isocline.binary.indicators import (
    dead_zone_share,
    estimating_error,
    estimating_error_rms,
    gradient_stability,
    gradient_stability_scale_free,
    plateau_share,
)
from isocline.binary.layers import BinaryConv2d, BinaryLinear


def _model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        BinaryConv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.Flatten(),
        BinaryLinear(16, 3, estimator="clipped_ste", input_estimator=None),
    )


def _sample():
    g = torch.Generator().manual_seed(1)
    return torch.randn(5, 2, 6, 6, generator=g), torch.tensor([0, 1, 2, 0, 1])


def test_the_numbers_are_the_indicators():
    model, (x, y) = _model().eval(), _sample()
    loss = partial(nn.functional.cross_entropy, target=y)
    found = diagnose(model, x, loss, o_end=3)
    seen = model[:2](x).requires_grad_()
    gradients = torch.autograd.grad(loss(model[2:](seen)), [model[2].weight, model[6].weight, seen])
    cubic = partial(reste_primitive, o=3)
    conv, linear = found.layers
    assert (conv.name, linear.name) == ("2", "6")
    w = model[2].weight.detach()
    assert conv.weight.error == pytest.approx(float(estimating_error(w, cubic)))
    assert conv.weight.error_rms == pytest.approx(float(estimating_error_rms(w, cubic)))
    assert conv.weight.stability == pytest.approx(float(gradient_stability(gradients[0])))
    assert conv.weight.dead == float(dead_zone_share(w))
    assert conv.weight.plateau == float(plateau_share(w))
    assert conv.input.error == pytest.approx(float(estimating_error(seen, cubic)))
    assert conv.input.stability_scale_free == pytest.approx(
        float(gradient_stability_scale_free(gradients[2]))
    )
    assert conv.input.dead == float(dead_zone_share(seen))
    assert linear.input is None
    assert linear.weight.plateau != linear.weight.plateau  # no plateau in this estimator: NaN
    each = estimating_error(model[6].weight, lambda z: z.clamp(-1, 1))
    assert linear.weight.error == pytest.approx(float(each))  # o_end is ReSTE's
    assert found.error == pytest.approx(conv.weight.error + linear.weight.error)
    assert found.stability == pytest.approx(float(gradient_stability(gradients[:2])))
    assert found.stability_scale_free == pytest.approx(float(gradient_stability_scale_free(gradients[:2])))
    one = torch.cat([g.flatten() for g in gradients[:2]])
    assert found.stability_global == pytest.approx(float(gradient_stability(one)))


def test_without_a_sample_the_gradients_at_hand_are_looked_at():
    model, (x, y) = _model(), _sample()
    bare = diagnose(model)
    assert bare.stability != bare.stability
    assert bare.layers[0].input is None
    nn.functional.cross_entropy(model(x), y).backward()
    found = diagnose(model)
    assert found.stability == pytest.approx(
        float(gradient_stability([model[2].weight.grad, model[6].weight.grad]))
    )


def _state(model):
    hooks = [len(part._forward_pre_hooks) + len(part._forward_hooks) for part in model.modules()]
    tensors = [t.clone() for t in model.state_dict().values()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return hooks, [part.training for part in model.modules()], tensors, grads, torch.get_rng_state()


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was_found(fails):
    model, (x, y) = _model(), _sample()
    nn.functional.cross_entropy(model(x), y).backward()
    before = _state(model)

    def loss(output):
        if fails:
            raise RuntimeError("boom")
        return output.sum()

    if fails:
        with pytest.raises(RuntimeError, match="boom"):
            diagnose(model, x, loss)
    else:
        diagnose(model, x, loss)
    after = _state(model)
    assert before[:2] == after[:2]
    for one, other in zip([*before[2], *before[3], before[4]], [*after[2], *after[3], after[4]], strict=True):
        assert torch.equal(one, other)


def test_it_prints_is_plain_json_and_draws():
    model, (x, y) = _model(), _sample()
    found = diagnose(model, x, partial(nn.functional.cross_entropy, target=y))
    assert len(str(found).splitlines()) == 1 + 2 + 1
    json.dumps(found.to_dict(), allow_nan=False)
    ax = found.plot()
    assert [words.get_text() for words in ax.get_yticklabels()] == ["2", "6"]
    assert "not called on this sample: 1.0" in str(diagnose(nn.Sequential(model[0], _Unused(model[2])), x))


class _Unused(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.add_module("0", layer)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: diagnose(3), TypeError, "model: want a torch module, got int"),
        (lambda: diagnose(nn.Linear(2, 2)), ValueError, "model: want binary layers in it, got Linear"),
        (lambda: diagnose(BinaryLinear(2, 2), None, torch.sum), ValueError, "loss: want a sample beside it"),
    ],
)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
