"""The callback measures what the optimiser gets, at the steps it should, and its rows survive a checkpoint."""

import json
import warnings

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isocline.binary.equilibrium import Equilibrium, EquilibriumCallback
from isocline.binary.indicators import estimating_error_rms, flip_ratio, gradient_stability
from isocline.binary.layers import BinaryLinear


class Plain(LightningModule):
    """Somebody's module; it writes down by hand what the callback should see."""

    def __init__(self):
        super().__init__()
        self.binary, self.head = BinaryLinear(6, 8), nn.Linear(8, 2)
        self.seen = []

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self.head(self.binary(x)), y)

    def on_after_backward(self):
        w, estimator = self.binary.weight.detach().clone(), self.binary.weight_estimator
        error = estimating_error_rms(w, estimator.primitive)
        self.seen.append((float(error), float(gradient_stability(self.binary.weight.grad)), w))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 2.0)  # signs change


def _train(callback, **how):
    torch.manual_seed(0)
    module = Plain()
    data = TensorDataset(torch.randn(12, 6), torch.randint(2, (12,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, on workers and on its own calls of torch
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", callbacks=[callback], enable_progress_bar=False, **quiet, **how
        )
        trainer.fit(module, DataLoader(data, 3))
    return module, trainer


def test_rows_are_what_the_optimiser_got(tmp_path):
    callback = EquilibriumCallback(3, path=tmp_path / "pictures" / "balance.png")
    module, trainer = _train(callback)
    rows = callback.equilibrium.rows
    assert [row.step for row in rows] == [1, 4, 7]  # steps 0, 3 and 6, counted behind the step
    for row in rows:
        error, stability, before = module.seen[row.step - 1]
        assert row.error_rms == pytest.approx(error)
        assert row.stability == pytest.approx(stability)
        assert row.flips == float(flip_ratio(before, module.seen[row.step][2]))
        assert row.sharpness == 1.0
    assert sum(row.flips for row in rows) > 0  # signs really changed
    assert trainer.callback_metrics["estimating_error_rms"] == pytest.approx(rows[-1].error_rms)
    assert (tmp_path / "pictures" / "balance.png").stat().st_size > 10_000


def test_accumulated_batches_are_one_step():
    callback = EquilibriumCallback(1)
    _train(callback, accumulate_grad_batches=2)
    assert [row.step for row in callback.equilibrium.rows] == [1, 2, 3, 4]


def test_rows_survive_a_checkpoint():
    callback, other = EquilibriumCallback(2), EquilibriumCallback(2)
    _train(callback)
    other.load_state_dict(json.loads(json.dumps(callback.state_dict())))
    assert other.equilibrium == callback.equilibrium
    json.dumps(callback.equilibrium.to_dict(), allow_nan=False)


def test_pictures():
    callback = EquilibriumCallback(1)
    _train(callback)
    axes = callback.equilibrium.plot()
    assert [bool(ax.get_xlabel()) for ax in axes] == [True, True, True]
    axes[0].figure.draw_without_rendering()
    ax = plt.figure().subplots()
    assert callback.equilibrium.plot(ax) is ax
    with pytest.raises(ValueError, match="equilibrium: want at least one measured step, got none"):
        Equilibrium(()).plot()


def test_wrong_calls_are_answered():
    with pytest.raises(ValueError, match="every: want a whole number >= 1"):
        EquilibriumCallback(0)
    with pytest.raises(ValueError, match="model: want binary layers in it, got Linear"):
        _train(EquilibriumCallback(model=nn.Linear(2, 2)))
