"""Vectors for Numba: values of several float32, which LLVM keeps in the processor's registers.

So a kernel in Python can hold a tile of sums there, as one in C does by intrinsics. A register has
`LANES` numbers; a vector of more lies in several. `array` is always flat; indices are not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic, register_model

__all__ = [
    "LANES",
    "Vector",
    "add",
    "broadcast",
    "divide",
    "get",
    "larger",
    "largest_across",
    "load",
    "load_bytes",
    "multiply",
    "multiply_add",
    "power_of_2",
    "prefetch",
    "put",
    "splat",
    "store",
    "store_bytes",
    "store_turned",
    "subtract",
    "sum_across",
    "top_across",
    "where_beats",
    "where_equal",
    "where_positive",
]


def _lanes() -> int:
    """Return how many float32 a vector register holds, of the processor that Numba compiles for."""
    features = config.CPU_FEATURES
    if features is None:
        found = binding.get_host_cpu_features()
        features = ",".join(f"+{name}" for name, has in found.items() if has)
    if "+avx512f" in features.split(","):
        return 16
    return 8 if "+avx" in features.split(",") else 4


LANES = _lanes()
_FLOAT = ir.FloatType()


class Vector(types.Type):
    """The Numba type of a vector of float32."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"float32x{lanes}")

    @property
    def floats(self) -> Any:
        """The LLVM type."""
        return ir.VectorType(ir.FloatType(), self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, vector.floats)


# What an intrinsic gives to Numba: its signature, and a function that emits its code.
Codegen = Callable[[Any, Any, Any, Any], Any]


def _of_lanes(lanes: Any) -> Vector:
    if not isinstance(lanes, types.IntegerLiteral):
        raise RequireLiteralValue("lanes must be a constant")
    return Vector(lanes.literal_value)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _splat(builder: Any, scalar: Any, vector: Vector) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, vector.lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, undefined, lanes)


@intrinsic
def get(typing_context: Any, array: Any, index: Any) -> tuple[Any, Codegen]:
    """Return array[index], without Numba's look whether the index counts from the end."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def put(typing_context: Any, array: Any, index: Any, value: Any) -> tuple[Any, Codegen]:
    """Do array[index] = value, likewise."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        builder.store(args[2], builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.none(array, types.intp, array.dtype), codegen


@intrinsic(prefer_literal=True)
def load(typing_context: Any, array: Any, index: Any, lanes: Any) -> tuple[Any, Codegen]:
    """Return the vector array[index : index + lanes]."""
    vector = _of_lanes(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], vector.floats)
        return builder.load(at, align=4)

    return vector(array, types.intp, lanes), codegen


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> tuple[Any, Codegen]:
    """Begin to bring the cache line of array[index] close, if it may be beyond the end even."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, integer = ir.IntType(8), ir.IntType(32)
        at = _address(context, builder, signature.args[0], args[0], args[1], byte)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer()] + [integer] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, to_all_levels, data = (ir.Constant(integer, number) for number in (0, 3, 1))
        builder.call(function, [at, read, to_all_levels, data])
        return context.get_dummy_value()

    return types.none(array, types.intp), codegen


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> tuple[Any, Codegen]:
    """Write a vector to array[index : index + lanes]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], value.floats)
        builder.store(args[2], at, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic
def store_turned(
    typing_context: Any, array: Any, index: Any, step: Any, out: Any, to: Any, row: Any
) -> tuple[Any, Codegen]:
    """Write the transpose of LANES vectors: array[index + i * step :] to out[to + i :: row]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, index, step, out, to, row = args
        floats = ir.VectorType(ir.FloatType(), LANES)
        vectors = []
        for _ in range(LANES):
            at = _address(context, builder, signature.args[0], source, index, floats)
            vectors.append(builder.load(at, align=4))
            index = builder.add(index, step)
        for vector in _turned(builder, vectors):
            at = _address(context, builder, signature.args[3], out, to, floats)
            builder.store(vector, at, align=4)
            to = builder.add(to, row)
        return context.get_dummy_value()

    numbers = types.intp
    return types.none(array, numbers, numbers, out, numbers, numbers), codegen


def _turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """Return the columns of rows: halves change places across the diagonal, then their halves."""
    half, lanes = LANES // 2, range(LANES)
    while half:
        # Of two rows side by side: even halves of both, odd halves of both.
        even = [lane if not lane & half else LANES + lane - half for lane in lanes]
        odd = [lane + half if not lane & half else LANES + lane for lane in lanes]
        masks = [
            ir.Constant(ir.VectorType(ir.IntType(32), LANES), places) for places in (even, odd)
        ]
        for i in lanes:
            if not i & half:
                pair = vectors[i], vectors[i + half]
                vectors[i], vectors[i + half] = (
                    builder.shuffle_vector(*pair, mask) for mask in masks
                )
        half //= 2
    return vectors


@intrinsic(prefer_literal=True)
def load_bytes(typing_context: Any, array: Any, index: Any, lanes: Any) -> tuple[Any, Codegen]:
    """Return the uint8 numbers array[index : index + lanes] as a vector."""
    vector = _of_lanes(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(8), vector.lanes)
        at = _address(context, builder, signature.args[0], args[0], args[1], integers)
        return builder.uitofp(builder.load(at, align=1), vector.floats)

    return vector(array, types.intp, lanes), codegen


@intrinsic
def store_bytes(typing_context: Any, array: Any, index: Any, value: Any) -> tuple[Any, Codegen]:
    """Write a vector of integers to array[index : index + lanes] of uint8."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(8), value.lanes)
        at = _address(context, builder, signature.args[0], args[0], args[1], integers)
        builder.store(builder.fptoui(args[2], integers), at, align=1)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic(prefer_literal=True)
def broadcast(typing_context: Any, array: Any, index: Any, lanes: Any) -> tuple[Any, Codegen]:
    """Return a vector of array[index] in every lane."""
    vector = _of_lanes(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], ir.FloatType())
        return _splat(builder, builder.load(at, align=4), vector)

    return vector(array, types.intp, lanes), codegen


@intrinsic(prefer_literal=True)
def splat(typing_context: Any, number: Any, lanes: Any) -> tuple[Any, Codegen]:
    """Return a vector of a number in every lane."""
    vector = _of_lanes(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0], vector)

    return vector(types.float32, lanes), codegen


@intrinsic
def multiply(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return a * b."""
    return a(a, a), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def add(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return a + b."""
    return a(a, a), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def subtract(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return a - b."""
    return a(a, a), lambda context, builder, signature, args: builder.fsub(*args)


@intrinsic
def divide(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return a / b."""
    return a(a, a), lambda context, builder, signature, args: builder.fdiv(*args)


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> tuple[Any, Codegen]:
    """Return a * b + c, of vectors or numbers, rounded once where the processor has that as one.

    In formulas too: LLVM makes vectors of it, but would not put a product and a sum together.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats, name = (a.floats, f"v{a.lanes}f32") if isinstance(a, Vector) else (_FLOAT, "f32")
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(floats, [floats] * 3), f"llvm.fmuladd.{name}"
        )
        return builder.call(function, args)

    return a(a, a, a), codegen


def _across(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Return what all numbers of a vector make: in pairs, pairs of pairs and so on."""
    lanes = vector.type.count
    half = lanes // 2
    while half:
        places = [(lane + half) % lanes for lane in range(lanes)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), places)
        vector = combine(vector, builder.shuffle_vector(vector, vector, mask))
        half //= 2
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@intrinsic
def sum_across(typing_context: Any, a: Any) -> tuple[Any, Codegen]:
    """Return the sum of a vector's numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _across(builder, args[0], builder.fadd)

    return types.float32(a), codegen


@intrinsic
def largest_across(typing_context: Any, a: Any) -> tuple[Any, Codegen]:
    """Return the largest of a vector's numbers; NaN if one is."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _across(builder, args[0], lambda x, y: builder.select(_beats(builder, x, y), x, y))

    return types.float32(a), codegen


@intrinsic
def top_across(typing_context: Any, a: Any) -> tuple[Any, Codegen]:
    """Return the largest of a vector's numbers, of which none is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def combine(x: Any, y: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", x, y), x, y)

        return _across(builder, args[0], combine)

    return types.float32(a), codegen


def _beats(builder: Any, a: Any, b: Any) -> Any:
    """Return where `a` replaces `b` as the maximum: where it is larger, or the first NaN."""
    first_nan = builder.and_(builder.fcmp_unordered("uno", a, a), builder.fcmp_ordered("ord", b, b))
    return builder.or_(builder.fcmp_ordered(">", a, b), first_nan)


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return where a > b `a`, else b: a NaN in b stays, one in `a` does not count."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, a), codegen


@intrinsic
def power_of_2(typing_context: Any, a: Any, bias: Any) -> tuple[Any, Codegen]:
    """Return the float32 numbers whose exponents are the last bits of those of `a`, plus `bias`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(32), a.lanes)
        biases = _splat(builder, args[1], a)
        exponents = builder.add(builder.bitcast(args[0], integers), biases)
        mantissa = ir.Constant(integers, [23] * a.lanes)
        return builder.bitcast(builder.shl(exponents, mantissa), a.floats)

    return a(a, types.int32), codegen


@intrinsic
def where_beats(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where `a` replaces `b` as the maximum, else y; a NaN replaces all but NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, x, y = args
        return builder.select(_beats(builder, a, b), x, y)

    return a(a, a, a, a), codegen


@intrinsic
def where_equal(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where a == b, else y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, x, y = args
        return builder.select(builder.fcmp_ordered("==", a, b), x, y)

    return a(a, a, a, a), codegen


@intrinsic
def where_positive(typing_context: Any, a: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where a > 0, else y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        condition, x, y = args
        zero = ir.Constant(a.floats, [0.0] * a.lanes)
        return builder.select(builder.fcmp_ordered(">", condition, zero), x, y)

    return a(a, a, a), codegen
