"""Fixed points and cycles: published systems complete, the index theorem, brute force, and the search beside
the list.
"""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isocline.dynamics.analysis import (
    PiecewiseLinear,
    SpuriousAttractorWarning,
    cycles,
    cycles_of,
    fixed_points,
    shallow_form,
    spurious_attractors,
)
from isocline.dynamics.search import effort

SYSTEMS = {
    "plain": ("fixed_points", False),
    "clipped": ("fixed_points", True),
    "sysA": ("scyfi_published_systems", False),
    "sysB": ("scyfi_published_systems", False),
}


def _system(golden, name):
    with np.load(golden / f"dynamics/{SYSTEMS[name][0]}.npz") as file:
        arrays = {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
    return [arrays[f"param_{key}"] for key in ("A", "W1", "W2", "h1", "h2")], arrays, SYSTEMS[name][1]


def _random(seed, M, L, spread=1.0):
    generator = np.random.default_rng(seed)
    A = generator.uniform(-0.9, 0.9, M)
    return A, *(spread * generator.normal(size=size) for size in ((M, L), (L, M), M, L))


def _same(found, expected):
    """Two lists of orbits (n, k, M) hold the same orbits, in any order."""
    assert found.shape == expected.shape
    for orbit in expected:
        assert np.abs(found - orbit).max((1, 2)).min(initial=0) < 1e-9


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_fixed_points_of_the_reference_systems(golden, name):
    weights, expected, clipped = _system(golden, name)
    found = fixed_points(*weights, clipped=clipped)
    assert found.complete
    assert found.order == 1
    _same(found.orbits, expected["fixed_points"][:, None])
    for point, moduli in zip(expected["fixed_points"], expected["fp_eig_abs"], strict=True):
        nearest = np.abs(found.points - point).max(1).argmin()
        np.testing.assert_allclose(np.sort(np.abs(found.multipliers[nearest])), np.sort(moduli), rtol=1e-9)
    if name.startswith("sys"):
        assert found.how.startswith(f"{expected['n_admissible_regions']} regions")


@pytest.mark.parametrize(
    ("name", "order"), [("plain", 2), ("plain", 3), ("clipped", 2), ("sysA", 2), ("sysB", 2)]
)
def test_all_cycles_of_the_reference_systems_once_and_in_every_phase(golden, name, order):
    weights, expected, clipped = _system(golden, name)
    found = cycles(*weights, order, clipped=clipped)
    assert found.complete
    phases = np.concatenate([np.roll(found.orbits, -i, axis=1) for i in range(order)])
    _same(phases, expected[f"cycle{order}"])
    assert (found.residual < 1e-10).all()
    if f"cycle{order}_eig_abs" in expected:
        moduli = np.repeat(np.sort(np.abs(found.multipliers)), order, axis=0)
        reference = np.sort(expected[f"cycle{order}_eig_abs"])
        np.testing.assert_allclose(np.sort(moduli, axis=0), np.sort(reference, axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_search_finds_what_the_list_has(golden, name, order):
    weights, _, clipped = _system(golden, name)
    listed = cycles(*weights, order, clipped=clipped)
    searched = cycles(*weights, order, clipped=clipped, method="search", seed=1)
    assert not searched.complete
    assert "search" in searched.how
    _same(searched.orbits, listed.orbits)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6))
@settings(max_examples=60)
def test_indices_of_all_fixed_points_of_a_clipped_model_sum_to_one(seed, M, L):
    """Far away the clipped map with |A| < 1 contracts: its degree is 1, so sum sign det(I - J) over ALL fixed
    points is.
    """
    weights = _random(seed, M, L, 1.5)
    found = fixed_points(*weights)
    assert found.complete
    assert len(found) % 2 == 1
    jacobians = shallow_form(*weights, clipped=True).jacobian(found.points)
    index = np.sign(np.linalg.det(np.eye(M) - jacobians))
    assert index.sum() == 1


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6))
def test_every_gate_pattern_by_brute_force(seed, M, L):
    A, W1, W2, h1, h2 = weights = _random(seed, M, L, 1.5)
    expected = []
    for pattern in itertools.product([0.0, 1.0], repeat=L):
        P = np.diag(A) + W1 * pattern @ W2
        z = np.linalg.solve(np.eye(M) - P, W1 * pattern @ h2 + h1)
        if np.array_equal(W2 @ z + h2 > 0, np.array(pattern) > 0):
            expected.append(z)
    _same(fixed_points(*weights, clipped=False).orbits, np.array(expected).reshape(-1, 1, M))


@given(st.integers(0, 10**6), st.integers(2, 3))
@settings(max_examples=25)
def test_cycles_are_cycles_and_not_of_lower_order(seed, order):
    weights = _random(seed, 2, 3, 2.0)
    mapping = shallow_form(*weights, clipped=True)
    found = cycles_of(mapping, order)
    for orbit in found.orbits:
        scale = 1 + np.abs(orbit).max()
        np.testing.assert_allclose(mapping.step(orbit), np.roll(orbit, -1, axis=0), atol=1e-7 * scale)
        gaps = np.linalg.norm(orbit[:, None] - orbit, axis=2)[~np.eye(order, dtype=bool)]
        assert gaps.min() > 1e-9 * scale
    twin = fixed_points(*weights)
    for point in twin.points:
        assert np.abs(found.points - point).max(1).min(initial=1) > 1e-9


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("exponent", [-7, -3, 2, 7])
def test_units_of_the_states_do_not_matter(golden, name, exponent):
    """Scaling h1 and h2 scales every orbit: points 1e-7 apart are as distinct as points 1 apart."""
    (A, W1, W2, h1, h2), _, clipped = _system(golden, name)
    unit = 10.0**exponent
    found = cycles(A, W1, W2, h1, h2, 2, clipped=clipped)
    scaled = cycles(A, W1, W2, unit * h1, unit * h2, 2, clipped=clipped)
    np.testing.assert_allclose(scaled.orbits, unit * found.orbits, rtol=1e-7, atol=1e-9 * unit)
    assert scaled.kinds == found.kinds


def test_three_states_and_many_units_by_list_and_by_search():
    weights = _random(1, 3, 20, 0.6)
    listed = fixed_points(*weights)
    assert listed.complete
    searched = fixed_points(*weights, method="search", around=np.random.default_rng(0).normal(size=(50, 3)))
    _same(searched.orbits, listed.orbits)


def test_search_goes_where_lists_cannot():
    weights = _random(3, 8, 100, 0.4)
    found = fixed_points(*weights)
    assert not found.complete
    mapping = shallow_form(*weights, clipped=True)
    np.testing.assert_allclose(mapping.step(found.points), found.points, atol=1e-8)
    assert len(found) >= 1
    again = fixed_points(*weights)
    np.testing.assert_array_equal(found.orbits, again.orbits)


def test_a_fixed_point_on_the_edge_is_one_point():
    # z' = -0.5 z + relu(z) + 0: the fixed point 0 lies on the only kink
    found = fixed_points([-0.5], [[1.0]], [[1.0]], [0.0], [0.0], clipped=False)
    assert found.points.tolist() == [[0.0]]
    assert found.complete
    # two units with one kink between them, and the point on both
    twice = fixed_points([0.0], [[0.25, 0.25]], [[1.0], [1.0]], [1.0], [-1.0, -1.0], clipped=False)
    np.testing.assert_allclose(twice.points, [[1.0]])


def test_a_line_of_fixed_points_is_not_called_complete():
    # one direction keeps its value: every point of a line is fixed
    found = fixed_points([1.0, 0.5], [[0.0], [1.0]], [[0.0, 1.0]], [0.0, 0.0], [-1.0], clipped=False)
    assert not found.complete
    assert "continuum" in found.how
    # the same with a push: no fixed point at all, and that is certain
    pushed = fixed_points([1.0, 0.5], [[0.0], [1.0]], [[0.0, 1.0]], [0.1, 0.0], [-1.0], clipped=False)
    assert pushed.complete
    assert len(pushed) == 0


def _linear(A):
    M = len(A)
    return PiecewiseLinear(np.array(A, float), np.zeros((M, 1)), np.ones((1, M)), np.zeros(M), np.ones(1))


@pytest.mark.parametrize(
    ("A", "kind"),
    [
        ([[0.5, 0], [0, -0.3]], "stable node"),
        ([[0.5, -0.5], [0.5, 0.5]], "stable spiral"),
        ([[2.0, 0], [0, -3.0]], "unstable node"),
        ([[1.0, -1.0], [1.0, 1.0]], "unstable spiral"),
        ([[2.0, 0], [0, 0.3]], "saddle"),
        ([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 2.0]], "spiral saddle"),
        ([[0.0, -1.0], [1.0, 0.0]], "neutral spiral"),
        ([[-1.0, 0.0], [0.0, 0.5]], "neutral node"),
    ],
)
def test_kinds(A, kind):
    found = cycles_of(_linear(A))
    np.testing.assert_allclose(found.points, np.zeros((1, len(A))), atol=1e-12)
    assert found.kinds == (kind,)
    assert found.stable.tolist() == [kind.startswith("stable")]
    assert kind in str(found)
    assert found.to_dict()["kinds"] == [kind]


def test_a_stable_point_the_data_do_not_settle_on_is_warned_of():
    orbit = np.random.default_rng(0).normal(size=(500, 2))
    found = cycles_of(_linear([[0.5, 0.0], [0.0, 0.5]]))
    with pytest.warns(SpuriousAttractorWarning, match=r"stable node of order 1 at \[.*0.0\], modulus 0.5"):
        spurious = spurious_attractors(found, orbit + 3)
    assert len(spurious) == 1
    with pytest.warns(SpuriousAttractorWarning):  # in the middle of the data, but they do not stay
        spurious_attractors([found], orbit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settling = orbit * 0.98 ** np.arange(500)[:, None]
        assert spurious_attractors(found, settling) == []
        assert spurious_attractors(cycles_of(_linear([[2.0, 0.0], [0.0, 0.5]])), orbit) == []


def test_the_reference_system_with_a_stable_point_warns(golden):
    weights, _, clipped = _system(golden, "clipped")
    found = fixed_points(*weights, clipped=clipped)
    with pytest.warns(SpuriousAttractorWarning, match="choose another seed"):
        spurious = spurious_attractors(found, np.random.default_rng(0).normal(size=(100, 2)))
    assert spurious[0].kinds == ("stable node",)


def test_effort_of_the_search_as_published():
    assert [effort(order) for order in (1, 3, 6, 8, 20, 30)] == [
        (10, 20), (10, 60), (10, 300), (40, 1080), (40, 1115), (100, 1115),
    ]  # fmt: skip


WEIGHTS = _random(0, 2, 3)
WRONG = [
    (lambda: cycles(*WEIGHTS, 0), "order: want a whole number >= 1, got 0"),
    (
        lambda: fixed_points(*WEIGHTS, method="all"),
        "method: want one of 'auto', 'exact', 'search', got 'all'",
    ),
    (
        lambda: fixed_points(*_random(0, 6, 60), method="exact"),
        "method: want a map whose regions can be listed, got up to",
    ),
    (
        lambda: fixed_points(*WEIGHTS, method="search", around=np.ones((5, 3))),
        "around: want states of shape (n, 2), got (5, 3)",
    ),
    (
        lambda: cycles_of(shallow_form(*WEIGHTS, clipped=True), method="search", reach=-1),
        "reach: want a finite",
    ),
    (
        lambda: cycles_of(shallow_form(*WEIGHTS, clipped=True), method="search", rounds=0),
        "rounds: want a whole",
    ),
    (
        lambda: spurious_attractors(fixed_points(*WEIGHTS), np.ones((9, 3))),
        "states: want shape (T, 2), as the",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_the_message_names_what_was_wrong(call, message):
    with pytest.raises(ValueError, match="want") as caught:
        call()
    assert message in str(caught.value)


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_a_clipped_model_is_the_plain_one_with_twice_the_units(seed):
    A, W1, W2, h1, h2 = _random(seed, 2, 4, 1.5)
    clipped = fixed_points(A, W1, W2, h1, h2)
    doubled = np.concatenate([W1, -W1], 1), np.concatenate([W2, W2]), h1, np.concatenate([h2, np.zeros(4)])
    plain = fixed_points(A, *doubled, clipped=False)
    assume(len(clipped))
    np.testing.assert_allclose(plain.orbits, clipped.orbits, atol=1e-12)
