"""The pictures draw what they are given, where they are told, and leave no global figure behind."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from isocline.dynamics import pictures
from isocline.dynamics.analysis import cycles, exponents_along, fixed_points
from isocline.dynamics.measures import smoothed_spectrum

GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.normal(size=(300, 4)).cumsum(0)
MADE = GENERATOR.normal(size=(400, 4)).cumsum(0)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


def _draws(ax):
    """Rendering works, and changes nothing about which axes they are."""
    ax.figure.canvas.draw()
    return ax


def test_attractor_in_space_with_the_channels_asked_for():
    given = Figure().add_subplot(projection="3d")
    ax = _draws(pictures.attractor(SERIES, MADE, given, channels=[3, 0, 1], labels="abcd", most=250))
    assert ax is given
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("d", "a", "b")
    true, made = (np.array(line.get_data_3d()).T for line in ax.get_lines())
    np.testing.assert_array_equal(true, SERIES[:250, [3, 0, 1]])
    np.testing.assert_array_equal(made, MADE[:250, [3, 0, 1]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["true", "generated"]


def test_attractor_of_one_channel_is_its_delay_picture():
    sine = np.sin(2 * np.pi * np.arange(800) / 80)[:, None]
    ax = _draws(pictures.attractor(sine))
    assert ax.get_ylabel() == "channel 0, 20 later"
    x, y, z = ax.get_lines()[0].get_data_3d()
    assert len(x) == 760
    np.testing.assert_allclose(x**2 + y**2, 1.0, atol=1e-12)  # a quarter of the period later: the cosine
    np.testing.assert_allclose(z, -x, atol=1e-12)


def test_attractor_of_a_run_that_blew_up_is_drawn_until_then():
    gone = MADE.copy()
    gone[100:] = math.inf
    x = _draws(pictures.attractor(SERIES, gone)).get_lines()[1].get_data_3d()[0]
    assert np.isfinite(x).sum() == 100


def test_power_spectra_one_axes_per_channel():
    axes = pictures.power_spectra(SERIES, MADE, sigma=2, sampling_rate=50.0, labels=["a", "b", "c", "d"])
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", "d"]
    _draws(axes[0])
    frequency, density = axes[1].get_lines()[0].get_data()
    assert frequency[-1] == 25.0
    np.testing.assert_allclose(density * 50.0 / 300, smoothed_spectrum(SERIES, sigma=2)[1:, 1])
    given = list(Figure().subplots(1, 2))
    assert pictures.power_spectra(SERIES, axes=given) == given


def test_gradient_growth_is_in_powers_of_ten_beside_the_exponent():
    steps = np.arange(1, 101)
    ax = _draws(pictures.gradient_growth({"free": 0.5 * steps, "forced": -0.1 * steps}, exponent=0.5))
    free, forced, slope = (line.get_ydata() for line in ax.get_lines()[:3])
    np.testing.assert_allclose(free, 0.5 * steps / math.log(10))
    np.testing.assert_allclose([slope[0], slope[-1]], [free[0], free[-1]])
    assert forced[-1] < 0


def test_fixed_points_are_filled_where_stable(golden):
    with np.load(golden / "dynamics/fixed_points.npz") as file:
        weights = [file[f"clipped/param_{name}"] for name in ("A", "W1", "W2", "h1", "h2")]
    points, pairs = fixed_points(*weights), cycles(*weights, 2)
    ax = _draws(pictures.fixed_points_on_attractor(SERIES[:, :2], [points, pairs]))
    marks = ax.get_lines()[1:]
    assert len(marks) == len(points) + len(pairs) == 4
    filled = [line.get_markerfacecolor() != "none" for line in marks[:3]]
    assert filled == points.stable.tolist() == [True, False, False]
    assert ax.get_title() == "fixed points and cycles"
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "stable node",
        "saddle",
        "saddle, order 2",
    }


def test_fixed_points_in_three_states_are_drawn_in_space():
    found = fixed_points([0.5] * 3, np.zeros((3, 1)), np.ones((1, 3)), [1.0, 0, 0], [1.0])
    ax = _draws(pictures.fixed_points_on_attractor(SERIES[:, :3], found))
    assert ax.name == "3d"
    np.testing.assert_allclose(np.array(ax.get_lines()[1].get_data_3d())[:, 0], [2.0, 0, 0])


def test_lyapunov_convergence_ends_at_the_exponents():
    found = exponents_along(GENERATOR.normal(size=(500, 3, 3)), dt=0.1)
    ax = _draws(pictures.lyapunov_convergence(found, most=2))
    lines = ax.get_lines()[:2]
    np.testing.assert_allclose([line.get_ydata()[-1] for line in lines], found.per_time[:2])
    assert lines[0].get_xdata()[-1] == pytest.approx(50.0)


FLAT = Figure().add_subplot()
WRONG = [
    (lambda: pictures.attractor(SERIES, ax=FLAT), "ax: want axes with projection='3d'"),
    (lambda: pictures.attractor(SERIES, channels=[0, 1]), "channels: want three of the channels 0 to 3"),
    (lambda: pictures.attractor(SERIES, MADE[:, :2]), "generated: want 4 channels, as in true, got 2"),
    (lambda: pictures.power_spectra(SERIES, sampling_rate=0), "sampling_rate: want a finite number > 0"),
    (lambda: pictures.gradient_growth({}), "log_norms: want one or more curves by name, got none"),
    (lambda: pictures.gradient_growth({"a": SERIES}), "log_norms['a']: want shape (steps,), got an array"),
    (
        lambda: pictures.fixed_points_on_attractor(SERIES, fixed_points([0.5], [[0]], [[1]], [0], [1])),
        "states: want at least two states, as many as the fixed points have, got 4",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_the_message_names_what_was_wrong(call, message):
    with pytest.raises(ValueError, match="want") as caught:
        call()
    assert message in str(caught.value)
