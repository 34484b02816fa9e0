"""Scans and distances: the reference hulls, and models whose confidence is known everywhere."""

import numpy as np
import pytest
import torch
from torch import nn

from isocline.level_sets import (
    hull_scan,
    image_distance,
    path_width,
    segment_scan,
    star_report,
    traverse,
)

from .networks import network
from .test_golden import CASES


@pytest.mark.parametrize("name", CASES)
def test_every_reference_hull(golden, name):
    """The published grid lacks two points, (0.8, 0.2) and (0.9, 0.1); without them all eight numbers are equal."""
    file = np.load(golden / "level_sets" / f"{name}.npz")
    model, kept = network(file), file["kept"]
    source, label = torch.tensor(file["source"][kept]), torch.tensor(file["source_label"][kept])
    end = torch.tensor(file["final"])
    for k, (i, j) in enumerate(file["hull_vertices"].tolist()):
        found = hull_scan(model, source[i], end[i], end[j], label[i], strict=True)
        t = (10 * found.grid[:, 1:]).round().int()
        there = ~(((t[:, 0] == 8) & (t[:, 1] == 2)) | ((t[:, 0] == 9) & (t[:, 1] == 1)))
        p, start = found.values[there], found.source_confidence
        assert (len(found.values), len(p)) == (66, 64)
        ours = [
            start,
            p.mean(),
            *((p > start - d).double().mean() for d in (0, 0.1, 0.2, 0.3)),
            found.edge_drop,
            found.edge_mean,
        ]
        shares = slice(2, 6)
        tolerance = 1e-7 if str(file["act"]) == "relu" else 1e-9
        np.testing.assert_allclose(
            np.delete(ours, shares), np.delete(file["hull"][k], shares), atol=tolerance
        )
        np.testing.assert_allclose(ours[shares], file["hull"][k][shares], atol=1e-12)


def sloped():
    """Two classes; the probability of the first is sigmoid(2 x_0)."""
    model = nn.Linear(3, 2, bias=False)
    model.weight.data = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])
    return model


def test_a_linear_model_along_segment_triangle_and_circle():
    model, label = sloped(), torch.tensor([0])
    source, target = torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([[0.5, 0.9, 0.1]])
    found = traverse(model, source, target, eps=0.0)
    p = float(torch.sigmoid(torch.tensor(1.0)))
    torch.testing.assert_close(segment_scan(model, source, found.end, label, 5), torch.full((1, 5), p))
    hull = hull_scan(model, source[0], found.end[0], target[0], label[0], n=4, thresholds=(1e-9,))
    assert hull.fractions == (1.0,)
    assert hull.mean == pytest.approx(p)
    assert hull.to_dict()["values"] == pytest.approx([p] * 15)
    assert star_report(model, found)["holds"] == [True]
    width = path_width(model, found, step=0, radii=(0.1, 0.3), bounds=(-1, 2))
    low, high = (torch.sigmoid(torch.tensor(1.0) + s * 2 * 0.3) for s in (-1, 1))
    assert width.shape == (1, 2, 2)
    assert (
        float(low)
        <= float(width[0, 1, 0])
        < float(width[0, 0, 0])
        < p
        < float(width[0, 0, 1])
        < float(width[0, 1, 1])
    )
    assert float(width[0, 1, 1]) <= float(high)


def test_strict_leaves_the_source_itself_out():
    corner = torch.zeros(3)
    given = sloped(), corner, -torch.eye(3)[0], -torch.eye(3)[0], torch.tensor(0)
    assert hull_scan(*given, n=1).fractions[0] == pytest.approx(1 / 3)
    assert hull_scan(*given, n=1, strict=True).fractions[0] == 0


def test_distances():
    a = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    same = image_distance(a, a, lpips=lambda x, y: (x - y).flatten(1).sum(1))
    assert [float(same[name].sum()) for name in ("rmse", "linf", "ssim", "lpips")] == [0, 0, 2, 0]
    far = image_distance(a, a + 0.1)
    torch.testing.assert_close(far["rmse"], torch.full((2,), 0.1))
    torch.testing.assert_close(far["linf"], torch.full((2,), 0.1))
    assert float(far["ssim"].max()) < 1
    assert "ssim" not in image_distance(a[..., :5], a[..., :5])
    with pytest.raises(ValueError, match="b: want the shape of a"):
        image_distance(a, a[:1])


def test_wrong_calls_are_answered():
    model, x, label = sloped(), torch.zeros(1, 3), torch.tensor([0])
    with pytest.raises(ValueError, match="points: want"):
        segment_scan(model, x, x, label, 1)
    with pytest.raises(ValueError, match="end: want the shape of the source"):
        segment_scan(model, x, x[:, :2], label)
    with pytest.raises(ValueError, match="first: want the shape of the source"):
        hull_scan(model, x[0], x[0, :2], x[0], label[0])
