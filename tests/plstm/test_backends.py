"""Every kernel against the recursion: outputs, states and gradients, at any size; and gradcheck."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.plstm.kernels import _fastest

EDGES = ((1, 1), (1, 5), (7, 1), (2, 3), (5, 5), (3, 11))  # one node, one row, one column, primes, not square


GRID_BACKENDS = ("dense", "sweep", "tiled")


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from(EDGES),
    mode=st.sampled_from("PDR"),
    directions=st.sampled_from([(0, 1, 2, 3), (2,), (3, 0)]),
    states=st.booleans(),
)
def test_four_directions(seed, size, mode, directions, states, problems, assert_same):
    problem = problems(seed).quadrants(mode, *size, B=1, directions=directions, states=states)
    truth = problem.with_gradients("reference")
    for backend in GRID_BACKENDS:
        assert_same(problem.with_gradients(backend), truth)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from(EDGES),
    states=st.booleans(),
    without=st.sets(
        st.sampled_from(["source_d", "transition_ru", "transition_dl", "transition_du", "mark_l"]),
        max_size=2,
    ),
)
def test_four_transitions(seed, size, states, without, problems, assert_same):
    problem = problems(seed).grid(*size, B=1, states=states, without=without)
    truth = problem.with_gradients("reference")
    for backend in GRID_BACKENDS:
        assert_same(problem.with_gradients(backend), truth)


@pytest.mark.parametrize("backend", GRID_BACKENDS)
class TestEveryGridBackend:
    @pytest.mark.parametrize("mode", ["P", "D", "R"])
    def test_gradcheck(self, backend, mode, problems):
        assert problems(1).quadrants(mode, 2, 3, B=1).gradcheck(backend)
        assert problems(2).quadrants(mode, 3, 2, B=1, directions=(1, 2), states=True).gradcheck(backend)

    @pytest.mark.parametrize("mode", ["P", "D"])
    def test_second_derivatives(self, backend, mode, problems):
        problem = problems(2).quadrants(mode, 2, 2, B=1, dk=1, dv=1, directions=(0, 3))
        leaves = tuple(t.clone().requires_grad_() for t in problem.tensors.values())
        assert torch.autograd.gradgradcheck(
            lambda *given: problem.run(backend, *given), leaves, fast_mode=True
        )

    @pytest.mark.parametrize("size", [(9, 17), (1, 19), (19, 1)])
    def test_more_tiles_than_one(self, backend, size, problems, assert_same):
        problem = problems(3).quadrants("P", *size, B=1, dk=1, dv=1, directions=(0, 3), states=True)
        assert_same(problem.with_gradients(backend), problem.with_gradients("reference"))

    def test_only_the_direct_term(self, backend, problems):
        problem = problems(4).grid(2, 3, states=False, without={"source_r", "mark_l", "mark_u"})
        for name in [name for name in problem.tensors if "_" in name]:
            del problem.tensors[name]
        torch.testing.assert_close(problem.run(backend), problem.run("reference"))

    def test_float32(self, backend, problems, assert_same):
        problem = problems(5, torch.float32).quadrants("D", 5, 6)
        assert problem.run(backend)[0].dtype == torch.float32
        assert_same(problem.with_gradients(backend), problem.with_gradients("reference"), tolerance=2e-5)

    def test_strides_do_not_matter(self, backend, problems):
        problem = problems(6).quadrants("P", 3, 3)
        scattered = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in problem.tensors.values()]
        assert not any(t.is_contiguous() for t in scattered)
        torch.testing.assert_close(problem.run(backend, *scattered), problem.run(backend))


@pytest.mark.parametrize("backend", ["chunked"])
class TestEveryLineBackend:
    @settings(max_examples=20)
    @given(
        seed=st.integers(0, 2**31),
        N=st.sampled_from([1, 2, 7, 64, 67]),
        channels=st.sampled_from([None, (1, 1, 1, 1, 1), (2, 3, 1, 2, 4), (1, 1, 3, 3, 3)]),
        states=st.booleans(),
    )
    def test_it_equals_the_recursion(self, backend, seed, N, channels, states, problems, assert_same):
        problem = problems(seed).line(N, B=1, channels=channels, states=states)
        assert_same(problem.with_gradients(backend), problem.with_gradients("reference"))

    @pytest.mark.parametrize("channels", [None, (2, 1, 2, 2, 1)])
    def test_gradcheck(self, backend, channels, problems):
        assert problems(1).line(5, channels=channels).gradcheck(backend)

    def test_second_derivatives(self, backend, problems):
        problem = problems(2).line(3, B=1, dk=1, dv=1)
        leaves = tuple(t.clone().requires_grad_() for t in problem.tensors.values())
        assert torch.autograd.gradgradcheck(lambda *given: problem.run(backend, *given), leaves)

    def test_a_long_line_of_chunks(self, backend, problems, assert_same):
        problem = problems(3).line(300, B=1, dk=1, dv=1)
        from isocline.plstm.kernels import chunked

        leaves = [t.clone() for t in problem.tensors.values()]
        wide = [t.reshape(*t.shape, 1) for t in leaves[:3]] + [t.reshape(1, -1, 1, 1, 1) for t in leaves[3:6]]
        wide[4], state = wide[4].squeeze(-1), leaves[7].unsqueeze(-1)
        ours = chunked.plstm_1d(*wide, None, state, chunk=2)  # 150 chunks: more than one chain of them
        whole = chunked.plstm_1d(*wide, None, state, chunk=300)
        torch.testing.assert_close(ours, whole)


def test_auto_is_one_of_them(problems, assert_same):
    for problem in (problems(7).line(), problems(7).grid(), problems(7).quadrants("P", 9, 2, states=True)):
        assert_same(problem.with_gradients("auto"), problem.with_gradients("reference"))


@pytest.mark.parametrize(
    ("device", "heads", "side", "states", "expected"),
    [
        ("cpu", 24, 14, False, "dense"), ("cpu", 1, 65, False, "sweep"), ("cpu", 1, 14, True, "sweep"),
        ("meta", 24, 32, False, "dense"), ("meta", 24, 64, False, "tiled"), ("meta", 1, 14, True, "tiled"),
    ],
)  # fmt: skip
def test_auto_chooses_by_size_device_and_memory(device, heads, side, states, expected):
    assert _fastest(torch.empty(heads, side, side, 1, 1, device=device), states) == expected


@pytest.mark.parametrize("backend", ["dense", "sweep"])
def test_threads_share_the_heads(backend, problems):
    problem = problems(8).quadrants("D", 3, 4, B=5)
    alone = problem.with_gradients(backend)
    torch.set_num_threads(2)
    try:
        shared = problem.with_gradients(backend)
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(shared, alone)


@pytest.mark.parametrize("backend", ["dense", "sweep"])
@pytest.mark.parametrize("size", [(13, 13), (5, 90)])
def test_larger_grids_in_parts(backend, size, problems, assert_same, monkeypatch):
    """More nodes than are multiplied together, more columns of a state than are carried together."""
    from isocline._core import matrices
    from isocline.plstm.kernels import cpu, states

    assert states.CARRIED // (90 * 16) < 128
    assert matrices.LONG <= 13 * 13 < cpu.CARRIED <= 5 * 90
    monkeypatch.setattr(cpu, "TARGETS", 100)
    double = problems(10).quadrants("P", *size, B=1, dk=1, dv=1, directions=(0, 3))
    assert_same(double.with_gradients(backend), double.with_gradients("tiled"))
    single = problems(11, torch.float32).quadrants("P", *size, B=1, dk=16, dv=128)
    assert_same(single.with_gradients(backend), single.with_gradients("tiled"), tolerance=1e-4)


def test_heads_out_of_a_layer_are_brought_together_first(problems, monkeypatch):
    """oneDNN takes hundreds of times as long for rows that do not lie side by side, as those of one head among others."""
    from isocline.plstm.kernels import cpu

    seen = []

    def product(a, b):
        seen.append(all(t.is_contiguous() or t.mT.is_contiguous() for t in (a, b)))
        return a @ b.mT

    monkeypatch.setattr(cpu, "product", product)
    monkeypatch.setattr(cpu, "LONG", 1)
    problem = problems(6, torch.float32).quadrants("P", 3, 4)
    leaves = [t.requires_grad_() for t in problem.tensors.values()]
    # As a layer makes them: in memory, every head's row beside those of the other heads.
    apart = [torch.stack([t, t], -2).select(-2, 1) if i < 3 else t for i, t in enumerate(leaves)]
    torch.autograd.grad(problem.run("dense", *apart)[0].sum(), leaves)
    assert len(seen) == 2 * (2 + 5)  # heads, and products on the way there and back
    assert all(seen)


def test_long_states_go_by_chunks(problems, assert_same, monkeypatch):
    from isocline.plstm.kernels import cpu_lines

    problem = problems(12).line(70)
    token_by_token = problem.with_gradients("chunked")
    monkeypatch.setattr(cpu_lines, "CARRIED", 0)
    assert_same(problem.with_gradients("chunked"), token_by_token)


@pytest.mark.parametrize("backend", ["dense", "sweep", "chunked"])  # sweep: tiles there
def test_gradients_of_each_sample(backend, problems):
    """torch.func: a gradient for every sample at once, as many as one by one."""
    problem = problems(9).line(5, B=3) if backend == "chunked" else problems(9).quadrants("P", 2, 3, B=3)

    def loss(*given):
        return sum(out.square().sum() for out in problem.run(backend, *given))

    leaves = [t.clone().requires_grad_() for t in problem.tensors.values()]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    found = torch.func.vmap(torch.func.grad(loss, argnums=tuple(range(len(leaves)))))(
        *problem.tensors.values()
    )
    torch.testing.assert_close(found, expected)
