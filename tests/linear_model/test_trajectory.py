"""What a run tells about itself."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from isocline.linear_model.functional import METHODS, iterate

ROWS = [[1.0, -1.0], [1.0, 4.0]]


def test_shapes():
    run = iterate(ROWS, "normalized_lr_gd", 10.0, 7)
    assert (run.theta.shape, run.margins.shape) == ((8, 2), (8, 2))
    assert (run.loss.shape, run.min_margin.shape, run.errors.shape, run.accuracy.shape) == ((8,),) * 4
    assert (run.step_length.shape, run.log_beta.shape, len(run)) == ((7,), (7,), 8)


@pytest.mark.parametrize("method", METHODS)
def test_the_parts_agree(method):
    run = iterate(ROWS, method, max_iter=6)
    np.testing.assert_allclose(run.margins, run.theta @ np.array(ROWS).T, atol=1e-12)
    np.testing.assert_allclose(run.min_margin, run.margins.min(axis=1), atol=1e-12)
    np.testing.assert_array_equal(run.errors, (run.margins <= 0).sum(axis=1))
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(run.direction, axis=0), axis=1), run.step_length, atol=1e-12
    )
    first = np.flatnonzero(run.errors == 0)[0]
    assert run.separated_at == first
    assert (run.picked is None) == (run.epochs is None) == (method != "perceptron")
    assert (run.log_beta is None) == ("normalized" not in method)


def test_units():
    plain, steps = iterate(ROWS, "lr_gd", 10.0, 3), iterate(ROWS, "lr_gd", max_iter=3)
    assert (plain.unit, steps.unit) == (1.0, np.inf)
    np.testing.assert_array_equal(plain.theta, 10 * plain.direction)
    np.testing.assert_array_equal(steps.theta, steps.direction)
    np.testing.assert_allclose(steps.loss, np.maximum(-steps.margins, 0).mean(axis=1))
    large = iterate(ROWS, "lr_gd", 1e250, 3)  # still fits
    assert large.unit == 1.0
    np.testing.assert_allclose(large.loss / 1e250, steps.loss, rtol=1e-12, atol=1e-200)


def test_no_updates_at_all():
    run = iterate(ROWS, "lr_gd", 1.0, 0)
    assert (len(run), run.separated_at, run.loss[0]) == (1, None, pytest.approx(np.log(2)))
    assert iterate(ROWS, "perceptron", max_iter=0).epochs == 0


def test_to_dict_is_plain_json():
    run = iterate(ROWS, "normalized_batch_perceptron", max_iter=3)
    data = json.loads(json.dumps(run.to_dict(), allow_nan=False))
    assert data["separated_at"] == 2
    assert data["step_size"] == data["unit"] == "inf"
    assert data["log_beta"][-1] == "inf"  # beta diverges after separation
    np.testing.assert_array_equal(data["theta"], run.theta)


def test_repr():
    expected = "2 rows in 2 dimensions: separated at 2, 3 updates, 0 wrong at the end"
    assert repr(iterate(ROWS, "lr_gd", 10.0, 3)) == f"Trajectory(lr_gd, step_size=10, {expected})"
    assert "not separated, 1 updates, 1 wrong" in repr(iterate(ROWS, "lr_gd", 10.0, 1))


def test_plot_draws_on_the_axes_it_is_given():
    figure, ax = plt.subplots()
    assert iterate(ROWS, "lr_gd", 10.0, 3).plot(ax) is ax
    assert ax.get_xlabel() == "iteration"
    assert len(ax.lines) == 2  # wrong rows, and where they were separated
    assert len(figure.axes) == 2  # the loss has its own scale
    plt.close(figure)
    own = iterate(ROWS, "lr_gd", max_iter=1).plot()
    assert own.figure.axes[1].get_ylabel() == "logistic loss / step"
    plt.close(own.figure)


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        iterate(ROWS, "lr_gd", 1.0, 1).unit = 2.0
