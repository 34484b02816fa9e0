"""The loss whose gradient is beta times that of the logistic loss."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.linear_model import functional, normalized_logistic_loss
from isocline.linear_model.losses import logistic_report, margin_weights, margins_of

LOGITS = arrays(np.float64, st.integers(1, 12), elements=st.floats(-20, 20))
SCORES = arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.floats(-20, 20))


def gradient(loss, *inputs):
    return torch.autograd.grad(loss, inputs)[0]


class TestTheLaw:
    """The gradient is exactly beta times that of the mean logistic loss."""

    @given(LOGITS, st.data())
    def test_two_classes(self, values, data):
        y = torch.tensor(data.draw(arrays(np.int64, len(values), elements=st.sampled_from([-1, 1]))))
        logits = torch.tensor(values, requires_grad=True)
        mine = gradient(normalized_logistic_loss(logits, y), logits)
        f = F.softplus(-y * logits).mean()
        beta = 1 / torch.sigmoid(-y * logits.detach()).mean()
        torch.testing.assert_close(mine, beta * gradient(f, logits), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(mine.abs().sum(), torch.tensor(1.0))

    @given(SCORES, st.data())
    def test_many_classes(self, values, data):
        y = torch.tensor(
            data.draw(arrays(np.int64, len(values), elements=st.integers(0, values.shape[1] - 1)))
        )
        scores = torch.tensor(values, requires_grad=True)
        mine = gradient(normalized_logistic_loss(scores, y), scores)
        wrong = 1 - torch.softmax(scores.detach(), dim=1).gather(1, y[:, None])[:, 0]
        if wrong.mean() > 1e-6:  # below, 1 - p has lost its digits
            expected = gradient(F.cross_entropy(scores, y), scores) / wrong.mean()
            torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(mine, torch.tensor(-functional.class_weights(values, y.numpy(), 1.0)))

    def test_sgd_with_it_is_the_paper_s_method(self, golden):
        with np.load(golden / "large_step" / "hard_200x10.npz") as g:
            X, y = torch.tensor(g["X"]), torch.tensor(g["y"])
            for key, step, allowed in (
                ("1", 1.0, 1e-12),
                ("10", 10.0, 1e-5),
                ("1000", 1e3, 1e-5),
                ("1e+06", 1e6, 1e-12),
            ):
                theta = torch.nn.Parameter(torch.zeros(10))
                optimizer = torch.optim.SGD([theta], lr=step)
                for expected in g[f"nlrgd_g{key}_iterates"]:
                    off = (theta.detach() - torch.tensor(expected)).abs().max() / step
                    assert off < allowed  # rounding grows along the path: 8e-7 after 50 steps of 10
                    optimizer.zero_grad()
                    normalized_logistic_loss(X @ theta, y).backward()
                    optimizer.step()

    def test_far_beyond_where_sigmoids_underflow(self):
        for dtype, size in ((torch.float32, 1e30), (torch.float64, 1e300)):
            logits = torch.tensor([1.0, 2.0, 1.0], dtype=dtype) * size
            logits.requires_grad_()
            torch.testing.assert_close(
                gradient(normalized_logistic_loss(logits, torch.ones(3)), logits).sum().item(), -1.0
            )
            scores = torch.stack([logits, torch.zeros_like(logits)], dim=1)
            loss = normalized_logistic_loss(scores, torch.zeros(3, dtype=torch.long))
            assert torch.isfinite(gradient(loss, logits)).all()


class TestLabels:
    def test_signs_zero_one_and_booleans_are_one_thing(self):
        logits = torch.tensor([0.3, -2.0, 1.0])
        expected = normalized_logistic_loss(logits, torch.tensor([-1.0, 1.0, 1.0]))
        for y in ([-1, 1, 1], [0, 1, 1], [False, True, True], [0.0, 1.0, 1.0]):
            torch.testing.assert_close(normalized_logistic_loss(logits, torch.tensor(y)), expected)
            torch.testing.assert_close(
                normalized_logistic_loss(logits[:, None], torch.tensor(y)[:, None]), expected
            )
            torch.testing.assert_close(normalized_logistic_loss(logits[:, None], torch.tensor(y)), expected)

    def test_two_columns_are_the_difference_of_the_scores(self):
        scores, y = torch.tensor([[0.3, 1.0], [2.0, -1.0]]), torch.tensor([1, 1])
        torch.testing.assert_close(margins_of(scores, y), scores[:, 1] - scores[:, 0])

    def test_hard_margins(self):
        scores, y = torch.tensor([[1.0, 1.0, 1.0], [0.0, 5.0, 1.0]], requires_grad=True), torch.tensor([0, 1])
        hard = margins_of(scores, y, hard=True)
        torch.testing.assert_close(hard, torch.tensor([0.0, 4.0]))
        expected = torch.tensor([[1.0, -0.5, -0.5], [0.0, 1.0, -1.0]])  # wrong classes that tie share
        torch.testing.assert_close(gradient(hard.sum(), scores), expected)
        assert (margins_of(scores, y) <= hard).all()


class TestWeights:
    @given(LOGITS)
    def test_are_those_of_the_rules(self, m):
        margins = torch.tensor(m)
        for normalize, hard, rule, step in (
            (True, False, functional.normalized_lr_gd_weights, 1.0),
            (False, False, functional.lr_gd_weights, 1.0),
            (True, True, functional.normalized_batch_perceptron_weights, np.inf),
            (False, True, functional.batch_perceptron_weights, np.inf),
        ):
            for tie in (0.5, 1.0):
                mine = margin_weights(margins, normalize=normalize, hard=hard, tie=tie)
                np.testing.assert_allclose(mine, rule(m, step, tie=tie), rtol=1e-9, atol=1e-300)

    def test_carry_no_gradient(self):
        assert not margin_weights(torch.zeros(3, requires_grad=True)).requires_grad


class TestTorch:
    logits = torch.linspace(-3, 3, 12, dtype=torch.float64)
    y = torch.arange(12) % 2

    def test_compile(self):
        for logits, y in ((self.logits, self.y), (self.logits.reshape(4, 3), self.y[:4])):
            compiled = torch.compile(normalized_logistic_loss, fullgraph=True, backend="aot_eager")
            a, b = (logits.clone().requires_grad_() for _ in range(2))
            torch.testing.assert_close(
                gradient(compiled(a, y), a), gradient(normalized_logistic_loss(b, y), b)
            )

    def test_vmap_of_the_gradient(self):
        batch, y = self.logits.reshape(3, 4), self.y.reshape(3, 4)
        mine = torch.vmap(torch.func.grad(normalized_logistic_loss))(batch, y)
        one = [torch.func.grad(normalized_logistic_loss)(x, t) for x, t in zip(batch, y, strict=True)]
        torch.testing.assert_close(mine, torch.stack(one))
        scores = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
        assert (
            torch.vmap(torch.func.grad(normalized_logistic_loss))(scores, torch.ones(2, 5, dtype=torch.long))
            .isfinite()
            .all()
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_sums_in_float32_at_least(self, dtype):
        logits = self.logits.to(dtype).requires_grad_()
        loss = normalized_logistic_loss(logits, self.y)
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert gradient(loss, logits).dtype == dtype
        expected = normalized_logistic_loss(logits.detach().double(), self.y)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)

    def test_under_autocast(self):
        model, x = torch.nn.Linear(5, 1, dtype=torch.float32), torch.ones(12, 5, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x)
            loss = normalized_logistic_loss(logits, self.y)
        assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
        loss.backward()
        assert model.weight.grad.dtype == torch.float32

    def test_strided_and_broadcast_inputs(self):
        wide = self.logits.repeat(2, 1).T  # (12, 2) with strides (1, 12)
        torch.testing.assert_close(
            normalized_logistic_loss(wide[:, 0], self.y), normalized_logistic_loss(self.logits, self.y)
        )
        same = torch.ones(1).expand(12)
        assert normalized_logistic_loss(same, self.y).isfinite()

    def test_any_model_and_mini_batches(self):
        torch.manual_seed(0)
        x = torch.randn(64, 2)
        y = (x[:, 0] * x[:, 1] > 0).long()  # no line separates it
        model = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        before = logistic_report(model(x), y)["wrong"]
        for _ in range(200):
            for part in torch.randperm(64).split(16):
                optimizer.zero_grad()
                normalized_logistic_loss(model(x[part]), y[part]).backward()
                optimizer.step()
        assert logistic_report(model(x), y)["wrong"] < before / 4


def test_report():
    logits, y = torch.tensor([2.0, -1.0, 0.0], requires_grad=True), torch.tensor([1, 1, 1])
    report = logistic_report(logits, y)
    assert {name: value.requires_grad for name, value in report.items()} == dict.fromkeys(
        ["logistic_loss", "log_beta", "min_margin", "wrong"], False
    )
    torch.testing.assert_close(report["logistic_loss"], F.softplus(-logits.detach()).mean())
    torch.testing.assert_close(report["log_beta"], -torch.sigmoid(-logits.detach()).mean().log())
    assert (report["min_margin"].item(), report["wrong"].item()) == (-1.0, 2)
    scores, index = torch.tensor([[1.0, 0.9, 0.9]]), torch.tensor([0])
    assert (
        logistic_report(scores, index)["wrong"] == 0
    )  # right, though softmax gives the others more together
    torch.testing.assert_close(
        logistic_report(scores, index)["logistic_loss"], F.cross_entropy(scores, index)
    )


WRONG = [
    (
        (torch.tensor(1.0), torch.tensor(1)),
        ValueError,
        r"logits: want \(n,\) or \(n, K\) with n >= 1, got \(\)",
    ),
    ((torch.zeros(0), torch.zeros(0)), ValueError, r"logits: want .* got \(0,\)"),
    ((torch.zeros(2, 3, 4), torch.zeros(2)), ValueError, r"logits: want .* got \(2, 3, 4\)"),
    ((torch.zeros(3), torch.zeros(2)), ValueError, r"y: want one label a sample, \(3,\), got \(2,\)"),
    (
        (torch.zeros(3, 2), torch.zeros(3, 2)),
        ValueError,
        r"y: want .* got \(3, 2\); pass class indices, not one-hot rows",
    ),
    (
        (torch.zeros(3, 2), torch.zeros(3)),
        TypeError,
        r"y: want class indices as whole numbers, got torch.float32; pass",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), WRONG, ids=[re.sub(r"\W+", " ", m)[:40] for *_, m in WRONG]
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        normalized_logistic_loss(*call)


def test_an_index_that_is_no_class():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        normalized_logistic_loss(torch.zeros(2, 3), torch.tensor([0, 3]))
