"""Feature learning: the predicted change of the NTK against small networks that are really trained."""

import math

import numpy as np
import pytest
import torch

from isocline._core.seeds import torch_generator
from isocline.theory import EffectiveTheory


def _flow(function, n, nets, target, time, outputs, seed, depth=2):
    """Gradient flow (Runge-Kutta) of `nets` networks on the input x = 1; the change of the mean diagonal NTK of each."""
    generator = torch_generator(seed)
    sizes = [1] + [n] * (depth - 1) + [outputs]
    parameters = []
    for i in range(depth):
        parameters += [torch.randn(nets, sizes[i + 1], sizes[i], generator=generator) * sizes[i] ** -0.5]
        parameters += [torch.zeros(nets, sizes[i + 1])]
    rates = [rate for i in range(depth) for rate in (1 / sizes[i], 1.0)]

    def network(p):
        z = p[0][:, 0] + p[1]
        for i in range(1, depth):
            z = p[2 * i] @ function(z) + p[2 * i + 1]
        return z

    def ntk(p):
        jacobians = torch.func.jacrev(network)(p)
        return sum(rate * (j.flatten(1) ** 2).sum(1) for rate, j in zip(rates, jacobians, strict=True)).mean()

    slope = torch.func.vmap(torch.func.grad(lambda p: ((network(p) - target) ** 2).sum() / 2))

    def velocity(p):
        return [-rate * gradient for rate, gradient in zip(rates, slope(p), strict=True)]

    def moved(p, by, dt):
        return [a + dt * b for a, b in zip(p, by, strict=True)]

    before, steps = torch.func.vmap(ntk)(parameters), 40
    for _ in range(steps):
        k1 = velocity(parameters)
        k2 = velocity(moved(parameters, k1, time / steps / 2))
        k3 = velocity(moved(parameters, k2, time / steps / 2))
        k4 = velocity(moved(parameters, k3, time / steps))
        mean = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
        parameters = moved(parameters, mean, time / steps)
    return (torch.func.vmap(ntk)(parameters) - before).numpy()


@pytest.mark.parametrize(
    ("name", "function", "target", "time", "outputs"),
    [("tanh", torch.tanh, 1.0, 4.0, 1), ("sin", torch.sin, 0.5, 4.0, 1), ("tanh", torch.tanh, 1.0, 0.5, 2)],
)
def test_trained_networks_move_their_ntk_as_predicted(name, function, target, time, outputs):
    """P to U, all at once. Three numbers at 3 standard errors: a fresh seed fails 1 in 120 times."""
    n, nets = 64, 3000
    theory = EffectiveTheory(name, 2, n, 0.0, 1.0, lambda_b=1.0, lambda_w=1.0)
    predicted = theory.kernel_change(1.0, outputs=outputs, target=target, t=time)
    change = _flow(function, n, nets, target, time, outputs, seed=1) / theory.single_input(1.0).Theta[-1]
    error = change.std() / nets**0.5
    assert abs(change.mean() - predicted.relative) < 3 * error
    # each part alone would have been seen to be wrong
    assert min(abs(predicted.first), abs(predicted.second)) > 9 * error


def test_the_change_falls_with_width_and_grows_with_depth():
    wide, narrow = (EffectiveTheory("tanh", 10, n).kernel_change() for n in (1000, 100))
    assert wide.relative == pytest.approx(narrow.relative / 10)
    deep = EffectiveTheory("tanh", 40, 1000).kernel_change()
    assert abs(deep.relative) > 3 * abs(wide.relative)
    assert wide.first + wide.second == pytest.approx(wide.relative)
    assert wide.spread > 0
    assert float(wide) == wide.relative
    assert wide.note == ""
    assert "beyond the first order" in EffectiveTheory("tanh", 8, 64).kernel_change(target=3.0).note


def test_parts_that_are_not_defined_are_left_out_and_said():
    found = EffectiveTheory("relu", 5, 100).kernel_change(t=1.0)
    assert math.isnan(found.second)
    assert found.relative == found.first < 0
    assert "delta" in found.note
    assert found.to_dict()["second"] == "nan"
    linear = EffectiveTheory("linear", 2, 100, lambda_b=0.0, lambda_w=1.0).kernel_change(K1=1.0, t=0.0)
    assert linear.relative == 0


def test_what_is_not_known_is_not_made_up():
    with pytest.raises(NotImplementedError, match="residual connections are not known"):
        EffectiveTheory("tanh", 5, 100, skip=0.5).kernel_change()
    for bad, message in (
        ({"outputs": 0}, "outputs: want"),
        ({"t": -1}, "t: want"),
        ({"target": np.nan}, "target: want"),
    ):
        with pytest.raises(ValueError, match=message):
            EffectiveTheory("tanh", 5, 100).kernel_change(**bad)
