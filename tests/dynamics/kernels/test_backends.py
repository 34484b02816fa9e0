"""The forced recursion by every backend: reference numbers, gradcheck, laws, and agreement with plain
autograd.
"""

import os
from importlib.util import find_spec

os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton's own interpreter: the kernel runs without a GPU

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.dynamics import forced_rollout
from isocline.dynamics.functional import observed_loss, shallow_plrnn, shallow_plrnn_jacobian

NAMES = ("A", "W1", "W2", "h1", "h2")
CASES = (
    "clipped_id",
    "plain_id",
    "clipped_affine_wide",
    "clipped_affine_square",
    "clipped_partial",
    "clipped_stf",
    "clipped_ext",
    "clipped_full_tf",
)
BACKENDS = (
    "reference",
    "cpu",
    "parallel",
    pytest.param(
        "triton", marks=pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
    ),
)
EXACT = {"rtol": 1e-10, "atol": 1e-12}  # some hundred products in float64


def problem(seed, *, M=3, L=5, B=4, T=12, D=None, runs=(), missing=0.0, driven=False, dtype=torch.float64):
    """Random arguments of a rollout, by name; the map contracts, so that sums in another order stay close."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(*runs, *shape, generator=g).to(dtype)

    signal = normal(T, B, M if D is None else D)
    holes = torch.rand(signal.shape, generator=g) < missing
    return {
        "A": 0.5 * torch.rand(*runs, M, generator=g).to(dtype),
        "W1": normal(M, L, scale=0.5 / L**0.5),
        "W2": normal(L, M, scale=M**-0.5),
        "h1": normal(M, scale=0.1),
        "h2": normal(L),
        "z0": normal(B, M),
        "forcing": torch.where(holes, torch.nan, signal),
        "C": normal(M, 2) if driven else None,
        "inputs": normal(T, B, 2) if driven else None,
    }


def run(given_, alpha, backend, **options):
    tensors = dict(given_)
    C, inputs = tensors.pop("C"), tensors.pop("inputs")
    return forced_rollout(*tensors.values(), alpha, C=C, inputs=inputs, backend=backend, **options)


def gradients(given_, alpha, backend, slope=None, **options):
    """The predictions, and the gradients of everything differentiable, by name."""
    leaves = {
        k: v if v is None or k == "forcing" else v.detach().clone().requires_grad_()
        for k, v in given_.items()
    }
    if isinstance(alpha, torch.Tensor):
        alpha = leaves["alpha"] = alpha.detach().clone().requires_grad_()
    predicted = run({k: leaves[k] for k in given_}, alpha, backend, **options)
    if slope is None:
        slope = torch.randn(predicted.shape, generator=torch.Generator().manual_seed(9)).to(predicted.dtype)
    wanted = {k: v for k, v in leaves.items() if v is not None and v.requires_grad}
    found = torch.autograd.grad(predicted, list(wanted.values()), slope, materialize_grads=True)
    return predicted.detach(), dict(zip(wanted, found, strict=True))


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one[0], other[0], **tolerance)
    assert one[1].keys() == other[1].keys()
    for name, expected in other[1].items():
        scale = expected.abs().max().clamp_min(1e-300)
        torch.testing.assert_close(
            one[1][name] / scale, expected / scale, msg=lambda m, n=name: f"{n}: {m}", **tolerance
        )


@pytest.fixture
def reference_cases(golden):
    return np.load(golden / "dynamics/gtf_forward_backward.npz")


@pytest.mark.parametrize("backend", BACKENDS)
class TestEveryBackend:
    @pytest.mark.parametrize("case", CASES)
    def test_the_reference_numbers(self, backend, case, reference_cases):
        def array(name):
            return torch.from_numpy(reference_cases[f"{case}/{name}"])

        def has(name):
            return f"{case}/{name}" in reference_cases

        weights = [array(f"param_{name}").requires_grad_() for name in NAMES]
        extra = {n: array(f"param_{n}").requires_grad_() for n in ("B", "Lmat", "C") if has(f"param_{n}")}
        x = array("X")
        z0 = x[0]
        if "B" in extra:
            z0 = x[0] @ torch.linalg.pinv(extra["B"]).T
        if "Lmat" in extra:
            z0 = torch.cat([x[0], x[0] @ extra["Lmat"].T], -1)
        if not z0.requires_grad:
            z0 = z0.clone().requires_grad_()
        alpha = 1.0 if has("tau") else float(array("alpha"))
        states = forced_rollout(
            *weights, z0, array("Zf"), alpha,
            clipped=bool(array("clipped")), interval=int(array("tau")) if has("tau") else None,
            C=extra.get("C"), inputs=array("S")[1:] if "C" in extra else None, backend=backend,
        )  # fmt: skip
        guess = states @ extra["B"].T if "B" in extra else states[..., : x.shape[-1]]
        loss = observed_loss(guess, x[1:])
        wanted = [*weights, *extra.values(), z0]
        # z0 is no leaf where it is computed from B or Lmat; its own gradient is asked for all the same
        found = torch.autograd.grad(loss, wanted)
        names = [f"grad_{n}" for n in (*NAMES, *extra)] + ["dz0"]
        close = {"rtol": 1e-9, "atol": 1e-12}
        torch.testing.assert_close(states, array("Z"), **close)
        torch.testing.assert_close(loss, array("loss").squeeze(), **close)
        torch.testing.assert_close(z0, array("Ztilde")[0], **close)
        for name, gradient in zip(names, found, strict=True):
            torch.testing.assert_close(gradient, array(name), msg=lambda m, n=name: f"{n}: {m}", **close)
        A, W1, W2, _, h2 = weights
        J = shallow_plrnn_jacobian(array("Ztilde")[:-1], A, W1, W2, h2, clipped=bool(array("clipped")))
        torch.testing.assert_close(J, array("jac_at_Ztilde"), **close)

    @pytest.mark.parametrize("clipped", [True, False])
    def test_gradcheck(self, backend, clipped):
        slow = backend == "triton"  # its interpreter is
        small = {"M": 2, "L": 3, "T": 2, "D": 1} if slow else {"T": 4, "D": 2}
        p = problem(5, B=2, driven=True, missing=0.2, **small)
        leaves = [v.requires_grad_() for k, v in p.items() if k not in ("forcing", "inputs")]
        alpha = torch.tensor([[0.3, 0.6][: small["D"]]], requires_grad=True)

        def call(A, W1, W2, h1, h2, z0, C, alpha):
            return forced_rollout(
                A, W1, W2, h1, h2, z0, p["forcing"], alpha,
                clipped=clipped, C=C, inputs=p["inputs"], backend=backend,
            )  # fmt: skip

        assert torch.autograd.gradcheck(call, (*leaves, alpha))

    def test_full_forcing_is_one_step_regression(self, backend):
        p = problem(1)
        before = torch.cat([p["z0"][None], p["forcing"][:-1]])
        expected = shallow_plrnn(before, *(p[n] for n in NAMES))
        torch.testing.assert_close(run(p, 1.0, backend), expected, **EXACT)

    def test_no_forcing_is_the_free_run(self, backend):
        p = problem(2)
        z, expected = p["z0"], []
        for _ in range(12):
            z = shallow_plrnn(z, *(p[n] for n in NAMES))
            expected.append(z)
        torch.testing.assert_close(run(p, 0.0, backend), torch.stack(expected), **EXACT)

    def test_no_gradient_flows_through_the_signal_or_a_replaced_state(self, backend):
        p = problem(3)
        p["forcing"].requires_grad_()
        states = run({**p, "z0": p["z0"].requires_grad_()}, 1.0, backend, interval=4)
        (slope,) = torch.autograd.grad(states[4:].sum(), p["z0"], retain_graph=True)
        assert (slope == 0).all()
        assert (torch.autograd.grad(states[:4].sum(), p["z0"])[0] != 0).any()
        assert p["forcing"].grad is None

    def test_one_step_one_sequence_one_state(self, backend):
        for sizes in ({"T": 1}, {"B": 1}, {"M": 1, "L": 1}, {"M": 1, "L": 1, "B": 1, "T": 1}):
            p = problem(4, **sizes)
            assert_same(gradients(p, 0.2, backend), gradients(p, 0.2, "reference"), **EXACT)

    def test_runs_are_runs(self, backend):
        p = problem(6, runs=(3,), B=3, missing=0.1, driven=True)
        alphas = torch.tensor([0.0, 0.2, 0.9]).view(3, 1, 1, 1)
        states, slopes = gradients(p, alphas, backend)
        for r in range(3):
            one = {k: v[r] for k, v in p.items()}
            slope = torch.randn(states.shape, generator=torch.Generator().manual_seed(9))[r]
            expected, parts = gradients(one, alphas[r], "reference", slope)
            assert_same((states[r], {k: v[r] for k, v in slopes.items()}), (expected, parts), **EXACT)

    @settings(max_examples=25)
    @given(
        seed=st.integers(0, 2**31),
        sizes=st.tuples(st.integers(1, 6), st.integers(1, 11), st.integers(1, 19), st.integers(1, 40)),
        hidden=st.integers(0, 5),
        weight=st.sampled_from(["number", "time", "sequence", "entry"]),
        clipped=st.booleans(),
        driven=st.booleans(),
        missing=st.sampled_from([0.0, 0.2]),
        interval=st.sampled_from([None, 3]),
    )
    def test_it_equals_plain_autograd(
        self, backend, seed, sizes, hidden, weight, clipped, driven, missing, interval
    ):
        M, L, B, T = sizes
        T = min(T, 5) if backend == "triton" else T  # steps are what its interpreter takes long for
        D = max(1, M - hidden)
        p = problem(seed, M=M, L=L, B=B, T=T, D=D, driven=driven, missing=missing)
        shape = {"number": (), "time": (T, 1, 1), "sequence": (B, 1), "entry": (T, B, D)}[weight]
        alpha = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
        options = {"clipped": clipped, "interval": interval}
        assert_same(
            gradients(p, alpha, backend, **options), gradients(p, alpha, "reference", **options), **EXACT
        )

    @pytest.mark.parametrize("M", [2, 3])
    @pytest.mark.parametrize("clipped", [True, False])
    def test_states_at_the_kinks_and_thresholds_of_zero(self, backend, M, clipped):
        """Sequence 0 is held at the origin, where every unit without a threshold is at its kink."""
        p = problem(13, M=M, L=6, T=4)
        p["h2"] = torch.tensor([0.0, -0.0, 0.7, -0.7, 0.0, 1e-30])
        p["z0"][0], p["forcing"][:, 0] = 0, 0
        alpha = torch.tensor([1.0, 0.2, 0.2, 0.2]).view(4, 1)
        wanted = gradients(p, alpha, "reference", clipped=clipped)
        assert_same(gradients(p, alpha, backend, clipped=clipped), wanted, **EXACT)

    def test_strides_do_not_matter(self, backend):
        p = problem(7, L=6, B=5)

        def scattered(t):
            wide = (
                torch.empty(*t.shape[:-1], 2 * t.shape[-1]) if t.dim() == 1 else torch.empty(t.shape[::-1]).mT
            )
            view = wide[..., ::2] if t.dim() == 1 else wide.movedim(0, -1).movedim(-1, 0).expand(t.shape)
            view.copy_(t)
            return view

        odd = {**p, "W1": p["W1"].T.contiguous().T, "W2": p["W2"].T.contiguous().T}
        odd["forcing"] = p["forcing"].permute(2, 0, 1).contiguous().permute(1, 2, 0)
        odd["z0"] = torch.stack([p["z0"], p["z0"]], -1)[..., 0]
        odd["A"] = torch.stack([p["A"], p["A"]], -1)[..., 1]
        assert not any(odd[k].is_contiguous() for k in ("W1", "W2", "forcing", "z0", "A"))
        slope = torch.ones(1, 1, 1).expand(12, 5, 3)  # a slope of stride 0, as a sum gives
        states, expected = run(odd, 0.3, backend), run(p, 0.3, backend)
        torch.testing.assert_close(states, expected, **EXACT)
        leaves = [odd[k].requires_grad_() for k in NAMES]
        found = torch.autograd.grad(run(odd, 0.3, backend), leaves, slope)
        _, wanted = gradients(p, 0.3, backend, slope)
        for name, gradient in zip(NAMES, found, strict=True):
            torch.testing.assert_close(gradient, wanted[name], **EXACT)

    def test_single_precision_in_norm(self, backend):
        p = problem(8, L=50, B=16, T=50, dtype=torch.float32)
        double = {k: None if v is None else v.double() for k, v in p.items()}
        states, slopes = gradients(p, 0.2, backend)
        expected, wanted = gradients(double, 0.2, "reference")
        assert states.dtype == torch.float32
        assert (states - expected).norm() <= 1e-3 * expected.norm()
        for name, slope in slopes.items():  # a unit at its kink may flip; in norm that is little
            assert (slope - wanted[name]).norm() <= 1e-3 * wanted[name].norm(), name

    def test_what_is_not_finite_stays_visible(self, backend):
        p = problem(10)
        p["z0"][1, 0] = torch.nan
        states = run(p, 0.2, backend)
        assert states[:, 1].isnan().any()
        assert torch.isfinite(states[:, 0]).all()


def test_a_kernel_must_fit_the_tensors():
    half = {k: None if v is None else v.to(torch.bfloat16) for k, v in problem(1).items()}
    assert run(half, 0.2, "auto").dtype == torch.bfloat16  # by the reference
    with pytest.raises(ValueError, match=r"backend: want a kernel for .* got 'cpu' for bfloat16 on cpu; use"):
        run(half, 0.2, "cpu")
    meta = {k: None if v is None else v.to("meta") for k, v in problem(1).items()}
    with pytest.raises(ValueError, match=r"got 'cpu' for float64 on meta"):
        run(meta, 0.2, "cpu")


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_second_derivatives(backend):
    p = problem(12, B=2, T=3, D=2, driven=True)
    leaves = [p[k].requires_grad_() for k in (*NAMES, "z0", "C")]
    alpha = torch.tensor(0.3, requires_grad=True)

    def call(A, W1, W2, h1, h2, z0, C, alpha):
        return forced_rollout(
            A, W1, W2, h1, h2, z0, p["forcing"], alpha, C=C, inputs=p["inputs"], backend=backend
        )

    assert torch.autograd.gradgradcheck(call, (*leaves, alpha))
