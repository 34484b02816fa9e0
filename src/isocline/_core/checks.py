"""What is said at the door: one pattern of message for every argument that is not what it should be."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import reprlib
from collections.abc import Iterable
from typing import Literal, TypeVar, overload

import numpy as np
import torch

Error = TypeVar("Error", bound=Exception)
Choice = TypeVar("Choice")

_HOLDS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_BLOCK = 1 << 20  # values looked at together when a bad one has to be found


def wrong(argument: str, want: str, got: object, do: str = "", *, error: type[Error] = ValueError) -> Error:
    """The error to raise: ``argument: want ..., got ...; do ...``.

    ``got`` is shown as a value; arrays are shown by their kind, shape and dtype, and a string is taken as
    words that already describe what came (pass ``repr(value)`` to quote it).

    >>> raise wrong("step_size", "a number > 0 or inf", -1.0, "use inf for the perceptron limit")
    Traceback (most recent call last):
    ValueError: step_size: want a number > 0 or inf, got -1.0; use inf for the perceptron limit
    """
    message = f"{argument}: want {want}, got {_shown(got)}"
    return error(f"{message}; {do}" if do else message)


def check_choice(argument: str, value: Choice, choices: Iterable[Choice]) -> Choice:
    """Return ``value`` if it is one of ``choices``; else raise a ValueError that lists them."""
    known = list(choices)
    if any(type(value) is type(choice) and value == choice for choice in known):
        return value
    close = nearest(value, [str(choice) for choice in known]) if isinstance(value, str) else []
    advice = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise wrong(argument, f"one of {', '.join(map(repr, known))}", repr(value), advice)


@overload
def check_number(
    argument: str,
    value: object,
    *,
    above: float | None = ...,
    least: float | None = ...,
    below: float | None = ...,
    most: float | None = ...,
    integer: Literal[True],
    finite: bool = ...,
) -> int: ...
@overload
def check_number(
    argument: str,
    value: object,
    *,
    above: float | None = ...,
    least: float | None = ...,
    below: float | None = ...,
    most: float | None = ...,
    integer: bool = ...,
    finite: bool = ...,
) -> float: ...
def check_number(
    argument: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    integer: bool = False,
    finite: bool = True,
) -> float | int:
    """Return ``value`` as a plain ``float`` (``int`` if ``integer``) when it lies within the stated limits.

    ``above`` and ``below`` exclude the limit, ``least`` and ``most`` include it; ``finite=False`` admits
    infinity, NaN is never admitted. Booleans are not numbers here. Raises TypeError for another type,
    ValueError for a value outside.
    """
    open_above = below is None and most is None
    kind = "a whole number" if integer else "a finite number" if finite and open_above else "a number"
    limits = [(">", above), (">=", least), ("<", below), ("<=", most)]
    ranges = " and ".join(f"{sign} {limit}" for sign, limit in limits if limit is not None)
    infinity = "or inf" if open_above and not finite and not integer else ""
    want = " ".join(filter(None, (kind, ranges, infinity)))
    if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 0:
        value = value.item()
    kinds = numbers.Integral if integer else numbers.Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kinds):
        raise wrong(argument, want, repr(value) if isinstance(value, str) else value, error=TypeError)
    number: float | int = operator.index(value) if integer else float(value)  # type: ignore[arg-type]
    inside = all(_HOLDS[sign](number, limit) for sign, limit in limits if limit is not None)
    if math.isnan(number) or (finite and math.isinf(number)) or not inside:
        raise wrong(argument, want, number)
    return number


def check_finite(argument: str, array: np.ndarray | torch.Tensor) -> None:
    """Raise a ValueError that counts the NaN and infinite values of ``array`` and names the first.

    Takes no memory of the array's size: a finite sum proves that every value is finite, and only when it is
    not are the values looked at, block by block. Whole numbers and booleans pass.
    """
    if isinstance(array, torch.Tensor):
        if not (array.is_floating_point() or array.is_complex()) or bool(
            torch.isfinite(array.detach().sum())
        ):
            return
        array = array.detach().cpu()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    if array.dtype.kind not in "fc":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):
            return
    nans = infinities = 0
    first: int | None = None
    flat = array.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        block = flat[begin : begin + _BLOCK]
        bad = np.flatnonzero(~np.isfinite(block))
        if bad.size and first is None:
            first = begin + int(bad[0])
        missing = int(np.isnan(block[bad]).sum())
        nans, infinities = nans + missing, infinities + bad.size - missing
    if first is not None:
        where = tuple(int(i) for i in np.unravel_index(first, array.shape))
        counts = " and ".join(
            f"{count} {name}" for count, name in ((nans, "NaN"), (infinities, "infinite")) if count
        )
        raise wrong(argument, "finite values", f"{counts} of {flat.size}, the first at {where}")


def check_shape(
    argument: str, array: np.ndarray | torch.Tensor, pattern: str, do: str = ""
) -> dict[str, int]:
    """Return the sizes of ``array`` by the letters of ``pattern``, such as ``"n d"`` or ``"... 3 h w"``.

    A letter stands for any size >= 1 (the same letter for the same size), a number for itself, a leading
    ``...`` for any further axes. Raises ValueError.
    """
    names, sizes = pattern.split(), tuple(int(size) for size in array.shape)
    tail = names[1:] if names[:1] == ["..."] else names
    fits = len(sizes) >= len(tail) if tail is not names else len(sizes) == len(tail)
    found: dict[str, int] = {}
    for name, size in zip(tail, sizes[len(sizes) - len(tail) :] if fits else (), strict=False):
        fits = fits and (
            size == int(name) if name.isdigit() else size >= 1 and found.setdefault(name, size) == size
        )
    if not fits:
        raise wrong(argument, f"shape ({', '.join(names)})", f"{sizes}", do)
    return found


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The up to ``count`` of ``names`` that look most like ``name``; those that contain it come first.

    >>> nearest("percepton", ["adam", "batch_perceptron", "perceptron"])
    ['perceptron', 'batch_perceptron']
    """
    known = {candidate.lower(): candidate for candidate in names}
    asked = name.lower()
    holding = sorted((key for key in known if asked and asked in key), key=len)
    alike = difflib.get_close_matches(asked, known, n=count, cutoff=0.5)
    return [known[key] for key in dict.fromkeys([*holding, *alike])][:count]


def _shown(got: object) -> str:
    if isinstance(got, str):
        return got
    if isinstance(got, (np.ndarray, torch.Tensor)):
        kind = "a tensor" if isinstance(got, torch.Tensor) else "an array"
        return f"{kind} of shape {tuple(got.shape)}, {str(got.dtype).removeprefix('torch.')}"
    return reprlib.repr(got.item() if isinstance(got, np.generic) else got)
