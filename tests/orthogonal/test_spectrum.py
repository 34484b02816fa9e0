"""All singular values: against matrices written out entry by entry, and what is kept of them."""

import copy
from math import inf, prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from isocline.orthogonal import ConvShape, orthogonal_, singular_values, spectrum_of
from isocline.orthogonal.frequencies import half_grid

from .layers import inputs_of, layer, shapes, unrolled


def _whole_numbers():
    conv = nn.Conv2d(2, 2, 3)
    conv.weight = nn.Parameter(torch.ones(2, 2, 3, 3, dtype=torch.int64), requires_grad=False)
    return conv


seen = {"strided": 0, "even": 0, "groups": 0, "dilated": 0, "wrapped": 0, "transposed": 0}


@settings(max_examples=250)
@given(shapes())
def test_equal_to_the_svd_of_the_unrolled_matrix(shape):
    """At least 200 random layers, every value to 1e-10; sizes down to where the kernel wraps around the input."""
    N = tuple({1: 5, 2: 3, 3: 2}[len(shape.k)] - (axis % 2) for axis in range(len(shape.k)))
    conv = layer(shape, seed=sum(shape.k))
    want = np.linalg.svd(unrolled(conv.weight, shape, N), compute_uv=False).ravel()
    found = singular_values(conv, inputs_of(shape, N))
    assert len(found) == shape.groups * prod(N) * min(shape.M, shape.C * prod(shape.S))
    np.testing.assert_allclose(found, np.sort(want)[::-1], atol=1e-10)
    single = singular_values(conv.float(), inputs_of(shape, N))
    np.testing.assert_allclose(single, found, atol=1e-5 * float(found[0]))
    seen["strided"] += max(shape.S) > 1
    seen["even"] += any(k % 2 == 0 for k in shape.k)
    seen["groups"] += shape.groups > 1
    seen["dilated"] += max(shape.D) > 1
    seen["transposed"] += shape.transposed
    seen["wrapped"] += any(
        D * (k - 1) >= S * n for k, S, D, n in zip(shape.k, shape.S, shape.D, N, strict=True)
    )


def test_those_layers_were_of_every_kind():
    assert min(seen.values()) >= 25, seen


def test_every_reference_layer(golden):
    file = np.load(golden / "orthogonal" / "circular.npz")
    for i in range(int(file["n_cases"])):
        M, C, k, S, N = file[f"c{i}_cfg"].tolist()
        conv = layer(ConvShape(M, C, k, S))
        conv.weight.data = torch.tensor(file[f"c{i}_K"])
        np.testing.assert_allclose(singular_values(conv, S * N), file[f"c{i}_sv"], atol=1e-12)


def test_zeros_and_no_padding(golden):
    file = np.load(golden / "orthogonal" / "zero_and_valid.npz")
    for i in range(int(file["n_cases"])):
        M, C, k, S, n = file[f"c{i}_cfg"].tolist()
        conv = layer(ConvShape(M, C, k, S))
        conv.weight.data = torch.tensor(file[f"c{i}_K"])
        padding = {"same": "zeros", "valid": "valid"}[str(file[f"c{i}_pad"])]
        found = singular_values(conv, n, padding)
        np.testing.assert_allclose(found, file[f"c{i}_sv"], atol=1e-12)
        assert float(found[0]) <= float(file[f"c{i}_circ_bound"]) + 1e-12
        circular = singular_values(conv, int(file[f"c{i}_circ_bound_size"]))
        assert float(circular[0]) == pytest.approx(float(file[f"c{i}_circ_bound"]), abs=1e-12)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("padding", "mode"), [(1, "zeros"), (0, "zeros"), (2, "zeros"), (1, "circular"), ("same", "circular")]
)
def test_as_the_module_itself_pads(padding, mode, transposed):
    """The Jacobian of the module is the matrix."""
    if transposed and (mode == "circular" or padding == "same"):
        return
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    extra = {"output_padding": 1} if transposed and padding == 1 else {}
    stride = 1 if padding == "same" else 2
    conv = kind(
        2, 4, 3, stride=stride, padding=padding, padding_mode=mode, groups=2, bias=False, **extra
    ).requires_grad_(False)
    x = torch.zeros(1, 2, 6, 4)
    jacobian = torch.func.jacrev(conv)(x).reshape(conv(x).numel(), x.numel())
    found = singular_values(conv, (6, 4), None)
    want = torch.linalg.svdvals(jacobian)
    torch.testing.assert_close(found, want[: len(found)], atol=1e-12, rtol=0)
    assert float(want[len(found) :].abs().sum()) < 1e-12  # the rest is zero: blocks of groups are not square


def test_half_of_the_frequencies_stands_for_all():
    at, counts = half_grid((4, 6, 3))
    both = {tuple(row) for row in at.tolist()} | {
        tuple(row) for row in (-at % torch.tensor([4, 6, 3])).tolist()
    }
    assert len(both) == int(counts.sum()) == 72
    assert int((counts == 1).sum()) == 4  # 2 x 2 x 1 frequencies are their own mirror images


def test_a_second_call_is_free_until_the_weight_changes(monkeypatch):
    conv = layer(ConvShape(3, 2, 3))
    first = spectrum_of(conv, 6)
    assert spectrum_of(conv, 6) is first
    assert spectrum_of(conv, 8) is not first
    assert spectrum_of(copy.deepcopy(conv), 6) is not first
    conv.weight.data.mul_(2)  # the version counter does not see this one
    second = spectrum_of(conv, 6)
    torch.testing.assert_close(second.values, 2 * first.values)
    with torch.no_grad():
        conv.weight.mul_(0.5)
    torch.testing.assert_close(spectrum_of(conv, 6).values, first.values)


def test_it_prints_and_writes_itself():
    found = spectrum_of(orthogonal_(nn.Conv2d(2, 2, 3, stride=2, groups=2)), 8)
    assert (
        "2 -> 2, kernel 3x3, stride 2x2, 2 groups on 8x8, circular padding: 32 singular values from 1 to 1"
        in str(found)
    )
    assert found.condition == pytest.approx(1)
    written = found.to_dict()
    assert written["exact"] is True
    assert len(written["values"]) == 32
    assert (
        spectrum_of(layer(ConvShape(8, 2, 3, 2, 2)), 8).condition == inf
    )  # three of four inputs are never seen


@pytest.mark.parametrize(("shape", "size", "panels"), [((3, 2, 3, 2), (8, 12), 3), ((3, 2, (3,)), 8, 1)])
def test_it_has_a_picture(shape, size, panels):
    found = spectrum_of(layer(ConvShape(*shape)), size)
    axes = np.atleast_1d(np.array(found.plot(), dtype=object))
    assert len(axes) == panels
    assert axes[0].get_xlabel()
    assert float(axes[0].lines[-1].get_ydata()[0]) == pytest.approx(found.largest)
    if panels == 3:
        assert axes[1].images[0].get_array().shape == (4, 6)
    import matplotlib.pyplot as plt

    ax = plt.subplots()[1]
    assert found.plot(ax) is ax


def test_the_map_of_frequencies_is_that_of_the_fourier_transform():
    conv = layer(ConvShape(3, 2, 3))
    K = torch.fft.fft2(conv.weight.detach(), (4, 6)).permute(2, 3, 0, 1)
    want = torch.linalg.svdvals(K).reshape(24, 2)
    torch.testing.assert_close(spectrum_of(conv, (4, 6)).frequencies, want)


@pytest.mark.parametrize(
    ("conv", "arguments", "message"),
    [
        (nn.Linear(2, 2), (4,), "conv: want a torch convolution, such as nn.Conv2d, got Linear"),
        (nn.Conv2d(2, 2, 3), (0,), "input_size: want a whole number >= 1, got 0"),
        (nn.Conv2d(2, 2, 3), ((4, 4, 4),), "input_size: want one number, or 2, one an axis"),
        (nn.Conv2d(2, 2, 3, stride=2), (5,), "input_size: want multiples of the stride 2x2"),
        (
            nn.Conv2d(2, 2, 3),
            (4, "reflect"),
            "padding: want one of 'circular', 'zeros', 'valid', got 'reflect'",
        ),
        (nn.Conv2d(2, 2, 5), (4, "valid"), "input_size: want at least 5x5 for this kernel"),
        (
            nn.Conv2d(2, 2, 3, padding_mode="reflect", padding=1),
            (4, None),
            "padding_mode: want 'zeros' or 'circular'",
        ),
        (
            nn.Conv2d(2, 2, 3, padding_mode="circular"),
            (4, None),
            "padding: want circular padding that keeps the size",
        ),
        (
            nn.Conv2d(64, 64, 3),
            (32, "zeros"),
            "input_size: want a matrix of at most 33554432 entries a group",
        ),
        (_whole_numbers(), (4,), "weight: want real floating-point numbers"),
    ],
)
def test_wrong_calls_are_answered(conv, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        singular_values(conv, *arguments)


def test_a_weight_that_is_not_finite_is_refused():
    conv = nn.Conv2d(2, 2, 3)
    conv.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="weight: want finite values, got 1 NaN"):
        singular_values(conv, 4)
