"""The published implementation's numbers: outputs, gradients and states of every core case, in float64."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from isocline.plstm.functional import plstm_1d, plstm_2d

TIGHT = {"rtol": 1e-10, "atol": 1e-12}  # both sides are sums of products in float64
LINE = {
    "Q": "q", "K": "k", "V": "v", "S": "source", "T": "transition", "M": "mark", "D": "direct", "C0": "initial_state",
}  # fmt: skip
GRID = {
    "Q": "q", "K": "k", "V": "v", "S_r": "source_r", "S_d": "source_d", "T_rl": "transition_rl", "T_ru": "transition_ru",
    "T_dl": "transition_dl", "T_du": "transition_du", "M_l": "mark_l", "M_u": "mark_u", "D": "direct",
}  # fmt: skip


def load(path, names):
    with np.load(path) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    given = {names[key[3:]]: value.requires_grad_() for key, value in arrays.items() if key.startswith("in_")}
    gradients = {names[key[5:]]: value for key, value in arrays.items() if key.startswith("grad_")}
    assert given.keys() == gradients.keys()
    return given, gradients, arrays


def check_gradients(outputs, cotangents, given, expected):
    found = torch.autograd.grad(outputs, list(given.values()), cotangents)
    for name, gradient in zip(given, found, strict=True):
        torch.testing.assert_close(gradient, expected[name], msg=lambda m, n=name: f"{n}: {m}", **TIGHT)


@pytest.mark.parametrize("backend", ["reference", "chunked", "auto"])
@pytest.mark.parametrize("case", ["core1d_scalar", "core1d_statetrack_init"])
def test_sequences(case, backend, golden):
    given, gradients, arrays = load(golden / f"plstm/{case}.npz", LINE)
    y, state = plstm_1d(**given, return_state=True, backend=backend)
    torch.testing.assert_close(y, arrays["out0"], **TIGHT)
    torch.testing.assert_close(state, arrays["out1"], **TIGHT)
    check_gradients((y, state), (arrays["cotangent0"], arrays["cotangent1"]), given, gradients)


INTERPRETED = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
]


@pytest.mark.parametrize(
    "backend", ["reference", "dense", "sweep", "tiled", "auto", pytest.param("triton", marks=INTERPRETED)]
)
@pytest.mark.parametrize("case", ["core2d_P", "core2d_D_chiralityL", "core2d_generic_4x8"])
def test_grids(case, backend, golden):
    given, gradients, arrays = load(golden / f"plstm/{case}.npz", GRID)
    y = plstm_2d(**given, backend=backend)
    torch.testing.assert_close(y, arrays["out0"], **TIGHT)
    check_gradients((y,), (arrays["cotangent0"],), given, gradients)
