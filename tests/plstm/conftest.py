"""Random problems, and a comparison of results and gradients, for every kernel of the room."""

import pytest
import torch

from isocline.plstm import plstm_1d, plstm_2d, plstm_2d_d, plstm_2d_p

P_GATES = ("source_r", "source_d", "transition_r", "transition_d", "mark")
D_GATES = ("source_r", "source_d", "transition_r", "transition_d", "transition_turn", "mark_l", "mark_u")
GRID_GATES = (
    "source_r", "source_d", "transition_rl", "transition_ru", "transition_dl", "transition_du", "mark_l", "mark_u",
)  # fmt: skip
MODES = {
    "P": (plstm_2d_p, P_GATES, {}),
    "D": (plstm_2d_d, D_GATES, {}),
    "R": (plstm_2d_d, D_GATES, {"chirality": "R"}),
}


class Problem:
    """A function of the room, its tensors by name, and its options; ``run`` calls it."""

    def __init__(self, function, tensors, states=(), **options):
        self.function, self.tensors, self.states, self.options = function, tensors, states, options

    def run(self, backend, *tensors):
        given = dict(zip(self.tensors, tensors or self.tensors.values(), strict=True))
        if self.states:
            states = [given.pop(name) for name in self.states]
            given["initial_state"] = states[0] if len(states) == 1 else tuple(states)
        found = self.function(**given, **self.options, backend=backend)
        if isinstance(found, torch.Tensor):
            return (found,)
        y, state = found
        return (y, state) if isinstance(state, torch.Tensor) else (y, *state)

    def with_gradients(self, backend):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in self.tensors.values()]
        outputs = self.run(backend, *leaves)
        g = torch.Generator().manual_seed(9)
        slopes = [torch.randn(out.shape, generator=g, dtype=out.dtype) for out in outputs]
        found = torch.autograd.grad(outputs, leaves, slopes, materialize_grads=True)
        return [out.detach() for out in outputs], dict(zip(self.tensors, found, strict=True))

    def gradcheck(self, backend):
        leaves = tuple(tensor.detach().clone().requires_grad_() for tensor in self.tensors.values())
        return torch.autograd.gradcheck(lambda *given: self.run(backend, *given), leaves, fast_mode=True)


class _Problems:
    def __init__(self, seed=0, dtype=torch.float64):
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def normal(self, *shape, scale=1.0):
        return scale * torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def gate(self, *shape):
        """Between -0.9 and 0.9, and sometimes exactly zero."""
        values = 1.8 * torch.rand(shape, generator=self.generator, dtype=torch.float64) - 0.9
        return torch.where(values.abs() < 0.1, 0.0, values).to(self.dtype)

    def line(self, N=6, B=2, dk=2, dv=3, channels=None, states=True):
        """channels: (JQ, JK, JV, JT, JO)."""
        if channels is None:
            q, k, v, s = (B, N, dk), (B, N, dk), (B, N, dv), (B, dk, dv)
            gates = [(B, N)] * 4
        else:
            JQ, JK, JV, JT, JO = channels
            q, k, v, s = (B, N, dk, JQ), (B, N, dk, JK), (B, N, dv, JV), (B, dk, dv, JT)
            gates = [(B, N, JT, JK, JV), (B, N, JT, JT), (B, N, JO, JQ, JT), (B, N, JO, JQ, JK, JV)]
        tensors = {"q": self.normal(*q), "k": self.normal(*k), "v": self.normal(*v)}
        tensors |= dict(
            zip(("source", "transition", "mark", "direct"), (self.gate(*g) for g in gates), strict=True)
        )
        if not states:
            return Problem(plstm_1d, tensors)
        tensors["initial_state"] = self.normal(*s)
        return Problem(plstm_1d, tensors, ("initial_state",), return_state=True)

    def quadrants(self, mode="P", X=3, Y=4, B=2, dk=2, dv=3, directions=(0, 1, 2, 3), states=False):
        function, names, options = MODES[mode]
        O = len(directions)
        tensors = self._vectors(B, X, Y, dk, dv)
        tensors |= {name: self.gate(B, O, X, Y) for name in names}
        return self._grid(
            function, tensors, states, (B, O, Y, dk, dv), (B, O, X, dk, dv), directions=directions, **options
        )

    def grid(self, X=3, Y=4, B=2, dk=2, dv=3, states=True, without=()):
        tensors = self._vectors(B, X, Y, dk, dv)
        tensors |= {name: self.gate(B, X, Y) for name in GRID_GATES if name not in without}
        return self._grid(plstm_2d, tensors, states, (B, Y, dk, dv), (B, X, dk, dv))

    def _vectors(self, B, X, Y, dk, dv):
        shapes = {"q": (B, X, Y, dk), "k": (B, X, Y, dk), "v": (B, X, Y, dv)}
        return {name: self.normal(*shape) for name, shape in shapes.items()} | {"direct": self.gate(B, X, Y)}

    def _grid(self, function, tensors, states, right, down, **options):
        if not states:
            return Problem(function, tensors, **options)
        tensors |= {"right": self.normal(*right), "down": self.normal(*down)}
        return Problem(function, tensors, ("right", "down"), return_state=True, **options)


@pytest.fixture(scope="session")
def problems():
    """``problems(seed).line(...)``, ``.quadrants(...)``, ``.grid(...)``."""
    return _Problems


@pytest.fixture(scope="session")
def assert_same():
    """Compare results and gradients, each to its own largest entry."""

    def compare(one, other, tolerance=1e-10):
        (outputs, gradients), (expected, slopes) = one, other
        assert gradients.keys() == slopes.keys()
        pairs = {f"output {i}": pair for i, pair in enumerate(zip(outputs, expected, strict=True))}
        pairs |= {name: (gradients[name], slopes[name]) for name in slopes}
        for name, (ours, theirs) in pairs.items():
            scale = theirs.abs().max().clamp_min(1e-300)
            close = {"rtol": 0, "atol": tolerance}
            torch.testing.assert_close(
                ours / scale, theirs / scale, msg=lambda m, n=name: f"{n}: {m}", **close
            )

    return compare
