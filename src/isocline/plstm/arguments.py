"""What comes in at the doors of `functional`: shapes compared, leading axes joined, channels made explicit.

Every function takes its tensors in one of two forms. *Scalar*: q ``(..., N, dk)`` and gates ``(..., N)``. With
*channels* (the ``J`` of the paper's state tracking): q ``(..., N, dk, JQ)``, source ``(..., N, JT, JK, JV)`` and so on.
The form is told from the number of axes; kernels see the second, with the leading axes joined to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .._core.checks import wrong

CHANNELS = {
    "q": ("JQ",),
    "k": ("JK",),
    "v": ("JV",),
    "source": ("JT", "JK", "JV"),
    "transition": ("JT", "JT"),
    "mark": ("JO", "JQ", "JT"),
    "direct": ("JO", "JQ", "JK", "JV"),
    "initial_state": ("JT",),
}


@dataclass(frozen=True, slots=True)
class Fields:
    """Tensors by name, ``(B, axes, channels)`` each or None; and what is needed to give a result its first form."""

    tensors: dict[str, Tensor | None]
    lead: tuple[int, ...]  # the axes that were joined to B
    scalar: bool  # no channel axes came in
    dtype: torch.dtype  # of the result; states keep the wider dtype of the computation
    work: torch.dtype

    def __getitem__(self, name: str) -> Tensor | None:
        return self.tensors[name]

    def given(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        assert tensor is not None
        return tensor

    @property
    def one_channel(self) -> bool:
        """Whether every channel axis has one entry."""
        return all(
            t is None or set(t.shape[t.dim() - len(_channels(name)) :]) <= {1}
            for name, t in self.tensors.items()
        )

    def result(self, y: Tensor) -> Tensor:
        """``(B, axes, dv, JO)`` as ``(..., axes, dv[, JO])``, in the dtype of q, k and v."""
        return self.state(y).to(self.dtype)

    def state(self, state: Tensor) -> Tensor:
        """``(B, axes, dk, dv, JT)`` as ``(..., axes, dk, dv[, JT])``."""
        state = state.squeeze(-1) if self.scalar else state
        return state.reshape(*self.lead, *state.shape[1:])


def joined(
    tensors: Mapping[str, Tensor | None], axes: Mapping[str, Sequence[str]], *, channels: bool = True
) -> Fields:
    """Compare shapes and join the leading axes, which broadcast.

    ``axes`` names the axes of every tensor between the leading and the channel axes, such as ``q: X Y dk``; equal
    names are equal sizes. Without `channels` only the scalar form will do. Raises ValueError or TypeError naming
    the tensor, both shapes and the axis.
    """
    q = check_tensors(tensors)
    scalar = not channels or _is_scalar(tensors, axes, q)
    lead = q.dim() - len(axes["q"]) - (0 if scalar else 1)
    if lead < 0:
        raise wrong("q", f"shape (..., {', '.join(axes['q'])})", q, "add the missing axes")
    known: dict[str, tuple[int, str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in present.items():
        symbols = (*axes[name], *(() if scalar else _channels(name)))
        _compare(name, tensor, lead, symbols, known, shapes)
    first = _broadcast({name: shape[:lead] for name, shape in shapes.items()})
    work = torch.float32
    for tensor in present.values():
        work = torch.promote_types(work, tensor.dtype)
    result = q.dtype
    for name in ("k", "v"):
        result = torch.promote_types(result, present[name].dtype)
    filled: dict[str, Tensor | None] = {}
    for name, tensor in tensors.items():
        filled[name] = None if tensor is None else _joined(name, tensor.to(work), first, lead, scalar)
    return Fields(filled, first, scalar, result, work)


def check_tensors(tensors: Mapping[str, Tensor | None]) -> Tensor:
    """Return q. Raises TypeError unless all are tensors of floating point numbers, ValueError unless on the device of q."""
    q = tensors["q"]
    for name, tensor in tensors.items():
        if tensor is None and name != "q":
            continue
        if not isinstance(tensor, Tensor):
            raise wrong(name, "a tensor", tensor, "convert it with torch.as_tensor", error=TypeError)
        if not tensor.is_floating_point():
            raise wrong(name, "floating point numbers", tensor, "convert it with .float()", error=TypeError)
        if isinstance(q, Tensor) and tensor.device != q.device:
            raise wrong(
                name, f"the device of q, {q.device}", str(tensor.device), "move it with .to(q.device)"
            )
    assert q is not None
    return q


def _channels(name: str) -> tuple[str, ...]:
    return CHANNELS["initial_state" if name.startswith("initial_state") else name.split("_")[0]]


def _is_scalar(tensors: Mapping[str, Tensor | None], axes: Mapping[str, Sequence[str]], q: Tensor) -> bool:
    for name, tensor in tensors.items():
        if tensor is not None and _channels(name)[1:]:  # a gate: more channel axes than q has
            with_channels = q.dim() + len(axes[name]) - len(axes["q"]) + len(_channels(name)) - 1
            return tensor.dim() < with_channels
    return True


def _compare(
    name: str,
    tensor: Tensor,
    lead: int,
    symbols: Sequence[str],
    known: dict[str, tuple[int, str]],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    shape = tuple(tensor.shape)
    want = f"shape ({', '.join(['...', *symbols])})"
    if len(shape) != lead + len(symbols):
        others = f" with {lead} leading axes as in q {shapes['q']}" if "q" in shapes else ""
        raise wrong(name, want + others, f"{shape}", "leading axes of size 1 broadcast")
    for axis, (symbol, size) in enumerate(zip(symbols, shape[lead:], strict=True), start=lead):
        wanted, who = known.setdefault(symbol, (size, name))
        if size != wanted:
            as_in = f"{symbol} = {wanted} on axis {axis} as in {who} {shapes.get(who, shape)}"
            raise wrong(name, f"{want} with {as_in}", f"{shape}")
    if 0 in shape:
        raise wrong(name, "every axis, heads included, of size >= 1", f"{shape}")
    shapes[name] = shape


def _broadcast(leads: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    found = [1] * len(leads["q"])
    who = ["q"] * len(found)
    for name, lead in leads.items():
        for axis, size in enumerate(lead):
            if size != 1 and found[axis] not in (1, size):
                want = f"size {found[axis]} or 1 on axis {axis} as in {who[axis]} {leads[who[axis]]}"
                raise wrong(name, want, f"{lead} as leading axes")
            if size != 1 and found[axis] == 1:
                found[axis], who[axis] = size, name
    return tuple(found)


def _joined(name: str, tensor: Tensor, first: tuple[int, ...], lead: int, scalar: bool) -> Tensor:
    rest = tensor.shape[lead:]
    tensor = tensor.expand(*first, *rest).reshape(prod(first), *rest)
    if scalar:
        tensor = tensor.reshape(*tensor.shape, *(1 for _ in _channels(name)))
    return tensor
