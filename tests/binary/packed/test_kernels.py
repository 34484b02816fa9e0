"""Convolutions of signs on bits: reference vectors, the law that they are convolutions, both backends as one."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from isocline.binary.packed.bits import SLACK, from_rows, from_signs, to_rows, words_for
from isocline.binary.packed.epilogue import Affine, Limits, affine, fma
from isocline.binary.packed.kernels import SignConvolution, backend_for, bits_of, compiled, transposed
from isocline.binary.packed.window import Window

BACKENDS = ("reference", "numba")
backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def vectors(request):
    path = request.config.rootpath / "tests" / "golden" / "binary" / "packed_inference.npz"
    return dict(np.load(path, allow_pickle=False))


@backends
@pytest.mark.parametrize("n", [1, 63, 64, 65, 100, 576])
def test_dot_products_are_the_reference_vectors(vectors, backend, n):
    a, b, y, hamming = (vectors[f"dot_n{n}_{name}"] for name in ("a", "b", "y", "hamming"))
    bits = from_signs(a.reshape(len(a), 1, 1, 1, n))
    found = SignConvolution(Window(n, len(b)), b.reshape(len(b), 1, 1, 1, n), backend=backend).sums(bits)
    np.testing.assert_array_equal(found.reshape(y.shape), y)
    np.testing.assert_array_equal((n - found.reshape(y.shape)) // 2, hamming)


@backends
@pytest.mark.parametrize("case", ["zero_s1", "plus1_s1", "minus1_s1", "zero_s2", "plus1_s2"])
def test_paddings_are_the_reference_vectors(vectors, backend, case):
    name, stride = case.split("_s")
    pad_value, stride = {"zero": 0, "plus1": 1, "minus1": -1}[name], int(stride)
    x, w, y = vectors["pad_x"], vectors["pad_w"], vectors[f"pad_{case}"]
    bits = from_signs(x.transpose(0, 2, 3, 1)[:, None])
    window = Window(
        10,
        5,
        kernel=(1, 3, 3),
        stride=(1, stride, stride),
        before=(0, 1, 1),
        after=(0, 1, 1),
        pad_value=pad_value,
    )
    signs = w.transpose(0, 2, 3, 1)[:, None]
    found = SignConvolution(window, signs, backend=backend).sums(bits)
    np.testing.assert_array_equal(found[:, 0].transpose(0, 3, 1, 2), y)


sizes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 20))
small = st.tuples(*[st.integers(1, 3)] * 3)
edges = st.tuples(*[st.integers(0, 3)] * 3)


@st.composite
def convolutions(draw):
    """A window, an image that it fits into, and a seed."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    each, out = draw(st.sampled_from([1, 5, 32, 33, 70])), draw(st.sampled_from([1, 7, 16, 21]))
    geometry = [draw(part) for part in (small, small, small, edges, edges)]
    window = Window(
        groups * each, groups * out, groups, *geometry, pad_value=draw(st.sampled_from([-1, 0, 1]))
    )
    image = tuple(
        max(size, d * (k - 1) + 1 - a - b, 1)
        for size, k, d, a, b in zip(draw(sizes), *(geometry[i] for i in (0, 2, 3, 4)), strict=True)
    )
    return window, image, draw(st.integers(0, 2**32 - 1))


def by_torch(window, image, rng):
    """Signs, weights, and the convolution's exact result by PyTorch in float64."""
    x = rng.choice([-1, 1], (2, *image, window.inputs))
    w = rng.choice([-1, 1], (window.outputs, *window.kernel, window.inputs // window.groups))
    around = [
        size for pair in zip(reversed(window.before), reversed(window.after), strict=True) for size in pair
    ]
    padded = F.pad(torch.tensor(x).double().movedim(-1, 1), around, value=window.pad_value)
    y = F.conv3d(
        padded,
        torch.tensor(w).double().movedim(-1, 1),
        None,
        window.stride,
        0,
        window.dilation,
        window.groups,
    )
    return x, w, y.movedim(1, -1).numpy()


@given(convolutions())
def test_any_window_is_a_convolution_and_backends_agree_to_the_bit(case):
    window, image, seed = case
    rng = np.random.default_rng(seed)
    x, w, y = by_torch(window, image, rng)
    bits, M = from_signs(x), window.outputs
    limits = Limits(rng.integers(-9, 9, M).astype(np.int32), rng.random(M) < 0.5)
    numbers = [rng.standard_normal(M).astype(np.float32) for _ in range(4)]
    how = Affine(*numbers, floor=rng.choice([-np.inf, 0.0]), fused=bool(rng.random() < 0.5))
    skip = rng.standard_normal(y.shape).astype(np.float32) if rng.random() < 0.5 else None
    expected = affine(y, how) if skip is None else affine(y, how) + skip
    for backend in BACKENDS:
        plain = SignConvolution(window, w, None, backend)
        np.testing.assert_array_equal(plain.sums(bits), y)
        signs = SignConvolution(window, w, limits, backend).to_bits(bits).signs()
        np.testing.assert_array_equal(signs > 0, (y >= limits.limit) ^ limits.flip)
        made, also = SignConvolution(window, w, how, backend).to_numbers(bits, skip, want_bits=True)
        np.testing.assert_array_equal(made, expected)
        np.testing.assert_array_equal(also.signs() > 0, expected >= 0)
        assert not also.flat[-SLACK:].any()


@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_signs_are_packed_from_either_layout(batch, channels, width, seed):
    x = (
        np.random.default_rng(seed)
        .choice([-1.5, -0.0, 0.0, 2.0], (batch, channels, 1, 1, width))
        .astype(np.float32)
    )
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    found = [bits_of(last, b) for b in BACKENDS] + [bits_of(x, b, channels_first=True) for b in BACKENDS]
    for bits in found:
        np.testing.assert_array_equal(bits.signs() > 0, last >= 0)  # -0 >= 0, as for the layers
        np.testing.assert_array_equal(bits.flat, found[0].flat)  # nothing beyond the channels
    turned = x.reshape(batch, channels, width)
    for backend in BACKENDS:
        np.testing.assert_array_equal(transposed(turned, backend), turned.swapaxes(1, 2))


@given(st.integers(1, 5), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_rows_of_files_hold_bits_without_gaps(rows, n, seed):
    truths = np.random.default_rng(seed).random((rows, n)) < 0.5
    found = to_rows(truths)
    assert found.shape == (rows, -(-n // 8))
    np.testing.assert_array_equal(from_rows(found, n), truths)


floats = st.floats(-(2.0**60), 2.0**60, width=32).filter(
    lambda x: x == 0 or abs(x) > 2**-30
)  # no product underflows


@given(st.lists(st.tuples(floats, floats, floats), min_size=1, max_size=50))
def test_fma_rounds_once(numbers):
    x, a, b = np.array(numbers, np.float32).T
    found = fma(x, a, b)
    for one, got in zip(zip(x, a, b, strict=True), found, strict=True):
        exact = Fraction(float(one[0])) * Fraction(float(one[1])) + Fraction(float(one[2]))
        with np.errstate(over="ignore"):
            around = [
                np.nextafter(got, -np.inf, dtype=np.float32),
                np.nextafter(got, np.inf, dtype=np.float32),
            ]
        error = abs(Fraction(float(got)) - exact)
        assert all(error <= abs(Fraction(float(other)) - exact) for other in around if np.isfinite(other))


def test_the_second_rounding_is_not_a_tie():
    """1 + 2^-24 + 2^-60 lies above the middle of two float32, its float64 on it."""
    x, a, b = np.float32(2**-12), np.float32(2**-12), np.float32(1)
    tiny = np.float32(2**-30)
    assert fma(x, a, b) == 1  # a true tie goes to even
    assert fma(tiny, tiny, np.float32(1 + 2**-23)) == np.float32(1 + 2**-23)
    product = np.float32(1 + 2**-12), np.float32(2**-24 * (1 - 2**-12))  # 2^-24 (1 - 2^-24)
    assert fma(*product, np.float32(1)) == 1
    above = np.float32(1 + 2**-23), np.float32(2**-24 * (1 + 2**-23))  # just above 2^-24
    assert fma(*above, np.float32(1)) == np.float32(1 + 2**-23)


@backends
def test_shares_of_threads_make_the_same(backend, monkeypatch):
    monkeypatch.setattr(compiled, "ALONE", 0)
    window = Window(40, 20, kernel=(1, 3, 3), before=(0, 1, 1), after=(0, 1, 1))
    rng = np.random.default_rng(0)
    x, w, y = by_torch(window, (1, 9, 7), rng)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = SignConvolution(window, w, None, backend).sums(bits_of(x.astype(np.float32), backend))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, y)


@backends
@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("place", [(0, 0, 0, 0, 0), (1, 2, 0, 0, 16), (1, 32, 0, 0, 17)])
def test_a_nan_has_no_sign(backend, channels_first, place):
    x = np.ones((2, 33, 1, 1, 18), np.float32)
    x[place] = np.nan
    given = x if channels_first else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    with pytest.raises(ValueError, match="x: want activations that have a sign, got NaN"):
        bits_of(given, backend, channels_first=channels_first)
    layer = SignConvolution(
        Window(1, 33), np.ones((33, 1, 1, 1, 1)), Affine(*[np.ones(33, np.float32)] * 4), backend
    )
    skip = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    ones = from_signs(np.ones((2, 1, 1, 18, 1)))
    with pytest.raises(ValueError, match="got NaN"):
        layer.to_numbers(ones, skip, want_bits=True)
    assert np.isnan(layer.to_numbers(ones, skip)[0]).sum() == 1  # a number may be NaN


@backends
def test_wrong_calls_are_answered(backend):
    layer = SignConvolution(
        Window(3, 2, kernel=(1, 3, 3)),
        np.ones((2, 1, 3, 3, 3)),
        Affine(*[np.ones(2, np.float32)] * 4),
        backend,
    )
    with pytest.raises(ValueError, match="x: want 3 channels, got 4"):
        layer.sums(from_signs(np.ones((1, 1, 5, 5, 4))))
    with pytest.raises(
        ValueError, match=r"x: want an image of at least \(1, 3, 3\) after padding, got \(1, 2, 5\)"
    ):
        layer.sums(from_signs(np.ones((1, 1, 2, 5, 3))))
    with pytest.raises(ValueError, match=r"skip: want shape \(1, 1, 3, 3, 2\)"):
        layer.to_numbers(from_signs(np.ones((1, 1, 5, 5, 3))), np.ones((1, 1, 3, 3, 1), np.float32))


def test_a_backend_is_chosen_by_name():
    assert backend_for("auto") == "numba"
    with pytest.raises(ValueError, match="backend: want one of 'auto', 'reference', 'numba', got 'nunba'"):
        backend_for("nunba")


def test_words_hold_32_channels():
    assert [words_for(n) for n in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]
