"""The trained generator of latent controls, and the device that measures its pictures."""

import pytest
import torch

from isocline.datasets.shapes import FACTORS, render
from isocline.lab.claims.latents.decoder import Decoder, train_decoder
from isocline.lab.claims.latents.regressor import (
    SCORED,
    Regressor,
    correlation,
    entanglement,
    errors,
    gate,
    one_cycle,
    renders,
    train_regressor,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("latent_dim", [1, 24, 128])
def test_codes_become_pictures_and_pictures_codes(latent_dim):
    decoder = Decoder(latent_dim, hidden=32)
    images = decoder(3 * torch.randn(5, latent_dim))
    assert images.shape == (5, 3, 24, 24)
    assert images.min() >= 0
    assert images.max() <= 1
    assert decoder.encode(images).shape == (5, latent_dim)
    mean, log_variance = decoder.posterior(images)
    assert mean.equal(decoder.encode(images))
    assert log_variance.shape == (5, latent_dim)


def test_styles_are_what_a_code_does_to_every_layer():
    """A direction that all style weights send to zero changes nothing; any other does."""
    decoder = Decoder(12, hidden=16, depth=2)
    weights = decoder.style_weights()
    assert [tuple(weight.shape) for weight in weights] == [(32, 12)] * 2
    w, step = torch.randn(4, 12), torch.randn(12)
    assert not torch.allclose(decoder(w), decoder(w + step))
    with torch.no_grad():
        for style in decoder.styles:
            style.weight -= style.weight @ torch.outer(step, step) / step.square().sum()
    assert all((weight @ step).abs().max() < 1e-12 for weight in decoder.style_weights())
    torch.testing.assert_close(decoder(w), decoder(w + step))
    assert not any(weight.requires_grad for weight in decoder.style_weights())


@pytest.mark.parametrize(
    "train",
    [
        lambda seed: train_decoder(latent_dim=10, updates=5, seed=seed, hidden=16, batch=8),
        lambda seed: train_regressor(5, seed, hidden=16, batch=8),
    ],
)
def test_a_seed_makes_the_same_network(train):
    before = torch.get_rng_state()
    one, same, other = (train(seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(one[name].equal(same[name]) for name in one)
    assert all(value.dtype == torch.float32 for value in one.values())
    assert not any(one[name].equal(other[name]) for name in one)


def test_training_learns():
    """Errors after 60 small steps are below those of a network that says the middle of everything, 1/2 each."""
    found = errors(train_regressor(60, 0, hidden=64, batch=64, lr=5e-3), count=500)
    assert list(found) == [*FACTORS, "shape"]
    assert max(found["x"], found["y"], found["hue"]) < 0.25
    images, _, _ = renders(200, generator=generator(8))
    decoder = train_decoder(updates=60, hidden=64, batch=64, lr=5e-3)
    away = (decoder(decoder.encode(images)) - images).square().mean()
    assert away < 0.8 * (images - images.mean(0)).square().mean()


def test_the_gate_says_no_to_an_untrained_decoder():
    torch.manual_seed(0)
    decoder, regressor = Decoder(hidden=32).float(), Regressor(32).float()
    found = gate(decoder, regressor, count=200)
    assert found["passed"] is False
    assert found["every"] is False
    assert list(found["measured"]) == list(found["kept"]) == [*FACTORS, "shape"]
    assert abs(entanglement(decoder, regressor, count=200)) <= 1


class _Perfect(torch.nn.Module):
    """Decoder and regressor at once: pictures carry their factors in the first pixels, and the codes are the pictures."""

    latent_dim = 3 * 24 * 24

    def __init__(self, lost: int | None = None) -> None:
        super().__init__()
        self.lost = lost

    def encode(self, images):
        truth, shape = renders(len(images), generator=generator(2))[1:]
        assert images.equal(render(truth, shape))
        if self.lost is not None:
            truth[:, self.lost] = 0.3
        return torch.cat([truth, torch.eye(3)[shape]], 1)

    def forward(self, found):
        return found


@pytest.mark.parametrize("lost", [None, *range(6)])
def test_the_gate_names_the_factor_that_is_lost(lost):
    found = gate(_Perfect(lost), torch.nn.Identity(), count=300)
    assert found["every"] is (lost is None)
    assert found["passed"] is (lost is None or FACTORS[lost] not in SCORED)
    assert [name for name, kept in found["kept"].items() if not kept] == (
        [] if lost is None else [FACTORS[lost]]
    )
    for name, value in found["measured"].items():
        assert value == pytest.approx(1.0 if found["kept"][name] else 0.0, abs=1e-6)


def test_correlation_is_pearsons():
    a, b = torch.randn(2, 50, generator=generator(1))
    assert correlation(a, b) == pytest.approx(torch.corrcoef(torch.stack([a, b]))[0, 1].item(), abs=1e-12)
    assert correlation(a, -3 * a + 1) == pytest.approx(-1)
    assert correlation(a, torch.ones(50)) == 0


def test_the_rate_rises_then_falls():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = one_cycle(optimizer, 40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_wrong_calls_are_answered():
    with pytest.raises(ValueError, match=r"w: want shape \(n, 24\), got \(2, 12\)"):
        Decoder(hidden=8)(torch.zeros(2, 12))
    with pytest.raises(ValueError, match=r"images: want shape \(n, 3, 24, 24\), got \(2, 3, 32, 32\)"):
        Regressor(8)(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"images: want shape \(n, 3, 24, 24\)"):
        Decoder(hidden=8).encode(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="updates: want a whole number >= 1, got 0"):
        train_regressor(0)
    with pytest.raises(ValueError, match="updates: want a whole number >= 1, got 0"):
        train_decoder(updates=0)
    with pytest.raises(ValueError, match="noise: want a finite number > 0"):
        train_decoder(updates=1, noise=0.0)
