"""The batch rules as a torch optimiser."""

import copy

import numpy as np
import pytest
import torch

from isocline.linear_model import PerceptronGD, stop_at_separation
from isocline.linear_model.functional import WEIGHTS, class_weights

RULES = [
    (True, False, 10.0, "nlrgd_g10_iterates", 1e-5),
    (True, False, 1e3, "nlrgd_g1000_iterates", 1e-5),
    (False, False, 1e3, "lrgd_g1000_iterates", 1e-9),
    (True, True, 1.0, "nbp_iterates", 1e-9),
    (False, True, 1.0, "bp_iterates", 1e-9),
]


def data(golden, name="hard_200x10"):
    with np.load(golden / "large_step" / f"{name}.npz") as g:
        return (
            torch.tensor(g["X"]),
            torch.tensor(g["y"]),
            {key: torch.tensor(g[key]) for key in g if "iterates" in key},
        )


class TestGolden:
    @pytest.mark.parametrize(("normalize", "hard", "lr", "key", "allowed"), RULES)
    @pytest.mark.parametrize("pair", [False, True])
    @pytest.mark.parametrize("name", ["hard_200x10", "worst_case_100", "two_point"])
    def test_paths(self, golden, name, pair, normalize, hard, lr, key, allowed):
        X, y, paths = data(golden, name)
        theta = torch.nn.Parameter(torch.zeros(X.shape[1]))
        optimizer = PerceptronGD([theta], lr=lr, normalize=normalize, hard=hard)
        for expected in paths[key]:
            assert (theta.detach() - expected).abs().max() / lr < allowed
            margins = optimizer.step(lambda: (X @ theta, y) if pair else y * (X @ theta))
        assert not margins.requires_grad

    def test_it_stops_where_the_count_says(self, golden):
        X, y, _ = data(golden)
        theta = torch.nn.Parameter(torch.zeros(10))
        optimizer = PerceptronGD([theta], hard=True)
        counts = [t for t in range(111) if stop_at_separation(optimizer.step(lambda: y * (X @ theta)))]
        assert counts == [109, 110]
        rest = theta.detach().clone()
        optimizer.step(lambda: y * (X @ theta))
        assert torch.equal(theta.detach(), rest)  # no row is wrong: nothing moves


class TestClasses:
    @pytest.mark.parametrize(
        ("normalize", "hard"), [(True, False), (False, False), (True, True), (False, True)]
    )
    def test_softmax_steps_and_their_limits(self, normalize, hard):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
        model = torch.nn.Linear(3, 4, bias=False)
        torch.nn.init.zeros_(model.weight)
        optimizer = PerceptronGD(model.parameters(), normalize=normalize, hard=hard)
        theta = np.zeros((4, 3))
        name = ("normalized_" if normalize else "") + ("batch_perceptron" if hard else "lr_gd")
        for t in range(6):
            tie = 3 / 4 if t == 0 else 1.0
            w = class_weights(X @ theta.T, y, np.inf if hard else 1.0, rule=WEIGHTS[name], tie=tie)
            theta = theta + w.T @ X
            optimizer.step(lambda: (model(torch.tensor(X)), torch.tensor(y)))
            np.testing.assert_allclose(model.weight.detach(), theta, atol=1e-9)


class TestOptimizer:
    def problem(self):
        torch.manual_seed(0)
        model, x = (
            torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)),
            torch.randn(10, 3),
        )
        y = torch.where(x[:, 0] > 0, 1.0, -1.0)
        return model, lambda: y * model(x).squeeze(-1)

    def test_groups_have_their_own_rates(self):
        model, closure = self.problem()
        before = copy.deepcopy(list(model.parameters()))
        groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters()}]
        optimizer = PerceptronGD(groups, lr=2.0)
        optimizer.step(closure)
        for p, old, lr in zip(model.parameters(), before, [0.1, 0.1, 2.0, 2.0], strict=True):
            torch.testing.assert_close(p.detach(), (old - lr * p.grad).detach())
            assert p.grad.abs().max() > 0

    def test_only_its_own_parameters(self):
        model, closure = self.problem()
        frozen = model[2].bias.requires_grad_(False)
        spare = torch.nn.Parameter(torch.ones(2))  # not in the graph
        others = list(model[0].parameters())
        optimizer = PerceptronGD([model[2].weight, frozen, spare])
        optimizer.step(closure)
        assert torch.equal(spare.detach(), torch.ones(2))
        assert frozen.grad is None
        assert all(p.grad is None for p in others)  # and no gradient is left on what it does not own

    def test_old_gradients_are_not_added(self):
        model, closure = self.problem()
        twin = copy.deepcopy(model)
        for p in model.parameters():
            p.grad = torch.full_like(p, 1e6)
        PerceptronGD(model.parameters()).step(closure)
        assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e5
        assert [p.shape for p in twin.parameters()] == [p.shape for p in model.parameters()]

    def test_a_schedule(self):
        theta = torch.nn.Parameter(torch.zeros(1))
        optimizer = PerceptronGD([theta], lr=8.0, hard=True, normalize=False)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        places = []
        for _ in range(4):
            optimizer.step(lambda: torch.stack([theta[0] - 100.0]))
            schedule.step()
            places.append(theta.item())
        assert places == [8.0, 12.0, 14.0, 15.0]

    def test_saved_and_loaded_it_goes_on_as_it_would_have(self, tmp_path):
        rows = torch.tensor([[0.5, -1.0]] + [[0.5, 1.0]] * 99)

        def run(steps, theta, optimizer):
            for _ in range(steps):
                optimizer.step(lambda: rows @ theta)
            return theta.detach().clone()

        whole = torch.nn.Parameter(torch.zeros(2))
        expected = run(31, whole, PerceptronGD([whole], normalize=False, hard=True))
        assert (rows @ expected > 0).all()
        first = torch.nn.Parameter(torch.zeros(2))
        optimizer = PerceptronGD([first], normalize=False, hard=True)
        run(1, first, optimizer)  # the half step is behind
        torch.save(optimizer.state_dict(), tmp_path / "state.pt")
        second = torch.nn.Parameter(first.detach().clone())
        other = PerceptronGD([second], lr=5.0)
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert torch.equal(run(30, second, other), expected)
        assert (rows @ run(0, second, other) > 0).all()

    def test_copies_and_prints(self):
        optimizer = PerceptronGD([torch.nn.Parameter(torch.zeros(1))], lr=3.0)
        assert copy.deepcopy(optimizer).param_groups[0]["lr"] == 3.0
        assert "hard: False" in repr(optimizer)

    def test_gradients_stay_off_outside(self):
        theta = torch.nn.Parameter(torch.zeros(1))
        with torch.no_grad():  # as in an evaluation loop: the step turns gradients on for itself
            PerceptronGD([theta]).step(lambda: theta * torch.ones(3))
        assert theta.item() == 1.0
        assert theta.is_leaf

    def test_sparse_gradients_and_half_precision(self):
        table = torch.nn.Embedding(5, 1, sparse=True)
        torch.nn.init.zeros_(table.weight)
        PerceptronGD(table.parameters(), lr=2.0).step(lambda: table(torch.tensor([1, 3])).squeeze(-1))
        np.testing.assert_allclose(table.weight.detach()[:, 0], [0, 1, 0, 1, 0])
        theta = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        PerceptronGD([theta]).step(lambda: torch.ones(4, 2, dtype=torch.bfloat16) @ theta)
        assert torch.equal(theta.detach(), torch.ones(2, dtype=torch.bfloat16))


THETA = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
CLOSURES = [
    (lambda: THETA.sum(), "closure: want the margins .* got a scalar; return y \\* model"),
    (lambda: torch.ones(3, 2) @ THETA[:, None], "closure: want the margins .* got a tensor of shape"),
    (lambda: None, "closure: want the margins .* got None"),
    (lambda: THETA @ torch.ones(2, 0), "closure: want the margins"),
    (
        lambda: torch.ones(3),
        "closure: want margins that depend on the parameters, got margins without a gradient",
    ),
    (lambda: (torch.ones(3, 2) @ THETA, torch.ones(2)), r"y: want one label a sample, \(3,\), got \(2,\)"),
]


@pytest.mark.parametrize(("closure", "message"), CLOSURES, ids=range(len(CLOSURES)))
def test_wrong_closures(closure, message):
    with pytest.raises(ValueError, match=message):
        PerceptronGD([THETA]).step(closure)


def test_wrong_calls():
    with pytest.raises(
        TypeError, match="closure: want a function that returns margins, got None; pass lambda"
    ):
        PerceptronGD([THETA]).step()
    for lr, message in (
        (0.0, "lr: want a finite number > 0, got 0.0"),
        (-1.0, "got -1.0"),
        (float("nan"), "got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            PerceptronGD([THETA], lr=lr)
    with pytest.raises(
        ValueError, match="lr: want a finite number > 0, got inf; hard=True is the limit of large steps"
    ):
        PerceptronGD([THETA], lr=float("inf"))
    with pytest.raises(
        ValueError, match="hard: want False in every group, got True; samples are weighed once for all"
    ):
        PerceptronGD([{"params": [THETA], "hard": True}])
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        PerceptronGD([])
