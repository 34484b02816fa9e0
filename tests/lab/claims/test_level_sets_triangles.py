"""The triangles of blind spots: at which point of a path, how long a leg, which points of the grid."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.lab.claims.level_sets.triangles import (
    at_distance,
    fractions,
    no_longer,
    triangle_confidences,
)
from isocline.level_sets import hull_scan
from isocline.level_sets.measures import rmse

seeds = st.integers(0, 2**31 - 1)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seeds, st.floats(0.0, 1.0))
def test_the_point_found_is_at_the_distance_asked_for(seed, share):
    path, target = drawn(seed, 5, 7, 2, 3), drawn(seed + 1, 5, 2, 3)
    between = torch.stack([rmse(path[:, k], target) for k in range(7)])
    distance = torch.lerp(between.amin(0), between[0], share)  # a path may come near and leave again
    assert torch.allclose(rmse(at_distance(path, target, distance), target), distance, atol=1e-6)


def test_it_is_the_first_such_point_of_the_straight_lines():
    path = torch.tensor([[[0.0], [4.0], [2.0], [6.0]]])  # at 5 away, 1, 3 and 1 again
    for distance, place in ((5.0, 0.0), (4.0, 1.0), (2.0, 3.0), (1.0, 4.0)):
        found = at_distance(path, torch.tensor([[5.0]]), torch.tensor([distance]))
        assert torch.allclose(found, torch.tensor([[place]]))


def test_a_path_that_starts_nearer_gives_its_start_and_one_that_stays_away_its_nearest():
    path, target = torch.tensor([[[1.0], [3.0], [2.0]]]), torch.tensor([[9.0]])
    assert at_distance(path, target, torch.tensor([20.0])).item() == 1
    assert at_distance(path, target, torch.tensor([0.5])).item() == 3
    still = torch.ones(1, 4, 1)
    assert at_distance(still, target, torch.tensor([8.0])).item() == 1


@given(seeds)
def test_legs_are_cut_to_the_shorter_one_in_their_own_direction(seed):
    source, one, two = (drawn(seed + i, 4, 3, 2) for i in range(3))
    cut, legs = no_longer(source, one, two), [rmse(x, source) for x in (one, two)]
    assert torch.allclose(rmse(cut, source), torch.minimum(*legs))
    cosine = torch.cosine_similarity((cut - source).flatten(1), (one - source).flatten(1))
    assert torch.allclose(cosine, torch.ones(4))


def test_a_blind_spot_that_is_its_source_stays():
    source = drawn(0, 2, 3)
    assert torch.equal(no_longer(source, source.clone(), drawn(1, 2, 3)), source)


def test_all_triangles_at_once_are_the_scans_one_by_one():
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(6, 5), torch.nn.GELU(), torch.nn.Linear(5, 3)
    )
    source, ends, label = drawn(0, 2, 2, 3), drawn(1, 2, 3, 2, 3), torch.tensor([0, 2])
    together = triangle_confidences(model, source, ends, label, n=4)
    shares = fractions(together, (0.0, 0.1))
    assert together.shape == (2, 3, 15)
    for s in range(2):
        scans = [
            hull_scan(model, source[s], ends[s, i], ends[s, j], label[s], n=4, thresholds=(0.0, 0.1))
            for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        assert torch.allclose(together[s], torch.stack([scan.values for scan in scans]))
        alone = torch.tensor([scan.fractions for scan in scans]).mean(0)
        assert torch.allclose(shares[s], alone.to(shares))
