"""The image model: the published numbers and counts, any size, poolings by hand, what is random and what is not."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.plstm import PLSTMVision, convert_reference_checkpoint
from isocline.plstm.models.blocks import PostUpBlock, drop_path
from isocline.plstm.models.pooling import POOLINGS, pool
from isocline.plstm.models.vision import resized

TIGHT = {"rtol": 1e-10, "atol": 1e-12}  # both sides are sums of products in float64


def thin(classes=3, **changes):
    how = {"dim": 16, "heads": 2, "depth": 1, "patch": 4, "size": 16, "channels": 1}
    return PLSTMVision(classes, **how | changes)


def published(golden):
    with np.load(golden / "plstm/vision_tiny_corners.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def random_(model, seed=0):
    """Every parameter drawn at random, also those that start at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=g, dtype=parameter.dtype))
    return model


@pytest.mark.parametrize(
    ("name", "count"), [("tiny", 6_314_404), ("small", 23_272_288), ("base", 89_121_496)]
)
def test_published_sizes(name, count):
    with torch.device("meta"):
        model = getattr(PLSTMVision, name)()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_published_numbers(golden):
    """The output, and the gradients of the image and of every parameter."""
    arrays = published(golden)
    state = {key.removeprefix("param/"): value for key, value in arrays.items() if key.startswith("param/")}
    model = convert_reference_checkpoint(state)
    images = arrays["x0"].movedim(-1, 1).requires_grad_()
    y = model(images)
    torch.testing.assert_close(y, arrays["out"], **TIGHT)
    y.backward(arrays["cotangent"])
    torch.testing.assert_close(images.grad.movedim(1, -1), arrays["grad_x0"], **TIGHT)
    slopes = {key.removeprefix("pgrad/"): value for key, value in arrays.items() if key.startswith("pgrad/")}
    from isocline.plstm.models.reference import _names

    names, own = dict(_names(model)), dict(model.named_parameters())
    assert own.keys() == names.keys()
    assert set(names.values()) == set(slopes)
    for ours, theirs in names.items():
        want = slopes[theirs].reshape(own[ours].shape)
        torch.testing.assert_close(own[ours].grad, want, msg=lambda m, n=ours: f"{n}: {m}", **TIGHT)


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 99))
def test_any_size_of_image(rows, columns, seed):
    model = random_(thin(pooling=POOLINGS[seed % 5], position=seed % 3 > 0), seed)
    images = torch.rand(2, 1, 4 * rows, 4 * columns, generator=torch.Generator().manual_seed(seed))
    y = model(images)
    assert y.shape == (2, 3)
    assert torch.isfinite(y).all()
    torch.testing.assert_close(model(images[1:]), y[1:])  # examples do not know of one another


@given(seed=st.integers(0, 99))
def test_a_single_patch_reaches_all_corners(seed):
    """What changes anywhere is seen by every corner: four directions leave no blind spot."""
    model = random_(thin(), seed)
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(1, 1, 16, 16, generator=g)
    other = images.clone()
    x, y = (int(torch.randint(4, (), generator=g)) for _ in "xy")
    other[:, :, 4 * x : 4 * x + 4, 4 * y : 4 * y + 4] += 1.0
    moved = (model.features(other) - model.features(images)).abs().amax(-1)[0]
    assert (moved[[0, 0, -1, -1], [0, -1, 0, -1]] > 0).all()


def test_positions_are_interpolated():
    positions = torch.rand(4, 4, 3)
    assert resized(positions, (4, 4)) is positions
    for grid in ((8, 8), (3, 7), (1, 1)):
        even = resized(torch.full((4, 4, 3), 0.7), grid)
        torch.testing.assert_close(even, torch.full((*grid, 3), 0.7))  # weights of sum one
        found = resized(positions, grid)
        torch.testing.assert_close(resized(positions.flip(0), grid), found.flip(0))
        torch.testing.assert_close(resized(positions.transpose(0, 1), grid[::-1]), found.transpose(0, 1))
    torch.testing.assert_close(
        resized(positions, (12, 12))[1::3, 1::3], positions
    )  # every third lies on an old one


def test_poolings_by_hand():
    x = torch.arange(2 * 2 * 3 * 2.0).reshape(2, 2, 3, 2)
    assert pool(x, "corners")[0].tolist() == [0, 1, 6, 7, 4, 5, 10, 11]
    assert pool(x, "center")[0].tolist() == [8, 9]
    assert pool(x, "sum")[0].tolist() == [30, 36]
    assert pool(x, "mean")[0].tolist() == [5, 6]
    torch.testing.assert_close(pool(x, "cls", torch.zeros(2)), pool(x, "mean"))
    sharp = pool(x, "cls", torch.tensor([99.0, 0.0]))  # all weight on the largest
    torch.testing.assert_close(sharp, x[:, -1, -1])


def test_drop_path_keeps_the_mean_and_stops_in_evaluation():
    torch.manual_seed(0)
    x = torch.ones(20_000, 2)
    dropped = drop_path(x, 0.25)
    assert set(dropped.unique().tolist()) == {0.0, 1 / 0.75}
    assert abs(float(dropped.mean()) - 1) < 0.02  # five deviations of the mean of 20,000
    assert (dropped[:, 0] == dropped[:, 1]).all()
    model, images = random_(thin(drop_path=0.5)), torch.rand(4, 1, 16, 16)
    assert not torch.equal(model(images), model(images))
    model.eval()
    torch.testing.assert_close(model(images), model(images), rtol=0, atol=0)


def test_layer_scale_of_zero_is_no_layer():
    block = PostUpBlock(4, torch.nn.Linear(4, 4), layer_scale=0.0)
    x = torch.rand(2, 3, 3, 4)
    torch.testing.assert_close(block(x), x)


def test_the_generator_decides():
    one, two, three = (thin() for _ in range(3))
    for model, seed in ((one, 1), (two, 1), (three, 2)):
        model.reset_parameters(torch.Generator().manual_seed(seed))
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.embed.weight, three.embed.weight)
    assert float(thin(5)(torch.rand(1, 1, 16, 16)).detach().abs().max()) < 1e-2  # all classes start alike


def test_it_says_how_it_was_made():
    model = thin(modes="PP", pooling="mean")
    assert str(model).startswith(
        "PLSTMVision(\n  classes=3, dim=16, heads=2, depth=1, modes='PP', patch=4, size=16,"
    )
    assert [layer.mix.mode for layer in model.layers] == ["P", "P"]
    assert PLSTMVision.base(10, dim=48, depth=1).config["drop_path"] == 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: thin(size=18), "size: want one or two multiples of patch = 4, got 18"),
        (lambda: thin(size=(16, 2)), "size: want one or two multiples of patch = 4"),
        (lambda: thin(modes="PX"), "modes: want letters P and D, one a layer of a block, got 'PX'"),
        (lambda: thin(modes=""), "modes: want letters P and D"),
        (lambda: thin(pooling="max"), "pooling: want one of 'corners', 'mean', 'sum', 'center', 'cls'"),
        (lambda: thin(dim=10), "dim: want a multiple of"),
        (lambda: thin(drop_path=1.0), "drop: want a number"),
        (lambda: thin(0), "classes: want"),
        (
            lambda: thin()(torch.rand(1, 3, 16, 16)),
            r"images: want images \(B, 1, H, W\), got \(1, 3, 16, 16\)",
        ),
        (lambda: thin()(torch.rand(1, 1, 16, 17)), r"images: want sides .* got \(16, 17\); crop or resize"),
        (lambda: thin()(torch.zeros(1, 1, 16, 16).byte()), "images: want a tensor of floating point numbers"),
    ],
)
def test_wrong_calls_are_answered(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
