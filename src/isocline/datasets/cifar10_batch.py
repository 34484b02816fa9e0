"""A batch of CIFAR-10's Python version, read without obeying it.

The file is a pickle, a program for a small stack machine that can call anything. Here only the steps that the
published batches need are carried out, on plain values: numbers, byte strings, lists, mappings, and the
three names by which NumPy writes an array, which are recognised but never looked up. Any other step or name
is refused.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from isocline._core.checks import wrong

_ARRAY, _KIND = "numpy.core.multiarray _reconstruct", "numpy dtype"
_NAMES = {_ARRAY, _KIND, "numpy ndarray"}
_MARK = object()


@dataclass
class _Name:
    words: str


@dataclass
class _Made:
    """What a name applied to arguments stands for: an array or its type, with the state it is given later."""

    name: str
    arguments: tuple[Any, ...]
    state: tuple[Any, ...] = ()


def read_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` uint8 from the bytes of a batch.

    ``name`` is said in the ValueError that anything else than a published batch raises.
    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, "Python version".
    """
    try:
        batch = _replayed(content)
        images = _pixels(batch[b"data"])
        labels = np.array(batch[b"labels"], np.int64)
        if labels.shape != (len(images),) or not len(images) or labels.min() < 0 or labels.max() > 9:
            raise ValueError("a label in 0..9 for each image is missing")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        do = "use the binary version, cifar-10-binary.tar.gz"
        raise wrong(name, "a batch of CIFAR-10's Python version", f"another file ({error})", do) from error
    return images.reshape(-1, 3, 32, 32), labels.astype(np.uint8)


def _pixels(made: _Made) -> np.ndarray:
    """The array that NumPy would build from ``made.state``: version, shape, type, column order, bytes."""
    _, shape, kind, by_columns, content = made.state
    if made.name != _ARRAY or kind.name != _KIND or kind.arguments[:1] != (b"u1",) or by_columns is not False:
        raise ValueError("its data are not rows of unsigned bytes")
    return np.frombuffer(content, np.uint8).reshape(shape).reshape(-1, 3072)


def _replayed(content: bytes) -> dict[bytes, Any]:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for step, argument, _ in pickletools.genops(content):
        match step.name:
            case "PROTO":
                pass
            case "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "SHORT_BINSTRING" | "BINSTRING":
                stack.append(str(argument).encode("latin-1"))
            case "BININT" | "BININT1" | "BININT2":
                stack.append(argument)
            case "NONE" | "NEWFALSE" | "NEWTRUE":
                stack.append({"NONE": None, "NEWFALSE": False, "NEWTRUE": True}[step.name])
            case "MARK" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"MARK": _MARK, "EMPTY_LIST": [], "EMPTY_DICT": {}}[step.name])
            case "GLOBAL" if argument in _NAMES:
                stack.append(_Name(argument))
            case "STOP":
                return _mapping(stack.pop())
            case _:
                _combine(stack, step.name, argument)
    raise ValueError("it has no end")


def _combine(stack: list[Any], step: str, argument: object) -> None:
    """The steps that take several values off the stack."""
    match step:
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            count = int(step[-1])
            stack[-count:] = [tuple(stack[-count:])]
        case "TUPLE":
            items = _since_mark(stack)
            stack.append(tuple(items))
        case "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        case "APPENDS":
            items = _since_mark(stack)
            stack[-1].extend(items)
        case "SETITEM" | "SETITEMS":
            items = _since_mark(stack) if step == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _mapping(stack[-1]).update(zip(items[::2], items[1::2], strict=True))
        case "REDUCE":
            arguments, name = stack.pop(), stack.pop()
            stack.append(_Made(name.words, arguments))
        case "BUILD":
            state = stack.pop()
            stack[-1].state = state
        case _:
            raise ValueError(f"it asks for {step} {argument if argument is not None else ''}".strip())


def _since_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _mapping(value: Any) -> dict[bytes, Any]:
    if not isinstance(value, dict):
        raise TypeError("it is not a mapping")
    return value
