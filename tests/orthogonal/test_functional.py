"""L_orth: the vectors, the identity with the matrix, what leaves it alone, and its gradient."""

import re
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isocline.orthogonal import exists, lorth, residual
from isocline.orthogonal.functional import lag_gram, lorth_each, polyphase
from isocline.orthogonal.initial import block_kernel

from .layers import layer, shapes, unrolled


def _cases(golden, name):
    file = np.load(golden / "orthogonal" / name)
    keys = {key.partition("_")[2] for key in file.files} - {"cases"}
    for i in range(int(file["n_cases"])):
        yield {key: file[f"c{i}_{key}"] for key in keys if f"c{i}_{key}" in file.files}


@pytest.mark.parametrize("name", ["circular.npz", "circular_1d.npz"])
def test_every_reference_layer(golden, name):
    for case in _cases(golden, name):
        K = torch.tensor(case["K"], requires_grad=True)
        stride, want = int(case["cfg"][3]), float(case["L_orth"])
        found = lorth(K, stride)
        assert float(found.detach()) == pytest.approx(
            want, rel=1e-11, abs=1e-25
        )  # 1e-16 of residuals of 1e-2
        single = lorth(K.detach().float(), stride)
        assert float(single) == pytest.approx(want, rel=1e-5, abs=1e-10)
        if "grad" in case:
            (gradient,) = torch.autograd.grad(found, K)
            np.testing.assert_allclose(gradient, case["grad"], atol=1e-13)


@given(shapes(), st.data())
def test_it_is_the_residual_of_the_matrix_at_every_size(shape, data):
    """err_F^2 = N^d L_orth once S N >= 2 k - 1 (k with its dilation), on the side that can be orthonormal."""
    N = tuple(
        -(-(2 * D * (k - 1) + 1) // S) + data.draw(st.integers(0, 1))
        for k, S, D in zip(shape.k, shape.S, shape.D, strict=True)
    )
    conv = layer(shape, data.draw(st.integers(0, 99)))
    size = shape.groups * shape.M * shape.C * prod(N) ** 2 * prod(shape.S)
    if size > 4e6:
        return
    total = 0.0
    for KK in unrolled(conv.weight, shape, N):
        gram = KK @ KK.T if shape.rows_fewer else KK.T @ KK
        total += float(np.square(gram - np.eye(len(gram))).sum())
    found = float(lorth(conv.weight, shape.S, shape.D, shape.groups, shape.transposed).detach())
    assert total == pytest.approx(prod(N) * found, rel=1e-10, abs=1e-10)


def test_below_the_least_size_the_identity_fails_and_says_so(golden):
    seen = set()
    for case in _cases(golden, "circular.npz"):
        M, C, k, S, N = case["cfg"].tolist()
        from isocline.orthogonal import ConvShape

        conv = layer(ConvShape(M, C, k, S))
        conv.weight.data = torch.tensor(case["K"])
        found = residual(conv, N)
        assert found.holds == bool(case["scalability_holds"])
        assert found.err_F_sq == pytest.approx(float(case["err_F_sq"]), rel=1e-9, abs=1e-20)
        assert found.err_s == pytest.approx(float(case["err_s"]), rel=1e-9, abs=1e-10)
        if found.holds:
            assert found.err_F_sq == pytest.approx(found.predicted, rel=1e-9, abs=1e-20)
            assert "too small" not in str(found)
        else:
            assert "too small" in str(found)
        seen.add(found.holds)
    assert seen == {True, False}


@given(shapes(dilated=False), st.integers(0, 99))
def test_the_published_form_with_the_constant_of_columns(shape, seed):
    """conv(K, K) padded by P = floor((k - 1) / S) S, minus the identity at lag 0, minus M - C S^d."""
    K = layer(shape, seed).weight.detach()
    d, want = len(shape.k), 0.0
    convolve = (F.conv1d, F.conv2d, F.conv3d)[d - 1]
    P = [(k - 1) // S * S for k, S in zip(shape.k, shape.S, strict=True)]
    for part in K.chunk(shape.groups):
        G = convolve(part, part, stride=shape.S, padding=P)
        middle = tuple(p // S for p, S in zip(P, shape.S, strict=True))
        G[(..., *middle)] -= torch.eye(shape.M)
        want += float(G.square().sum()) - max(0, shape.M - shape.C * prod(shape.S))
    assert float(lorth(K, shape.S, groups=shape.groups)) == pytest.approx(want, rel=1e-10, abs=1e-10)


@given(shapes(dims=(2,)), st.integers(0, 99))
def test_what_leaves_it_alone(shape, seed):
    """Orthogonal mixing of channels, mirrored axes, taps moved by one in a larger kernel: the same matrix but for order."""
    K = layer(shape, seed).weight.detach()
    own = {"stride": shape.S, "dilation": shape.D, "groups": shape.groups}
    want = float(lorth(K, **own))
    generator = torch.Generator().manual_seed(seed)
    parts = K.reshape(shape.groups, shape.M, shape.C, *shape.k)
    left = torch.linalg.qr(torch.randn(shape.M, shape.M, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(shape.C, shape.C, generator=generator, dtype=torch.float64))[0]
    mixed = torch.einsum("nm,gmcij,cd->gndij", left, parts, right).reshape(K.shape)
    moved = F.pad(K, (1, 0, 0, 1))
    for other in (mixed, K.flip(-1), K.flip(-2), moved):
        assert float(lorth(other, **own)) == pytest.approx(want, rel=1e-11, abs=1e-11)


@given(shapes(), st.integers(0, 99))
def test_single_precision_is_close(shape, seed):
    K = layer(shape, seed).weight.detach()
    double = float(lorth(K, shape.S, shape.D, shape.groups))
    single = float(lorth(K.float(), shape.S, shape.D, shape.groups))
    assert single == pytest.approx(
        double, rel=1e-5, abs=1e-6
    )  # 1e-6: what an orthogonal float32 weight cannot avoid


def test_half_precision_is_computed_in_single():
    K = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16):
        found = lorth(K.to(dtype))
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(float(lorth(K.to(dtype).double())), rel=1e-6)


@pytest.mark.parametrize(
    ("sizes", "stride"), [((3, 2, 3, 3), 1), ((7, 1, 3, 2), 2), ((2, 3, 4), 3), ((3, 2, 2, 1, 2), 1)]
)
def test_gradients_first_and_second(sizes, stride):
    K = torch.randn(
        sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda k: lorth(0.5 * k, stride), (K,))
    assert torch.autograd.gradgradcheck(lambda k: lorth(0.5 * k, stride), (K,))
    strided = K.transpose(0, 1)
    assert torch.autograd.gradcheck(lambda k: lag_gram(k[None]), (strided,))


def test_the_closed_form_of_the_gradient():
    """dL / dK[m, c, u] = 4 sum_{l, a} (G - I)[m, l, a] K[l, c, u + S a], AMM."""
    K = torch.randn(
        3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    R = F.conv1d(K, K, padding=4).detach()
    R[..., 4] -= torch.eye(3)
    want = 4 * sum(
        torch.einsum(
            "ml,lcu->mcu",
            R[..., 4 - a],
            F.pad(K.detach(), (max(0, -a), max(0, a)))[..., max(0, a) : max(0, a) + 5],
        )
        for a in range(-4, 5)
    )
    torch.testing.assert_close(torch.autograd.grad(lorth(K), K)[0], want)


@settings(max_examples=10)
@given(st.integers(0, 2**20), shapes(dims=(1, 2)))
def test_the_curvature_at_an_orthogonal_kernel_is_at_most_eight(seed, shape):
    """``2 ||dK K^T + K dK^T||^2 <= 8 ||dK||^2`` there, attained by scaling: what a learning rate has to be for."""
    assume(exists(shape))
    generator = torch.Generator().manual_seed(seed)
    K = block_kernel(shape, generator).requires_grad_()
    price = lorth(K, shape.S, shape.D, shape.groups, shape.transposed)
    (slope,) = torch.autograd.grad(price, K, create_graph=True)

    def curvature(along):
        (bent,) = torch.autograd.grad((slope * along).sum(), K, retain_graph=True)
        return float((bent * along).sum() / along.square().sum())

    assert curvature(torch.randn(K.shape, generator=generator)) <= 8 + 1e-9
    assert curvature(K.detach()) == pytest.approx(8)


def test_wide_layers_in_float32_are_multiplied_by_another_library():
    """160 rows and more, where oneDNN multiplies: value and gradient within 1e-5 of float64."""
    K = torch.randn(2, 170, 48, 2, 2, generator=torch.Generator().manual_seed(0)) / 14
    found = []
    for dtype in (torch.float32, torch.float64):
        one = K.to(dtype).requires_grad_()
        value = lorth_each(one, 2).sum()
        found.append((value.detach().double(), torch.autograd.grad(value, one)[0].double()))
    (value, gradient), (wanted, slope) = found
    assert float(value) == pytest.approx(float(wanted), rel=1e-5)
    assert float((gradient - slope).norm() / slope.norm()) < 1e-5


def test_only_the_weight_is_kept_for_the_backward_of_the_lags():
    kept = []
    A = torch.randn(1, 6, 6, 3, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        lag_gram(A)
    assert kept == [A.numel()]


# torch 2.13 instantiates every autograd function that it traces, and warns of it
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_it_compiles_whole():
    K = torch.randn(6, 4, 3, 3, requires_grad=True)
    compiled = torch.compile(lambda k: lorth(k, 2, groups=2), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(K), lorth(K, 2, groups=2))
    torch.testing.assert_close(
        torch.autograd.grad(compiled(K), K), torch.autograd.grad(lorth(K, 2, groups=2), K)
    )


def test_many_at_once_and_vmap_of_the_gradient():
    K = torch.randn(5, 6, 4, 3, 3)
    each = torch.stack([lorth(k, 2, groups=2) for k in K])
    torch.testing.assert_close(lorth_each(K, 2, groups=2), each)
    gradients = torch.func.vmap(torch.func.grad(lambda k: lorth(k, 2, groups=2)))(K)
    (want,) = torch.autograd.grad(lorth_each(K.requires_grad_(), 2, groups=2).sum(), K)
    torch.testing.assert_close(gradients, want)


@settings(max_examples=25)
@given(shapes(dims=(1, 2), dilated=False), st.integers(0, 9))
def test_the_polyphase_kernel_has_the_same_values(shape, seed):
    N = tuple(2 for _ in shape.k)
    K = layer(shape, seed).weight.detach()
    from isocline.orthogonal import ConvShape

    for part in K.chunk(shape.groups):
        A = polyphase(part, shape.S)
        one = ConvShape(shape.M, A.shape[1], tuple(A.shape[2:]))
        strided = ConvShape(shape.M, shape.C, shape.k, shape.S)
        want = np.linalg.svd(unrolled(part, strided, N)[0], compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(unrolled(A, one, N)[0], compute_uv=False), want, atol=1e-12)


def test_the_trap_of_padding_one(golden):
    """The widespread regulariser pads by 1: it condemns an orthogonal kernel and acquits one that is not."""
    trap = np.load(golden / "orthogonal" / "padding_trap.npz")
    good, bad = (torch.tensor(trap[name]) for name in ("orthogonal_stride2_K", "not_orthogonal_stride1_K"))
    assert float(lorth(good, 2)) < 1e-25
    assert float(lorth(bad)) == pytest.approx(float(trap["not_orthogonal_stride1_L"]))
    padded = F.conv2d(bad, bad, padding=1)
    padded[..., 1, 1] -= torch.eye(len(bad))
    assert float(padded.square().sum()) < 1e-25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("K",), "weight: want a tensor (M, C / groups, *kernel), got str"),
        (
            (torch.ones(3, 3, 3, dtype=torch.int64),),
            "weight: want real floating-point numbers, got a tensor of shape (3, 3, 3)",
        ),
        ((torch.ones(3, 3),), "weight: want shape (M, C / groups, *kernel) with 1 to 3 axes of taps"),
        ((torch.ones(3, 0, 3),), "weight: want shape"),
        ((torch.ones(3, 3, 3), 0), "stride: want a whole number >= 1, got 0"),
        ((torch.ones(3, 3, 3), (1, 1)), "stride: want one number, or 1, one an axis, got (1, 1)"),
        ((torch.ones(3, 3, 3), 1, 1.5), "dilation: want a whole number >= 1, got 1.5"),
        ((torch.ones(3, 3, 3), 1, 1, 2), "groups: want a divisor of 3, the first size of weight, got 2"),
    ],
)
def test_wrong_calls_are_answered(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        lorth(*arguments)
