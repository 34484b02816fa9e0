"""The claim on long range: exact where the paper is exact, and it shows a picture."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from isocline.lab import Options, find, run_claims
from isocline.lab.claims.plstm.long_range import reads
from isocline.lab.style import house_style


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    [found] = run_claims(
        find(["plstm/long-range"]), "tour", Options(out=tmp_path_factory.mktemp("runs"), jobs=2)
    )
    return found


def test_the_claim_holds_and_shows_a_picture(report):
    assert report.verdict.answer == "holds", report.verdict
    with house_style():
        [figure] = report.claim.plot(list(report.records)).values()
    assert isinstance(figure, Figure)
    assert len(figure.get_label()) > 20  # the caption
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_without_a_rule_a_node_reads_pascals_triangle():
    found = reads("no rule", 6, 0.5)
    # twice: once to the right and once down, from the corner, and both edges into the node are read
    for x, y in ((1, 1), (3, 2), (5, 5)):
        paths = [[1.0] * 6 for _ in range(6)]
        for i in range(1, 6):
            for j in range(1, 6):
                paths[i][j] = paths[i - 1][j] + paths[i][j - 1]
        assert found[x, y] == pytest.approx(paths[x][y])


def test_p_mode_is_a_binomial():
    found = reads("P-mode", 8, 0.3)
    for d in range(1, 8):
        row = np.array([found[x, d - x] for x in range(d + 1)])
        expected = np.poly1d([0.3, 0.7]) ** d  # highest power first: x = d, ..., 0
        np.testing.assert_allclose(row[::-1], expected.coeffs, rtol=1e-12)
