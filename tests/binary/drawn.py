"""What the laws of this room are drawn from."""

import torch
from hypothesis import strategies as st


def reals(limit: float = 4.0):
    """Tensors of a few dozen reals, zeros of both signs and both truncations of ReSTE among them."""
    special = st.sampled_from([0.0, -0.0, 0.1, -0.1, 1.5, -1.5, 1.0])
    return st.lists(st.floats(-limit, limit) | special, min_size=1, max_size=40).map(
        lambda values: torch.tensor(values, dtype=torch.float64)
    )
