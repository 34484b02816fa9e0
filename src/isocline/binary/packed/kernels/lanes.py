"""Sixteen counters at once for numba: one 32-bit number per output channel, kept in a register.

A vector is 64 bytes; LLVM splits it where the machine's registers are narrower. Where the machine counts the bits of a
32-bit number by an instruction (AVX-512 VPOPCNTDQ), a counter is one such number. Elsewhere it is four bytes, which are
counted by table look-up and added up at the latest after ``BLOCK`` steps, before a byte can overflow.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import extending, types
from numba.core import config
from numba.extending import models, register_model

LANES = 16
intrinsic: Any = extending.intrinsic  # its functions are called without their first argument


def _features() -> str:
    asked: Any = config.CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]
    return asked if asked is not None else binding.get_host_cpu_features().flatten()


WIDE = "+avx512vpopcntdq" in _features()
BLOCK = 1 << 30 if WIDE else 31  # steps until `widen` must be called: 31 * 8 bits fit a byte


class Counts(types.Type):
    """The numba type of a vector of counters."""


class Numbers(types.Type):
    """The numba type of a vector of float32."""


counts, numbers = Counts("Counts"), Numbers("Numbers")
_I32 = ir.IntType(32)
_VECTOR, _BYTES = ir.VectorType(_I32, LANES), ir.VectorType(ir.IntType(8), 4 * LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


@register_model(Counts)
class _CountsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Counts) -> None:
        super().__init__(manager, kind, _VECTOR)


@register_model(Numbers)
class _NumbersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Numbers) -> None:
        super().__init__(manager, kind, _FLOATS)


@intrinsic
def pointer(typing, array):
    """Where an array's numbers begin. It may be passed on without counting references, which an inner loop would pay for."""

    def build(context, builder, signature, arguments):
        return _data(context, builder, signature.args[0], arguments[0])

    return types.CPointer(array.dtype)(array), build


@intrinsic
def nothing(typing):
    """Counters at zero."""
    return counts(), lambda context, builder, signature, arguments: ir.Constant(_VECTOR, None)


@intrinsic
def load(typing, array, index):
    """Sixteen numbers from ``index`` on."""

    def build(context, builder, signature, arguments):
        return builder.load(_place(context, builder, signature, arguments, _VECTOR), align=4)

    return counts(array, types.intp), build


@intrinsic
def differing(typing, total, array, index, weights):
    """``total`` and the number of bits in which ``array[index]`` differs from each of the weights."""

    def build(context, builder, signature, arguments):
        before, flat, index, weights = arguments
        one = builder.load(builder.gep(_data(context, builder, signature.args[1], flat), [index]), align=4)
        kind = _VECTOR if WIDE else _BYTES
        bits = builder.bitcast(builder.xor(_splat(builder, one), weights), kind)
        name = f"llvm.ctpop.v{kind.count}i{kind.element.width}"
        count = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(kind, [kind]))
        sums = builder.add(builder.bitcast(before, kind), builder.call(count, [bits]))
        return builder.bitcast(sums, _VECTOR)

    return counts(counts, array, types.intp, counts), build


@intrinsic
def widen(typing, total, found):
    """``total`` and what was found in at most ``BLOCK`` steps: four bytes become one number."""

    def build(context, builder, signature, arguments):
        total, found = arguments
        if WIDE:
            return builder.add(total, found)
        byte = _all(255)
        for shift in (0, 8, 16, 24):
            total = builder.add(total, builder.and_(builder.lshr(found, _all(shift)), byte))
        return total

    return counts(counts, counts), build


@intrinsic
def store_sums(typing, array, index, table, at, total):
    """``table[at + i] - 2 total``: sums of products of signs, from what they would be if no bit differed."""

    def build(context, builder, signature, arguments):
        array, index, table, at, total = arguments
        kinds = signature.args
        best = builder.load(_place(context, builder, _Only(kinds[2]), (table, at), _VECTOR), align=4)
        place = _place(context, builder, _Only(kinds[0]), (array, index), _VECTOR)
        builder.store(builder.sub(best, builder.shl(total, _all(1))), place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, table, types.intp, counts), build


@intrinsic
def at_most(typing, total, table, at):
    """Sixteen bits: whether ``total <= table[at + i]``, whole numbers."""

    def build(context, builder, signature, arguments):
        total, table, at = arguments
        limits = builder.load(
            _place(context, builder, _Only(signature.args[1]), (table, at), _VECTOR), align=4
        )
        return _mask(builder, builder.icmp_signed("<=", total, limits))

    return types.uint16(counts, table, types.intp), build


@intrinsic
def load_numbers(typing, array, index):
    """Sixteen float32 from ``index`` on."""

    def build(context, builder, signature, arguments):
        return builder.load(_place(context, builder, signature, arguments, _FLOATS), align=4)

    return numbers(array, types.intp), build


@intrinsic
def store_numbers(typing, array, index, values):
    """Sixteen float32 from ``index`` on."""

    def build(context, builder, signature, arguments):
        builder.store(arguments[2], _place(context, builder, signature, arguments, _FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, numbers), build


@intrinsic
def plus(typing, x, y):
    """``x + y``."""
    return numbers(numbers, numbers), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@intrinsic
def affine(typing, sums, at, channel, scale, bias, floor, a, b, fused):
    """``a max(scale sums + bias, floor) + b``, each step rounded once to float32; the last two together if `fused`."""

    def build(context, builder, signature, arguments):
        def values(place, index, kind=_FLOATS):
            return builder.load(
                _place(context, builder, _Only(signature.args[place]), (arguments[place], index), kind),
                align=4,
            )

        at, channel, floor = arguments[1], arguments[2], _splat(builder, arguments[5])
        value = builder.sitofp(values(0, at, _VECTOR), _FLOATS)
        value = builder.fadd(builder.fmul(value, values(3, channel)), values(4, channel))
        value = builder.select(builder.fcmp_ordered("<", value, floor), floor, value)
        a, b = values(6, channel), values(7, channel)
        function = builder.module.declare_intrinsic(
            f"llvm.fma.v{LANES}f32", fnty=ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        )
        once = builder.call(function, [value, a, b])
        return builder.select(arguments[8], once, builder.fadd(builder.fmul(value, a), b))

    floats = types.float32
    return numbers(sums, types.intp, types.intp, scale, bias, floats, a, b, types.boolean), build


@intrinsic
def not_negative(typing, values):
    """Sixteen bits: whether each is >= 0."""

    def build(context, builder, signature, arguments):
        return _mask(builder, builder.fcmp_ordered(">=", arguments[0], ir.Constant(_FLOATS, None)))

    return types.uint16(numbers), build


@intrinsic
def missing(typing, values):
    """Sixteen bits: whether each is NaN."""

    def build(context, builder, signature, arguments):
        return _mask(builder, builder.fcmp_unordered("uno", arguments[0], arguments[0]))

    return types.uint16(numbers), build


@intrinsic
def with_signs(typing, words, values, bit):
    """``words`` with one bit set in those whose value is >= 0."""

    def build(context, builder, signature, arguments):
        words, values, bit = arguments
        positive = builder.fcmp_ordered(">=", values, ir.Constant(_FLOATS, None))
        marked = builder.or_(words, _splat(builder, builder.trunc(bit, _I32)))
        return builder.select(positive, marked, words)

    return counts(counts, numbers, types.intp), build


@intrinsic
def store(typing, array, index, words):
    """Sixteen words from ``index`` on."""

    def build(context, builder, signature, arguments):
        builder.store(arguments[2], _place(context, builder, signature, arguments, _VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, counts), build


@intrinsic
def transpose_tile(typing, array, at, step, found, to, jump):
    """Sixteen rows of sixteen float32, `step` apart, become sixteen columns, `jump` apart; all in registers.

    In four rounds, blocks of 1, 2, 4, 8 beside the diagonal change places.
    """

    def build(context, builder, signature, arguments):
        array, at, step, found, to, jump = arguments

        def places(kind, flat, start, hop):
            pointers = []
            for _ in range(LANES):
                pointers.append(_place(context, builder, _Only(kind), (flat, start), _FLOATS))
                start = builder.add(start, hop)
            return pointers

        rows = [builder.load(p, align=4) for p in places(signature.args[0], array, at, step)]
        for size in (1, 2, 4, 8):
            upper = [k - size + LANES if k & size else k for k in range(LANES)]
            lower = [k + LANES if k & size else k + size for k in range(LANES)]
            for i in range(LANES):
                if not i & size:
                    pair = rows[i], rows[i | size]
                    rows[i], rows[i | size] = (
                        builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_I32, LANES), mask))
                        for mask in (upper, lower)
                    )
        for row, pointer in zip(rows, places(signature.args[3], found, to, jump), strict=True):
            builder.store(row, pointer, align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(array, whole, whole, found, whole, whole), build


class _Only:
    """A signature of one array."""

    def __init__(self, kind: Any) -> None:
        self.args = (kind,)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return (
        array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, array).data
    )


def _place(context: Any, builder: Any, signature: Any, arguments: Any, vector: Any) -> Any:
    pointer = builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]])
    return builder.bitcast(pointer, vector.as_pointer())


def _all(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def _splat(builder: Any, value: Any) -> Any:
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_VECTOR, None))


def _mask(builder: Any, truths: Any) -> Any:
    return builder.bitcast(truths, ir.IntType(LANES))
