"""A vector of lanes for numba: one value per sequence, kept in registers and computed on at once.

Compilers vectorise loops when they feel like it; here it is said outright. A vector holds 64 bytes (16
float32 or 8 float64); LLVM splits it where the machine's registers are narrower. Vectors lie one after another in flat
memory, of which the kernels hold bare pointers: an array of numba is seven values with a count of who holds it, and
half of the time to compile went into those. ``place`` counts vectors. What is called ``like`` only says the dtype.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

VECTOR_BYTES = 64

intrinsic: Any = extending.intrinsic  # its functions are called without their first argument


class Lanes(types.Type):
    """The numba type of a vector of ``count`` values of ``dtype``."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.count = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(f"Lanes({dtype}, {self.count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        element = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, kind.count))


@intrinsic
def pointer(typing, address, like):
    """An address, as a whole number, made a pointer to values of like's dtype."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), build


@intrinsic
def pieces(typing, address, counts, like):
    """Pointers to values of like's dtype, the k-th to ``counts[k]`` of them, one piece after another from an address on."""
    kind = types.CPointer(like.dtype)

    def build(context, builder, signature, arguments):
        here, found = builder.inttoptr(arguments[0], context.get_value_type(kind)), []
        for k in range(counts.count):
            found.append(here)
            here = builder.gep(here, [builder.extract_value(arguments[1], k)])
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(kind, counts.count)(address, counts, like), build


@intrinsic
def ahead(typing, memory, count):
    """A pointer ``count`` values further on."""

    def build(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return memory(memory, types.intp), build


@intrinsic
def number(typing, like, value):
    """A value in like's dtype."""

    def build(context, builder, signature, arguments):
        return context.cast(builder, arguments[1], signature.args[1], signature.return_type)

    return like.dtype(like, value), build


@intrinsic
def load(typing, memory, place):
    """The ``place``-th vector."""

    def build(context, builder, signature, arguments):
        pointer = _vector_pointer(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=memory.dtype.bitwidth // 8)

    return Lanes(memory.dtype)(memory, types.intp), build


@intrinsic
def store(typing, memory, place, value):
    """Write the ``place``-th vector."""

    def build(context, builder, signature, arguments):
        pointer = _vector_pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=memory.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(memory, types.intp, Lanes(memory.dtype)), build


@intrinsic
def spread(typing, memory, index):
    """The ``index``-th value, in every lane."""

    def build(context, builder, signature, arguments):
        value = builder.load(builder.gep(arguments[0], [arguments[1]]))
        return _splat(builder, value, Lanes(memory.dtype).count)

    return Lanes(memory.dtype)(memory, types.intp), build


@intrinsic
def everywhere(typing, like, value):
    """A value in like's dtype, in every lane."""

    def build(context, builder, signature, arguments):
        value = context.cast(builder, arguments[1], signature.args[1], like.dtype)
        return _splat(builder, value, Lanes(like.dtype).count)

    return Lanes(like.dtype)(like, value), build


@intrinsic
def zeros(typing, like):
    """A vector of zeros of like's dtype."""

    def build(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return Lanes(like.dtype)(like), build


@intrinsic
def fma(typing, a, b, c):
    """``a * b + c``, rounded once."""

    def build(context, builder, signature, arguments):
        kind = arguments[0].type
        name = f"llvm.fma.v{a.count}f{a.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, arguments)

    return a(a, a, a), build


@intrinsic
def clamp(typing, a, top):
    """``min(max(a, 0), top)``; NaN stays NaN."""

    def build(context, builder, signature, arguments):
        value, upper = arguments
        zero = ir.Constant(value.type, None)
        value = builder.select(builder.fcmp_ordered("<", value, zero), zero, value)
        return builder.select(builder.fcmp_ordered(">", value, upper), upper, value)

    return a(a, top), build


@intrinsic
def where_inside(typing, a, top, yes):
    """``yes`` where ``0 < a <= top``, else 0."""

    def build(context, builder, signature, arguments):
        value, upper, chosen = arguments
        zero = ir.Constant(value.type, None)
        positive, below = builder.fcmp_ordered(">", value, zero), builder.fcmp_ordered("<=", value, upper)
        return builder.select(builder.and_(positive, below), chosen, zero)

    return a(a, top, yes), build


@intrinsic
def where_above(typing, a, bottom, yes):
    """``yes`` where ``a > bottom``, else 0."""

    def build(context, builder, signature, arguments):
        zero = ir.Constant(arguments[0].type, None)
        return builder.select(builder.fcmp_ordered(">", *arguments[:2]), arguments[2], zero)

    return a(a, bottom, yes), build


@intrinsic
def where_number(typing, a, yes):
    """``yes`` where ``a`` is a number, 0 where it is NaN."""

    def build(context, builder, signature, arguments):
        zero = ir.Constant(arguments[0].type, None)
        return builder.select(builder.fcmp_ordered("ord", arguments[0], arguments[0]), arguments[1], zero)

    return a(a, a), build


@intrinsic
def total(typing, a):
    """The sum over the lanes, pair by pair."""

    def build(context, builder, signature, arguments):
        vector, count = arguments[0], a.count
        while count > 1:
            count //= 2
            low, high = (
                builder.shuffle_vector(
                    vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), count), picks)
                )
                for picks in (list(range(count)), list(range(count, 2 * count)))
            )
            vector = builder.fadd(low, high)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), build


def _vector_pointer(context: Any, builder: Any, kind: Any, memory: Any, place: Any) -> Any:
    vector = context.get_value_type(Lanes(kind.dtype))
    return builder.gep(builder.bitcast(memory, vector.as_pointer()), [place])


def _splat(builder: Any, value: Any, count: int) -> Any:
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), count), None))


def _arithmetic(name: str) -> Callable[..., Any]:
    @intrinsic
    def apply(typing, a, b):
        def build(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments)

        return a(a, b), build

    return apply


def _overloaded(symbol: Callable[..., Any], name: str) -> None:
    apply = _arithmetic(name)

    @overload(symbol)
    def _apply(a, b):
        if isinstance(a, Lanes) and a == b:
            return lambda a, b: apply(a, b)
        return None


_overloaded(operator.add, "fadd")
_overloaded(operator.sub, "fsub")
_overloaded(operator.mul, "fmul")
