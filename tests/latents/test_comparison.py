"""Leakage at a matched effect: exact answers on linear scores, and the rule of the intersection."""

import pytest
import torch

from isocline.latents import EditPath, leakage, measure_path, straight
from isocline.latents.generators import ModuleGenerator

D = 3


def path(direction, codes=None, **how):
    codes = torch.zeros(4, D) if codes is None else codes
    return straight(codes, torch.tensor(direction), target="x", steps=10, length=5.0, **how)


def seen(p: EditPath):
    kinds = torch.stack([p.codes[..., 2], 1 - p.codes[..., 2]], -1)
    return {"x": p.codes[..., 0], "y": p.codes[..., 1], "kind": kinds}


def test_a_straight_path_leaks_its_slope():
    paths = {"clean": path([1.0, 0.0, 0.0]), "leaky": path([0.6, 0.8, 0.0])}
    found = leakage({m: seen(p) for m, p in paths.items()}, paths, {"x": 0.5, "y": 2.0})
    assert found.step.tolist() == [[1] * 4, [2] * 4]  # steps of 0.5 and of 0.3 in x, one deviation is 0.5
    torch.testing.assert_close(found.leaked, torch.tensor([0.0, 0.8 / 2.0]))
    torch.testing.assert_close(found.walked[:, 0], torch.tensor([0.5, 1.0]))
    assert found.flipped.sum() == 0
    assert found.success.tolist() == [1, 1]
    assert found.table()[1][1][:3] == ["leaky", 1.0, 0.4]
    assert "leaky" in str(found)
    assert len(found.plot().texts) == 2
    assert found.to_dict()["common"] == 4


def test_only_codes_that_all_methods_change_are_compared():
    paths = {"all": path([1.0, 1.0, 0.0]), "some": path([1.0, 0.0, 0.0])}
    measured = {m: seen(p) for m, p in paths.items()}
    measured["some"]["x"] = measured["some"]["x"].clone()
    measured["some"]["x"][:, 2:] = 0  # never reached
    measured["all"]["y"] = measured["all"]["y"].clone()
    measured["all"]["y"][:, 2:] = 100 * measured["all"]["y"][:, 2:]
    found = leakage(measured, paths, {"x": 1.0, "y": 1.0})
    assert found.success.tolist() == [1.0, 0.5]
    assert found.common.tolist() == [True, True, False, False]
    assert float(found.leaked[0]) < 2  # the hundredfold ones are not among them
    assert found.change[1, 0, 2:].isnan().all()


def test_classes_flip_and_can_be_the_target():
    p = path([0.0, 0.0, 1.0])
    kinds = {"kind": seen(p)["kind"], "x": p.codes[..., 0]}
    found = leakage({"m": {"x": p.codes[..., 2], **{"kind": kinds["kind"]}}}, {"m": p}, {"x": 1.0})
    assert found.flipped.tolist() == [
        [[1.0] * 4]
    ]  # x was measured as the third channel, whose sign is the class's
    assert found.categories == ("kind",)


def test_distance_to_the_population():
    population = torch.randn(20_000, D, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 2.0, 3.0]
    )
    p = path([0.0, 2.0, 0.0])
    p.codes[:, :, 0] += torch.linspace(0, 1, 11)[:, None]
    found = leakage({"m": seen(p)}, {"m": p}, {"x": 1.0, "y": 1.0}, population=population)
    step = int(found.step[0, 0])
    want = (p.codes[step, 0] / torch.tensor([1.0, 2.0, 3.0])).square().sum()
    torch.testing.assert_close(found.mahalanobis[0, 0], want, rtol=0.05, atol=0.01)


def test_a_judge_of_images():
    generator = ModuleGenerator(torch.nn.Unflatten(1, (1, 1, D)), D, output_range=(-1, 1))
    p = straight(torch.zeros(2, D), torch.tensor([1.0, 0.0, 0.0]), target="x", steps=4, length=0.8)
    found = measure_path(p, generator, lambda images: {"x": images[:, 0, 0, 0]}, batch=3)
    torch.testing.assert_close(found["x"], (1 + p.codes[..., 0]) / 2)


def test_wrong_calls():
    p, q = path([1.0, 0.0, 0.0]), path([1.0, 0.0, 0.0], torch.ones(4, D))
    with pytest.raises(ValueError, match="the same codes towards the same 'x', got others by 'b'"):
        leakage({"a": seen(p), "b": seen(q)}, {"a": p, "b": q}, {"x": 1.0, "y": 1.0})
    with pytest.raises(ValueError, match=r"deviations: want a number > 0 .*, got none for y"):
        leakage({"a": seen(p)}, {"a": p}, {"x": 1.0})
    with pytest.raises(ValueError, match="paths: want the methods measured, a"):
        leakage({"a": seen(p)}, {"b": p}, {"x": 1.0, "y": 1.0})
    with pytest.raises(ValueError, match="measured: want the target 'x'"):
        leakage({"a": {"y": p.codes[..., 1]}}, {"a": p}, {"y": 1.0})
