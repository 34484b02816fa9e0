"""Which layers can be orthogonal: the published table, witnesses for yes, a lower bound on L_orth for no."""

import re
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline.orthogonal import ConvShape, exists, lorth, orthogonal_, singular_values
from isocline.orthogonal.existence import usable_phases

from .layers import inputs_of, layer, shapes


def test_every_row_of_the_table(golden):
    table = np.load(golden / "orthogonal" / "existence.npz")["table"]
    assert len(table) == 2048
    for M, C, k, S, in_2d, in_1d in table.tolist():
        assert exists((M, C, k, S)).feasible == bool(in_2d), (M, C, k, S)
        assert exists(ConvShape(M, C, k, S, dim=1)).feasible == bool(in_1d), (M, C, k, S)


@given(shapes(), st.integers(0, 99))
def test_a_feasible_layer_has_a_witness_and_no_other_layer_comes_close(shape, seed):
    """Where there is none, the matrix at a frequency lacks rank: so many squared singular values are 0 for any weight."""
    conv = layer(shape, seed)
    answer = exists(conv)
    if answer:
        orthogonal_(conv, generator=torch.Generator().manual_seed(seed))
        assert lorth(conv.weight, shape.S, shape.D, shape.groups) < 1e-26  # a few roundings, squared
        assert not answer.remedy
    else:
        rank = shape.C * prod(usable_phases(shape))
        missing = min(shape.M, shape.C * prod(shape.S)) - rank
        assert missing > 0
        assert lorth(conv.weight, shape.S, shape.D, shape.groups) > shape.groups * missing - 1e-9
        assert answer.remedy


@given(shapes(), st.sampled_from(["zeros", "valid"]))
def test_other_paddings_have_witnesses_too(shape, padding):
    """The kernel of `orthogonal_` sits where "same" padding sees it whole; k = S tiles an input without padding."""
    answer = exists(shape, padding)
    if not answer or shape.transposed:
        return
    conv = orthogonal_(layer(shape), generator=torch.Generator().manual_seed(0))
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    n = [S * (2 + -(-span // S)) for S, span in zip(shape.S, spans, strict=True)]
    if padding == "valid":  # the last kernel ends where the input does
        n = [span + S * 2 for S, span in zip(shape.S, spans, strict=True)]
    if padding == "zeros" and any(d > 1 for d in shape.D):
        return  # other taps may be the usable ones
    values = singular_values(conv, n, padding)
    assert torch.allclose(values, torch.ones_like(values), atol=1e-12), (shape, n)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize(("M", "C", "S"), [(4, 4, 1), (2, 4, 1), (6, 3, 1), (8, 2, 2), (9, 2, 2)])
def test_without_padding_overlapping_kernels_have_no_orthonormal_columns(M, C, k, S):
    answer = exists(ConvShape(M, C, k, S, dim=1), "valid")
    if M > C * S:
        assert answer.feasible == (k == S)
    else:
        assert answer.feasible == exists(ConvShape(M, C, k, S, dim=1)).feasible  # all rows are complete
        assert answer.case == ("square" if k == S and M == C * S else "RO")


def test_zeros_leave_a_single_tap_at_stride_one():
    answer = exists((8, 8, 3, 1), "zeros")
    assert answer
    assert "all but 1x1 taps zero" in answer.reason
    assert usable_phases(ConvShape(8, 8, 3, 2), "zeros") == (2, 2)
    assert usable_phases(ConvShape(8, 8, 3, 3), "zeros") == (2, 2)


def test_the_two_layers_that_people_ask_about():
    shortcut = exists(nn.Conv2d(64, 128, 1, stride=2))
    assert not shortcut
    assert shortcut.case == "RO"
    assert shortcut.remedy == "a kernel of 2x2, or stride 1x1, or at most 64 output channels"
    assert exists((2, 4, 1, 2)), "a kernel smaller than the stride is no reason by itself"


def test_cases_and_what_they_keep():
    assert exists((3, 5, 3)).isometry == "backward"
    assert exists((5, 3, 3)).isometry == "forward"
    assert exists((4, 1, 3, 2)).isometry == "both"
    assert exists(nn.ConvTranspose2d(3, 5, 3)).isometry == "forward"  # more outputs than inputs
    assert exists(nn.ConvTranspose2d(5, 3, 3)).case == "RO"
    found = exists((5, 3, 3)).to_dict()
    assert found["feasible"] is True
    assert "3 -> 5" in found["layer"]


def test_a_common_divisor_of_stride_and_dilation_leaves_inputs_unseen():
    assert not exists(ConvShape(8, 2, 3, 2, 2))
    assert exists(ConvShape(8, 2, 3, 2, 2)).remedy.endswith("at most 2 output channels")
    assert exists(ConvShape(2, 2, 3, 2, 2))
    assert exists(ConvShape(8, 2, 3, 2, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((3, 3), "layer: want a torch convolution, a ConvShape, or .*got (3, 3)"),
        (nn.Linear(2, 2), "layer: want a torch convolution.*got Linear"),
        ((0, 3, 3), "out_channels: want a whole number >= 1, got 0"),
        ((4, 3, 3, 0), "stride: want a whole number >= 1, got 0"),
        ((4, 3, 2.5), "kernel_size: want a whole number >= 1, got 2.5"),
        ((4, 3, (3, 3), (1, 1, 1)), "kernel_size: want as many axes as stride, dilation and dim"),
    ],
)
def test_what_is_no_layer(wrong, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message).replace(r"\.\*", ".*")):
        exists(wrong)


def test_groups_and_paddings_that_do_not_exist():
    with pytest.raises(ValueError, match="groups: want a divisor of in_channels = 3, got 2"):
        ConvShape(4, 3, 3, groups=2)
    with pytest.raises(ValueError, match="padding: want one of 'circular', 'zeros', 'valid', got 'reflect'"):
        exists((4, 4, 3), "reflect")


def test_a_shape_says_what_it_is():
    assert str(ConvShape(4, 2, 3)) == "2 -> 4, kernel 3x3"
    words = str(ConvShape(4, 2, (3,), 2, 3, groups=2, transposed=True))
    assert words == "transposed 2 -> 4, kernel 3, stride 2, dilation 3, 2 groups"
    assert ConvShape(4, 2, (3, 5), groups=2).weight_shape == (4, 1, 3, 5)
    assert inputs_of(ConvShape(4, 2, 3, 2), (3, 4)) == (6, 8)
