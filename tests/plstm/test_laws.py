"""What holds for any gates: mass, paths, symmetry, streaming, and the mapping to linear attention."""

from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.plstm import plstm_1d, plstm_2d, plstm_2d_d, plstm_2d_p
from isocline.plstm.kernels.linear_attention import as_linear_attention

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # products and sums of a few dozen numbers in float64
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
SEEDS = st.integers(0, 2**31)


def mask_of(function, X, Y, **options):
    """G ``(X, Y, X, Y)``: queries and keys of one, and every node's value its own axis."""
    one, nodes = torch.ones(X, Y, 1), torch.eye(X * Y).reshape(X, Y, X * Y)
    return function(one, one, nodes, scale=1.0, **options).unflatten(-1, (X, Y))


def rand(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class TestPropagation:
    @given(seed=SEEDS, n=st.integers(2, 6))
    @settings(max_examples=20)
    def test_mass_is_conserved_on_antidiagonals(self, seed, n):
        """At gamma = 1 all that enters a node goes on, whatever the angles are."""
        angle = rand(seed, 1, n, n)
        G = mask_of(
            plstm_2d_p, n, n, source_r=angle, source_d=1 - angle, transition_r=angle, transition_d=1 - angle,
            mark=torch.ones(1, n, n), directions=(0,), check=True,
        )  # fmt: skip
        for t in range(1, n):
            mass = sum(G[x, t - x, 0, 0] for x in range(t + 1))
            torch.testing.assert_close(mass, torch.tensor(1.0))

    def test_a_constant_angle_is_a_binomial(self):
        n, alpha = 6, 0.3
        a, b = torch.full((1, n, n), alpha), torch.full((1, n, n), 1 - alpha)
        ones = torch.ones(1, n, n)
        G = mask_of(
            plstm_2d_p,
            n,
            n,
            source_r=a,
            source_d=b,
            transition_r=a,
            transition_d=b,
            mark=ones,
            directions=(0,),
        )
        for x in range(n):
            for y in range(n):
                expected = comb(x + y, x) * alpha**x * (1 - alpha) ** y if x + y else 0.0
                assert abs(G[x, y, 0, 0].item() - expected) < 1e-14

    @given(seed=SEEDS, size=SIZES)
    @settings(max_examples=20)
    def test_decay_bounds_what_is_kept(self, seed, size):
        """With ``|a| + |b| <= gamma`` and a source of one in all, no antidiagonal holds more than gamma^(distance - 1)."""
        X, Y = size
        gamma, angle, sign = 0.8, rand(seed, 1, X, Y), rand(seed + 1, 1, X, Y).sub(0.5).sign()
        ones = torch.ones(1, X, Y)
        G = mask_of(
            plstm_2d_p, X, Y, source_r=angle, source_d=1 - angle, transition_r=gamma * angle * sign,
            transition_d=gamma * (1 - angle), mark=ones, directions=(0,), check=True,
        )  # fmt: skip
        for t in range(1, X + Y - 1):
            mass = sum(G[x, t - x, 0, 0].abs() for x in range(X) if 0 <= t - x < Y)
            assert mass <= gamma ** (t - 1) * (1 + 1e-12)


class TestDistribution:
    @given(seed=SEEDS, size=SIZES, chirality=st.sampled_from("LR"))
    @settings(max_examples=20)
    def test_the_mask_is_the_product_along_the_only_path(self, seed, size, chirality):
        X, Y = size
        names = (
            "source_r",
            "source_d",
            "transition_r",
            "transition_d",
            "transition_turn",
            "mark_l",
            "mark_u",
        )
        gates = dict(zip(names, 2 * rand(seed, 7, 1, X, Y) - 1, strict=True))
        G = mask_of(plstm_2d_d, X, Y, **gates, chirality=chirality, directions=(0,), check=True)
        s = {name: gate[0] for name, gate in gates.items()}
        if chirality == "R":  # the same with the axes swapped
            swap = dict(zip(names, ("source_d", "source_r", "transition_d", "transition_r", "transition_turn", "mark_u",
                                    "mark_l"), strict=True))  # fmt: skip
            s = {name: gates[swap[name]][0].mT for name in names}
            G, X, Y = G.permute(1, 0, 3, 2), Y, X
        for x1, y1, x0, y0 in torch.cartesian_prod(*(torch.arange(n) for n in (X, Y, X, Y))).tolist():
            down = s["transition_d"][x0, y0 + 1 : y1].prod()
            along = s["transition_r"][x0 + 1 : x1, y1].prod() * s["mark_l"][x1, y1]
            if x1 > x0 and y1 > y0:
                path = s["source_d"][x0, y0] * down * s["transition_turn"][x0, y1] * along
            elif x1 > x0 and y1 == y0:
                path = s["source_r"][x0, y0] * along
            elif x1 == x0 and y1 > y0:
                path = s["source_d"][x0, y0] * down * s["mark_u"][x0, y1]
            else:
                path = torch.tensor(0.0)
            torch.testing.assert_close(G[x1, y1, x0, y0], path, **CLOSE)


@pytest.mark.parametrize("mode", ["P", "D", "R"])
class TestDirections:
    @pytest.mark.parametrize("flip", [1, 2, 3])
    def test_a_flipped_grid_is_the_grid_with_its_directions_exchanged(self, mode, flip, problems):
        problem = problems(flip).quadrants(mode, 3, 4)
        axes = [axis for axis in (-2, -1) if flip & (axis + 3)]
        vectors = [axis - 1 for axis in axes]
        exchanged = [direction ^ flip for direction in range(4)]
        flipped = [
            t.flip(vectors)
            if name in "qkv"
            else t.flip(axes)
            if name == "direct"
            else t.flip(axes)[:, exchanged]
            for name, t in problem.tensors.items()
        ]
        torch.testing.assert_close(
            problem.run("auto", *flipped)[0], problem.run("auto")[0].flip(vectors), **CLOSE
        )

    def test_all_together_are_the_sum_of_each(self, mode, problems):
        problem = problems(4).quadrants(mode, 4, 3)
        together = problem.run("auto")[0]
        total = 0
        for direction in range(4):
            one = {
                name: t[:, [direction]] if "_" in name or name == "mark" else t
                for name, t in problem.tensors.items()
            }
            if direction:
                one["direct"] = None
            options = {**problem.options, "directions": (direction,)}
            total = total + problem.function(**one, **options)
        torch.testing.assert_close(total, together, **CLOSE)


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=20)
def test_the_reversed_grid_has_the_transposed_mask(problems, seed, size):
    """Turn every edge round: sources become marks and turns change sides."""
    X, Y = size
    gates = {
        name: t for name, t in problems(seed).grid(X, Y, B=1, states=False).tensors.items() if "_" in name
    }
    back = {
        "source_r": "mark_l", "source_d": "mark_u", "mark_l": "source_r", "mark_u": "source_d", "transition_rl": "transition_rl",
        "transition_du": "transition_du", "transition_ru": "transition_dl", "transition_dl": "transition_ru",
    }  # fmt: skip
    G = mask_of(plstm_2d, X, Y, **{name: t[0] for name, t in gates.items()})
    turned = mask_of(plstm_2d, X, Y, **{name: gates[back[name]][0].flip(0, 1) for name in gates}).flip(
        0, 1, 2, 3
    )
    torch.testing.assert_close(turned, G.permute(2, 3, 0, 1), **CLOSE)


class TestLines:
    @given(seed=SEEDS, N=st.integers(1, 9))
    @settings(max_examples=25)
    def test_a_sequence_is_linear_attention_after_the_shift(self, problems, seed, N):
        """Negative transitions and transitions of zero are no exception."""
        t = problems(seed).line(N, B=2, states=True).tensors
        direct, start = t.pop("direct"), t.pop("initial_state")
        q, k, v, decay, sign = as_linear_attention(*t.values())
        state, outputs = start, []
        for n in range(N):
            state = state * decay[:, n, None, None].exp() + k[:, n, :, None] * v[:, n, None, :]
            outputs.append((q[:, n, :, None] * state).sum(1))
        skip = (direct * (t["q"] * t["k"]).sum(-1)).unsqueeze(-1) * t["v"]
        y, last = plstm_1d(*t.values(), direct, initial_state=start, return_state=True, scale=1.0)
        torch.testing.assert_close(torch.stack(outputs, 1) + skip, y, **CLOSE)
        written = (t["source"][:, -1, None] * t["k"][:, -1]).unsqueeze(-1) * t["v"][:, -1].unsqueeze(-2)
        ours = t["transition"][:, -1, None, None] * (sign[:, None, None] * state) + written
        torch.testing.assert_close(ours, last, **CLOSE)

    def test_a_row_of_a_grid_is_a_sequence(self, problems):
        t = problems(1).line(6, states=False).tensors
        y = plstm_1d(**t)
        names = {"source": "source_d", "transition": "transition_du", "mark": "mark_u"}
        row = {names.get(name, name): tensor.unsqueeze(1) for name, tensor in t.items()}
        torch.testing.assert_close(plstm_2d(**row).squeeze(1), y, **CLOSE)

    def test_diagonal_matrices_are_independent_channels(self, problems):
        t = problems(2).line(5, states=False).tensors
        pair = {
            name: torch.stack([tensor, 0.5 * tensor], -1)
            for name, tensor in t.items()
            if name in ("source", "transition")
        }
        eye = torch.eye(2)
        wide = {name: t[name].unsqueeze(-1) for name in "qkv"} | {
            "source": pair["source"][..., None, None],
            "transition": pair["transition"].unsqueeze(-1) * eye,
            "mark": t["mark"][..., None, None, None] * eye.reshape(2, 1, 2),
        }
        y = plstm_1d(**wide)
        for channel in range(2):
            one = {**t, **{name: tensor[..., channel] for name, tensor in pair.items()}, "direct": None}
            torch.testing.assert_close(y[..., channel], plstm_1d(**one), **CLOSE)

    @given(seed=SEEDS, cut=st.integers(1, 8))
    @settings(max_examples=15)
    def test_a_stream_in_parts_is_the_whole(self, problems, seed, cut):
        t = problems(seed).line(9).tensors
        state, parts = t.pop("initial_state"), []
        whole, last = plstm_1d(**t, initial_state=state, return_state=True)
        for part in (slice(None, cut), slice(cut, None)):
            y, state = plstm_1d(
                **{name: x[:, part] for name, x in t.items()}, initial_state=state, return_state=True
            )
            parts.append(y)
        torch.testing.assert_close((torch.cat(parts, 1), state), (whole, last), **CLOSE)


@pytest.mark.parametrize("backend", ["reference", "dense", "sweep", "tiled"])
def test_a_grid_in_four_parts_is_the_whole(backend, problems):
    X, Y, x, y = 5, 6, 2, 4
    t = problems(3).grid(X, Y).tensors
    right, down = t.pop("right"), t.pop("down")
    whole, border = plstm_2d(**t, initial_state=(right, down), return_state=True, backend=backend)
    rows, rights, downs = [], list(right.split([y, Y - y], 1)), list(down.split([x, X - x], 1))
    for i, across in enumerate((slice(None, x), slice(x, None))):
        row = []
        for j, along in enumerate((slice(None, y), slice(y, None))):
            part = {name: tensor[:, across, along] for name, tensor in t.items()}
            found, (rights[j], downs[i]) = plstm_2d(
                **part, initial_state=(rights[j], downs[i]), return_state=True, backend=backend
            )
            row.append(found)
        rows.append(torch.cat(row, 2))
    ours = torch.cat(rows, 1), torch.cat(rights, 1), torch.cat(downs, 1)
    torch.testing.assert_close(ours, (whole, *border), **CLOSE)


def test_long_products_neither_overflow_nor_turn_to_nan():
    """Four hundred transitions of 0, 1e-30, -1 and 1 in float32: results and gradients stay finite."""
    N = 400
    pattern = torch.tensor([1.0, -1.0, 1e-30, 0.0, 1.0], dtype=torch.float32).repeat(N // 5)
    ones = torch.ones(1, N, 2, dtype=torch.float32)
    gates = [
        torch.ones(1, N, dtype=torch.float32),
        pattern.expand(1, N),
        torch.ones(1, N, dtype=torch.float32),
    ]
    leaves = [t.clone().requires_grad_() for t in (ones, ones, ones, *gates)]
    y = plstm_1d(*leaves)
    truth = plstm_1d(*leaves, backend="reference")
    torch.testing.assert_close(y, truth, rtol=1e-5, atol=1e-5)
    for found, expected in zip(
        torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(truth.sum(), leaves), strict=True
    ):
        assert found.isfinite().all()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
