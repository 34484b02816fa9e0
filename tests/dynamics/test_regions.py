"""The cells of hyperplane arrangements: counts that are theorems, degenerate cases, and linear programs
beside them.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from isocline.dynamics.analysis import linear_regions, region_bound

C = math.comb


def _arrangement(n, d, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)), generator.normal(size=n)


def _check(regions, normals, offsets):
    """Complete by its own count; every row once; each witness on the sides it stands for, and on no
    hyperplane.
    """
    assert regions.complete
    assert len(np.unique(regions.gates, axis=0)) == len(regions)
    values = regions.witnesses @ np.asarray(normals).T + offsets
    np.testing.assert_array_equal(values > 0, regions.gates)
    some = np.linalg.norm(normals, axis=1) > 0
    assert (np.abs(values[:, some]) > 0).all()


@pytest.mark.parametrize(
    ("n", "d", "cells"), [(9, 1, 10), (10, 2, 56), (50, 2, 1276), (12, 3, 299), (50, 3, 20876), (7, 4, 99)]
)
def test_general_position_reaches_the_bound(n, d, cells):
    normals, offsets = _arrangement(n, d)
    regions = linear_regions(normals, offsets)
    assert len(regions) == cells == region_bound(n, d)
    _check(regions, normals, offsets)


@given(st.integers(1, 10), st.integers(0, 10**6))
@settings(max_examples=20)
def test_clipped_models_in_two_and_three_dimensions(L, seed):
    """L units are L hyperplanes and L parallel ones through the origin: Zaslavsky's sum over their
    intersections.
    """
    for d, expected in (
        (2, 1 + 2 * L + (L - 1) + L * (L - 1) + C(L, 2)),
        (3, 1 + 2 * L + 4 * C(L, 2) + C(L - 1, 2) * (L > 2) + 7 * C(L, 3)),
    ):
        W, h = _arrangement(L, d, seed)
        normals, offsets = np.concatenate([W, W]), np.concatenate([h, np.zeros(L)])
        regions = linear_regions(normals, offsets)
        assert len(regions) == expected <= sum(C(L, i) * 2**i for i in range(d + 1))
        _check(regions, normals, offsets)


def test_grids_braids_pencils_repeats_and_nothing():
    grid = (
        np.repeat(np.eye(3), [4, 3, 5], axis=0),
        np.concatenate([np.arange(4), np.arange(3), np.arange(5)]) * 0.1,
    )
    braid = np.array([[1, -1, 0], [0, 1, -1], [1, 0, -1.0]]), np.zeros(3)
    through_a_line = np.array([[math.cos(a), math.sin(a), 0] for a in (0.1, 0.7, 1.3, 2.9)]), np.zeros(4)
    repeats = np.array([[1, 2], [2, 4], [-0.5, -1], [0, 1.0]]), np.array([1, 2, -0.5, 0])
    nothing = np.zeros((2, 3)), np.array([1.0, -1.0])
    cells = (5 * 4 * 6, 6, 8, 4, 1)
    for (normals, offsets), expected in zip(
        (grid, braid, through_a_line, repeats, nothing), cells, strict=True
    ):
        regions = linear_regions(normals, offsets)
        assert len(regions) == expected
        _check(regions, normals, offsets)
    assert linear_regions(*nothing).gates.tolist() == [[True, False]]


def _cells_by_linear_programs(normals, offsets):
    """Every sign pattern, each asked whether a point with |z| <= 1000 lies strictly on all its sides."""
    found = set()
    n, d = normals.shape
    for gates in itertools.product([False, True], repeat=n):
        side = np.where(gates, 1.0, -1.0)[:, None]
        bounds = [(-1000, 1000)] * d + [(None, 1)]
        rows = np.concatenate([-side * normals, np.ones((n, 1))], axis=1)
        answer = linprog(np.r_[np.zeros(d), -1.0], rows, side[:, 0] * offsets, bounds=bounds)
        if answer.status == 0 and -answer.fun > 1e-6:
            found.add(gates)
    return found


@given(
    st.integers(1, 3).flatmap(
        lambda d: st.integers(1, 5).flatmap(
            lambda n: st.tuples(
                arrays(np.int64, (n, d), elements=st.integers(-2, 2)),
                arrays(np.int64, n, elements=st.integers(-2, 2)),
            )
        )
    )
)
@settings(max_examples=25)
def test_whole_numbers_degenerate_in_every_way(arrangement):
    normals, offsets = (one.astype(float) for one in arrangement)
    keep = (np.abs(normals).sum(1) > 0) | (offsets != 0)
    normals, offsets = normals[keep], offsets[keep]
    regions = linear_regions(normals.reshape(-1, arrangement[0].shape[1]), offsets)
    _check(regions, normals, offsets)
    assert {tuple(row) for row in regions.gates.tolist()} == _cells_by_linear_programs(normals, offsets)


@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.integers(2, 3))
@settings(max_examples=20)
def test_units_rotation_and_order_do_not_matter(seed, scale, d):
    normals, offsets = _arrangement(8, d, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    order = np.random.default_rng(seed).permutation(8)
    plain = {tuple(row) for row in linear_regions(normals, offsets).gates}
    weights = np.random.default_rng(seed).uniform(0.01, 100, size=8)
    moved = linear_regions((weights[:, None] * normals @ turn)[order], scale * (weights * offsets)[order])
    assert {tuple(row[np.argsort(order)]) for row in moved.gates} == plain


def test_almost_degenerate_is_either_resolved_or_doubted():
    """Three lines that miss one another by less and less: 7 cells while the triangle can be seen, 6 after."""
    normals = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    counts = []
    for gap in 10.0 ** -np.arange(2, 20):
        regions = linear_regions(np.concatenate([normals, [[1.0, -3.0]]]), np.array([0.0, 0.0, gap, 1.0]))
        assert regions.complete
        counts.append(len(regions))
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[10], counts[-1]) == (11, 11, 10)


@pytest.mark.parametrize(
    ("normals", "offsets", "message"),
    [
        (np.ones((3, 2)), np.ones(2), "normals: want shape (n, d) with offsets (n,), got (3, 2) with (2,)"),
        (np.full((1, 2), np.nan), np.ones(1), "normals: want finite values, got 2 NaN"),
        (np.ones((1, 2)), [np.inf], "offsets: want finite values, got 1 infinite"),
    ],
)
def test_messages(normals, offsets, message):
    with pytest.raises(ValueError, match="want") as caught:
        linear_regions(normals, offsets)
    assert message in str(caught.value)
