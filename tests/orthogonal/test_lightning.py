"""The callback adds the same gradient as the penalty in the loss, once a step, before clipping."""

import warnings

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isocline.orthogonal import OrthogonalCallback, OrthogonalPenalty


class Plain(LightningModule):
    """Somebody's module, which knows nothing of us; `penalty` is the same by hand."""

    def __init__(self, weight=0.0):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 2)
        self.weight = weight

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self.head(self.conv(x).mean((2, 3))), y)
        return loss + OrthogonalPenalty(self, weight=self.weight)() if self.weight else loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


def _train(module, callbacks=(), **how):
    g = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(12, 2, 6, 6, generator=g), torch.randint(2, (12,), generator=g))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, on workers and on its own calls of torch
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=list(callbacks),
            enable_progress_bar=False,
            **quiet,
            **how,
        )
        trainer.fit(module, DataLoader(data, 3))
    return trainer


def _twins():
    one, other = Plain(), Plain(weight=0.3)
    other.load_state_dict(one.state_dict())
    return one, other


@pytest.mark.parametrize(
    "how",
    [{}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}],
    ids=["plain", "accumulated", "clipped"],
)
def test_it_trains_as_the_penalty_in_the_loss_does(how):
    one, other = _twins()
    callback = OrthogonalCallback(weight=0.3)
    trainer = _train(one, [callback], **how)
    _train(other, **how)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
    assert callback.penalty.layers == ("conv",)
    logged = float(trainer.callback_metrics["orthogonal_penalty"])
    assert logged == pytest.approx(
        0.3 * callback.penalty.values()["conv"], rel=0.5
    )  # of the step before the last


def test_only_the_named_part_is_regularised_and_only_by_its_optimizer():
    class Two(Plain):
        def __init__(self):
            super().__init__()
            self.other = nn.Conv2d(2, 4, 3)
            self.automatic_optimization = False

        def training_step(self, batch, index):
            ours, theirs = self.optimizers()
            for optimizer in (ours, theirs):
                optimizer.zero_grad()
                self.manual_backward(super().training_step(batch, index))
                optimizer.step()

        def configure_optimizers(self):
            parts = ([*self.conv.parameters(), *self.head.parameters()], self.other.parameters())
            return [torch.optim.SGD(part, 0.05) for part in parts]

    module = Two()
    callback = OrthogonalCallback(weight=0.3, every=9, model=module.conv)
    before = module.other.weight.clone()
    _train(module, [callback])
    assert callback.penalty.layers == ("",)
    assert callback.state_dict() == {"turn": 8}  # once a step, not once an optimiser
    assert torch.equal(module.other.weight, before)


def test_its_place_between_two_computations_is_kept():
    first, second = OrthogonalCallback(weight=0.3, every=17), OrthogonalCallback(weight=0.3, every=17)
    _train(Plain(), [first])
    second.load_state_dict(first.state_dict())
    _train(Plain(), [second])
    assert second.state_dict() == {"turn": 16}
