"""The schedule: the published numbers, a resumed run, the laws of the other estimators; and the Lightning callback."""

import copy
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isocline.binary import BinaryConv2d, BinaryLinear, PowerCallback, PowerSchedule
from isocline.binary.functional import power


def _model(estimator="reste"):
    return nn.Sequential(
        BinaryConv2d(2, 4, 3, estimator=estimator), nn.Flatten(), BinaryLinear(16, 3, estimator=estimator)
    )


def _powers(model):
    return {float(value) for name, value in model.state_dict().items() if name.endswith(".o")}


def test_all_estimators_take_the_published_values(golden):
    stored = np.load(golden / "binary" / "schedule.npz")["o_end10_epochs20"]
    model = _model()
    schedule = PowerSchedule(model, 10, total=20)
    for want in stored:
        assert list(_powers(model)) == pytest.approx([want], rel=1e-12)
        schedule.step()
    assert list(_powers(model)) == pytest.approx([10.0])
    schedule.step()
    assert list(_powers(model)) == pytest.approx([10.0])


def test_a_resumed_run_has_the_same_powers():
    straight, schedule = _model(), None
    schedule = PowerSchedule(straight, total=7)
    for _ in range(5):
        schedule.step()
    resumed = _model()
    other = PowerSchedule(resumed, total=100)
    other.load_state_dict(schedule.state_dict())
    assert _powers(resumed) == _powers(straight) == {power(5 / 7)}
    model_only = _model()
    model_only.load_state_dict(straight.state_dict())
    assert _powers(model_only) == _powers(straight)
    schedule.step()
    other.step()
    assert _powers(resumed) == _powers(straight) == {schedule.o}


def test_a_copy_of_model_and_schedule_stays_a_pair():
    model = _model()
    other, schedule = copy.deepcopy((model, PowerSchedule(model, total=2)))
    schedule.step()
    assert _powers(other) == {power(0.5)}
    assert _powers(model) == {1.0}


@pytest.mark.parametrize(
    ("name", "attribute", "end"), [("ede", "t", 10.0), ("rbnn", "t", 10.0), ("progressive", "T", 1.0)]
)
def test_the_others_follow_their_own_laws(name, attribute, end):
    model = _model(name)
    schedule = PowerSchedule(model, total=4)
    seen = []
    for _ in range(5):
        seen.append(float(getattr(model[0].weight_estimator, attribute)))
        schedule.step()
    assert seen == sorted(set(seen))
    assert seen[-1] == pytest.approx(end)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PowerSchedule(nn.Linear(2, 2), total=3), "model: want binary layers in it, got Linear"),
        (lambda: PowerSchedule(_model(), 0.5, total=3), "o_end: want a finite number >= 1, got 0.5"),
        (lambda: PowerSchedule(_model(), total=0), "total: want a whole number >= 1, got 0"),
        (lambda: PowerCallback(every="batch"), "every: want one of 'epoch', 'step'"),
    ],
)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Seen(LightningModule):
    """Notes the power that every batch is trained with."""

    def __init__(self):
        super().__init__()
        self.model, self.seen = _model(), []

    def training_step(self, batch, index):
        (o,) = _powers(self.model)
        self.seen.append(o)
        return self.model(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def _fit(callback, epochs, limit=4, **how):
    module = Seen()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, on workers and on its own calls of torch
        quiet = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False}
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", callbacks=[callback], **quiet, enable_checkpointing=False
        )
        trainer.fit(module, DataLoader(TensorDataset(torch.randn(8, 2, 4, 4)), 2), **how)
    return trainer, module.seen


def test_the_callback_sets_it_before_every_epoch_or_step_and_after_a_resume(tmp_path):
    trainer, seen = _fit(PowerCallback(total=4), 2)
    assert seen == [power(0.0)] * 4 + [power(0.25)] * 4
    assert float(trainer.callback_metrics["o"]) == pytest.approx(power(0.25))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _, rest = _fit(PowerCallback(), 4, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert rest == [power(0.5)] * 4 + [power(0.75)] * 4
    _, steps = _fit(PowerCallback(every="step"), 2)
    assert steps == [power(step / 8) for step in range(8)]
    with pytest.raises(ValueError, match="total: want a number, for a trainer without end"):
        _fit(PowerCallback(), -1)
