"""A model that is only looked at is as it was afterwards."""

import pytest
from torch import nn

from isocline._core.rest import at_rest


def test_modes_and_asked_gradients_come_back_after_an_error_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[1].eval()
    model[0].bias.requires_grad_(False)
    with pytest.raises(KeyError):
        _fails_inside(model)
    assert [module.training for module in model.modules()] == [True, True, False]
    assert [p.requires_grad for p in model.parameters()] == [True, False]


def test_a_function_has_no_mode():
    with at_rest(lambda x: x) as said:
        assert said == []


def _fails_inside(model):
    with at_rest(model) as said:
        assert said
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        raise KeyError
