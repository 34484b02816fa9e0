"""Mixing: shares add up, boxes are what they say, and a run with all of it resumes to the same bits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from isocline.training import Augment, Loader, Mix, Recipe, fit, mixed
from isocline.training.mixing import beta_share, cutmix, mixup, soft_targets
from isocline.training.recipe import loss_of

shares = st.floats(0, 1)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    shares,
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_a_cut_box_is_the_share_that_is_returned(height, width, share, top, left):
    """Image i is i everywhere, so that the pixels of the partner can be counted."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, height, width)
    out, kept = cutmix(images, share, (top, left))
    own = (out == images).double().mean((1, 2, 3))
    torch.testing.assert_close(own, torch.full((4,), kept), rtol=0, atol=1e-12)
    assert ((out == images) | (out == images.flip(0))).all()
    assert kept >= share - 1e-12  # a box is rounded down, and cut at the border


@given(st.integers(1, 9), st.integers(1, 5), shares, st.integers(0, 99))
def test_targets_are_shares_and_the_loss_is_the_mixture_of_losses(count, classes, share, seed):
    g = torch.Generator().manual_seed(seed)
    labels, logits = torch.randint(classes, (count,), generator=g), torch.randn(count, classes, generator=g)
    targets = soft_targets(labels, share, classes)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    recipe = Recipe(label_smoothing=0.1)
    own, other = (loss_of(recipe, logits, given) for given in (labels, labels.flip(0)))
    torch.testing.assert_close(loss_of(recipe, logits, targets), share * own + (1 - share) * other)


def test_the_binary_loss_by_hand():
    """Two classes in the image, one not: -log s(1), -log s(0), -log(1 - s(-1)), their mean."""
    loss = loss_of(Recipe(loss="binary"), torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.7, 0.3, 0.0]]))
    assert float(loss) == pytest.approx((2 * np.log1p(np.exp(-1)) + np.log(2)) / 3, rel=1e-14)
    single = loss_of(Recipe(loss="binary"), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert float(single) == pytest.approx((np.log1p(np.exp(-1)) + np.log(2)) / 2, rel=1e-14)


def test_mixup_of_a_batch_with_itself():
    assert mixup(torch.tensor([[0.0], [1.0], [4.0]]), 0.75).flatten().tolist() == [1.0, 1.0, 3.0]


@pytest.mark.parametrize("how", [Mix(), Mix(mixup=0.8, probability=0.0)])
def test_without_mixing_nothing_is_drawn_or_changed(how):
    images, before = torch.rand(3, 1, 4, 4), torch.get_rng_state()
    out, share = mixed(images, how)
    assert out is images
    assert share == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_one_of_both_is_drawn_for_each_batch():
    """Constant images: mixup gives one value an image, cutmix two. Of 400 at switch 1/4 off by 60 at less than one in 10^10."""
    images, g = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 16, 16), torch.Generator().manual_seed(0)
    drawn = [mixed(images, Mix(0.8, 1.0, switch=0.25), g) for _ in range(400)]
    cut = sum(bool(((out == 0) | (out == 1)).all()) for out, _ in drawn)
    assert abs(cut - 100) < 60
    for out, share in drawn:
        assert float(out[1].mean()) == pytest.approx(share, abs=1e-12)


def test_shares_have_betas_mean_and_variance():
    """Of 4000 numbers; each bound is five standard errors."""
    for alpha in (0.2, 1.0, 4.0):
        found = np.array([beta_share(alpha, seed) for seed in range(4000)])
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(found.mean() - 0.5) < 5 * np.sqrt(variance / 4000)
        assert abs(found.var() - variance) < 5 * variance * np.sqrt(2 / 4000)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
def test_repeats_fill_an_epoch_with_copies(count, size, repeats, seed):
    pair = torch.arange(float(count)).view(-1, 1, 1, 1), torch.arange(count)
    loader = Loader(pair, size, shuffle=True, seed=seed, repeats=repeats)
    seen = torch.cat([labels for _, labels in loader])
    assert len(seen) == count
    each = torch.unique(seen, return_counts=True)[1]
    assert each.max() <= repeats
    assert len(each) == -(-count // repeats)


class Drawing(torch.utils.data.Dataset):
    """Gives what it is asked for, as a data set that draws for example, copy and epoch would."""

    def __len__(self):
        return 5

    def set_epoch(self, epoch):
        pass

    def __getitem__(self, index):
        return torch.tensor(index), 0


def test_a_data_set_that_draws_is_told_which_copy():
    [(asked, _)] = Loader(Drawing(), 5, repeats=2)
    assert asked.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]
    [(plain, _)] = Loader(Drawing(), 5)
    assert plain.tolist() == [0, 1, 2, 3, 4]


class Stop(Exception):
    pass


class Averaged(EMAWeightAveraging):
    """Lightning's averages; where it is told to, it stops like a power cut."""

    def __init__(self, at=None):
        super().__init__(decay=0.9)
        self.at = at

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == self.at:
            raise Stop


def _run(data, network, recipe, at=None, **how):
    model = network()
    found = fit(model, data, data, recipe=recipe, callbacks=[Averaged(at)], device="cpu", **how)
    return model, found


def test_everything_together_resumes_to_the_same_bits(tmp_path, data, network):
    """Mixing, repeats, the binary loss and averaged weights, stopped in the middle of the second of three epochs."""
    how = {"augment": Augment(flip=True), "mix": Mix(0.8, 1.0), "repeats": 3, "loss": "binary"}
    recipe = Recipe(epochs=3, batch_size=8, lr=1e-2, **how)
    whole, expected = _run(data, network, recipe)
    with pytest.raises(Stop):
        _run(data, network, recipe, 11, folder=tmp_path, save_every=2)
    resumed, found = _run(data, network, recipe, folder=tmp_path)
    assert found.resumed_at == 10
    assert found.history == expected.history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_averages_are_what_is_judged_and_kept(data):
    """By hand: a is w behind the first step, ``a <- 0.9 a + 0.1 w`` behind every other; what fit leaves is a."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    weights = []

    class Watch(Averaged):
        def on_train_batch_end(self, trainer, module, *args):
            weights.append(module.model[1].weight.detach().clone())
            super().on_train_batch_end(trainer, module, *args)

    fit(model, data, recipe=Recipe(epochs=1, batch_size=10), callbacks=[Watch()], device="cpu")
    average = weights[0]
    for w in weights[1:]:
        average = 0.9 * average + 0.1 * w
    assert len(weights) == 5
    torch.testing.assert_close(model[1].weight.detach(), average)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mix(mixup=-1), "mixup: want"),
        (lambda: Mix(cutmix=float("inf")), "cutmix: want"),
        (lambda: Mix(switch=2), "switch: want"),
        (lambda: Mix(probability=-0.1), "probability: want"),
        (lambda: mixed(torch.zeros(3, 4), Mix(1.0)), "images: want shape"),
        (lambda: Recipe(mix="mixup"), "mix: want a Mix, got str"),
        (lambda: Recipe(loss="hinge"), "loss: want one of 'cross_entropy', 'binary'"),
        (lambda: Recipe(loss="binary", label_smoothing=0.1), "label_smoothing: want 0 with the binary loss"),
        (lambda: Recipe(repeats=0), "repeats: want a whole number >= 1"),
        (lambda: Loader(Drawing(), 2, repeats=0), "repeats: want"),
    ],
)
def test_wrong_calls_are_answered(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
