"""Training: a run that was killed anywhere ends as one that was not, and says that it did resume."""

import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from isocline.training import Classifier, Diverged, Recipe, evaluate, fit
from isocline.training.loader import Loader


class Kill(Callback):
    """Raises where the given step would begin."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step >= self.step:
            raise KeyboardInterruptInTest


class KeyboardInterruptInTest(Exception):
    pass


class Draws(Callback):
    """Uses all global generators in every step, as an augmentation of somebody else may do, and adds them up."""

    def __init__(self):
        self.numbers = []

    def on_train_batch_end(self, *args):
        self.numbers.append((random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002

    def state_dict(self):
        return {"numbers": self.numbers}

    def load_state_dict(self, state):
        self.numbers = state["numbers"]


class Weighing:
    """A penalty with a state: the number of its calls."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def __call__(self):
        self.calls += 1
        return 1e-3 * self.calls * self.model[0].weight.square().sum()

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def _run(network, data, recipe, *, killed_at=None, **how):
    model, draws = network(), Draws()
    callbacks = [draws] if killed_at is None else [draws, Kill(killed_at)]
    try:
        found = fit(
            model,
            data,
            data,
            recipe=recipe,
            penalty=Weighing(model),
            callbacks=callbacks,
            device="cpu",
            **how,
        )
    except KeyboardInterruptInTest:
        return None
    return {
        "weights": model.state_dict(),
        "history": found.history,
        "draws": draws.numbers,
        "at": found.resumed_at,
    }


def _assert_same(found, whole):
    assert all(torch.equal(value, whole["weights"][name]) for name, value in found["weights"].items())
    assert found["history"] == whole["history"]
    assert found["draws"] == whole["draws"]


@pytest.fixture
def whole(network, data, recipe):
    return _run(network, data, recipe)


@pytest.mark.parametrize(
    ("every", "killed_at", "resumes_at"),
    [(None, 9, 7), (None, 7, 7), (None, 20, 14), (1, 3, 3), (2, 13, 12), (3, 14, 14), (5, 8, 7), (1, 20, 20)],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path, network, data, recipe, whole, every, killed_at, resumes_at
):
    assert _run(network, data, recipe, killed_at=killed_at, folder=tmp_path, save_every=every) is None
    found = _run(network, data, recipe, folder=tmp_path, save_every=every)
    assert found["at"] == resumes_at  # it did resume, and from there
    _assert_same(found, whole)


def test_killed_again_and_again(tmp_path, network, data, recipe, whole):
    for killed_at in (2, 6, 7, 8, 15, 19):
        assert _run(network, data, recipe, killed_at=killed_at, folder=tmp_path, save_every=1) is None
    _assert_same(_run(network, data, recipe, folder=tmp_path), whole)
    again = _run(network, data, recipe, folder=tmp_path)  # a finished run stays as it is
    assert again["at"] == 21
    _assert_same(again, whole)


def test_the_seed_decides_and_the_global_generators_do_not(network, data, recipe, whole):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    _assert_same(_run(network, data, recipe), whole)
    assert states[0] == random.getstate()
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert torch.equal(states[2], torch.get_rng_state())
    other = _run(network, data, Recipe(epochs=3, batch_size=8, seed=1))
    assert other["history"] != whole["history"]


def test_one_step_is_torchs_step(data):
    """Plain gradient descent on the whole of the data, by hand."""
    model, twin = (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    recipe = Recipe(epochs=1, batch_size=50, optimizer="sgd", momentum=0.0, lr=0.1, schedule="constant")
    found = fit(model, data, data, recipe=recipe, device="cpu")
    loss = nn.functional.cross_entropy(twin(data[0]), data[1])
    loss.backward()
    right = (twin(data[0]).argmax(1) == data[1]).double().mean()
    with torch.no_grad():
        for p in twin.parameters():
            p -= 0.1 * p.grad
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)  # the order of the examples differs
    held_out = {f"val_{name}": value for name, value in evaluate(twin, data).items()}
    expected = {
        "epoch": 1,
        "step": 1,
        "lr": 0.1,
        "loss": float(loss.detach()),
        "accuracy": float(right),
    } | held_out
    assert found.metrics == pytest.approx(expected, rel=1e-12)


def test_a_network_learns_what_can_be_learned():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (200,), generator=g)
    images = (0.3 * torch.rand(200, 1, 4, 4, generator=g) + 0.6 * labels.view(-1, 1, 1, 1)) * 255
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    fit(
        model,
        (images.to(torch.uint8), labels),
        recipe=Recipe(epochs=20, batch_size=20, lr=0.05),
        device="cpu",
    )
    assert evaluate(model, (images.to(torch.uint8), labels))["accuracy"] == 1.0


def test_divergence_is_reported_and_the_last_good_state_is_kept(tmp_path, network, data, recipe):
    class Break(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 10:
                nn.init.constant_(module.model[5].bias, float("nan"))

    with pytest.raises(Diverged, match="loss: not finite at step 10; lower lr"):
        fit(network(), data, recipe=recipe, folder=tmp_path, callbacks=[Break()], device="cpu")
    model = network()
    found = fit(model, data, recipe=recipe, folder=tmp_path, device="cpu")
    assert found.resumed_at == 7
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_folder_of_another_recipe_is_refused(tmp_path, network, data, recipe):
    fit(network(), data, recipe=Recipe(epochs=1, lr=0.02), folder=tmp_path, device="cpu")
    with pytest.raises(
        ValueError,
        match=r"folder: want a run of this recipe, got one with .*lr = 0\.02.*; use another folder",
    ):
        fit(network(), data, recipe=recipe, folder=tmp_path, device="cpu")


def test_wrong_calls_are_answered(network, data, recipe):
    with pytest.raises(ValueError, match="device: want one of 'auto', 'cpu', 'cuda', 'mps', got 'gpu'"):
        fit(network(), data, recipe=recipe, device="gpu")
    with pytest.raises(ValueError, match="save_every: want a whole number >= 1, got 0"):
        fit(network(), data, recipe=recipe, save_every=0)


def test_the_classifier_works_in_a_trainer_of_ones_own(network, data, recipe):
    from isocline.training.fit import _quiet

    classifier = Classifier(network(), recipe, steps_per_epoch=7)
    with _quiet():
        from lightning.pytorch import Trainer

        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(classifier, Loader(data, 8, shuffle=True))
    assert [row["step"] for row in classifier.history] == [7]
    assert "penalty" not in classifier.history[0]
