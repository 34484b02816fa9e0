"""The language model: no token sees the future, a text may come in pieces, it learns what only a memory can."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.plstm import PLSTMLanguageModel


def thin(vocabulary=7, **changes):
    how = {"dim": 16, "heads": 2, "depth": 2, "channels": 2}
    return PLSTMLanguageModel(vocabulary, **how | changes)


def tokens(B, T, seed=0, vocabulary=7):
    return torch.randint(vocabulary, (B, T), generator=torch.Generator().manual_seed(seed))


@given(
    T=st.integers(1, 12), cut=st.integers(0, 11), seed=st.integers(0, 99), channels=st.sampled_from([1, 2, 4])
)
def test_no_token_sees_the_future(T, cut, seed, channels):
    model, text = thin(channels=channels), tokens(2, T, seed)
    other = text.clone()
    other[:, cut + 1 :] = (other[:, cut + 1 :] + 1) % 7
    y, z = model(text), model(other)
    assert y.shape == (2, T, 7)
    torch.testing.assert_close(y[:, : cut + 1], z[:, : cut + 1])


@given(T=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_text_may_come_in_pieces(T, seed):
    model, text = thin(), tokens(2, T, seed)
    cut = 1 + seed % (T - 1)
    first, state = model(text[:, :cut], return_state=True)
    second, _ = model(text[:, cut:], state, return_state=True)
    torch.testing.assert_close(torch.cat([first, second], 1), model(text))


def test_the_state_does_not_grow():
    model = thin()
    sizes = [[part.shape for part in model(tokens(1, T), return_state=True)[1][0]] for T in (5, 50)]
    assert sizes[0] == sizes[1]


def test_logits_are_capped():
    model = thin()
    with torch.no_grad():
        model.head.weight.mul_(1e4)
    y = model(tokens(1, 6))
    assert float(y.detach().abs().max()) <= 10
    assert float(y.detach().abs().max()) > 9


def test_it_learns_to_recall():
    """The answer, the first token, lies eight tokens back: further than the convolution sees."""
    torch.manual_seed(0)
    model = thin(depth=1, conv=2, channels=1, dim=24)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(100):
        text = tokens(32, 9, seed=step)
        loss = torch.nn.functional.cross_entropy(model(text)[:, -1], text[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    text = tokens(200, 9, seed=999)
    assert float((model(text)[:, -1].argmax(-1) == text[:, 0]).double().mean()) > 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: thin(0), "vocabulary: want"),
        (lambda: thin(dim=9), "dim: want a multiple of"),
        (lambda: thin()(torch.rand(1, 3)), r"tokens: want integers \(B, T\)"),
        (lambda: thin()(tokens(1, 3)[0]), r"tokens: want \(B, T\) with T >= 1"),
        (lambda: thin()(tokens(1, 3), [None]), "state: want one for each of 2 layers, got 1"),
    ],
)
def test_wrong_calls_are_answered(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
