"""Vectors for Numba: one value of `LANES` float32, as wide as the processor's registers.

LLVM keeps such values in vector registers, so that a kernel in Python can hold a tile of sums
there, as one in C would by intrinsics. `array` is always flat; indices are not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

__all__ = [
    "LANES",
    "add",
    "broadcast",
    "get",
    "load",
    "load_bytes",
    "multiply_add",
    "put",
    "splat",
    "store",
    "store_bytes",
    "take_task",
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

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)


class Vector(types.Type):
    """The Numba type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, _FLOATS)


_vector = Vector()

# What an intrinsic gives to Numba: its signature, and a function that emits its code.
Codegen = Callable[[Any, Any, Any, Any], Any]


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _splat(builder: Any, scalar: Any) -> Any:
    first = builder.insert_element(
        ir.Constant(_FLOATS, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), lanes)


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


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> tuple[Any, Codegen]:
    """Return the vector array[index : index + LANES]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], _FLOATS)
        return builder.load(at, align=4)

    return _vector(array, types.intp), codegen


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> tuple[Any, Codegen]:
    """Write a vector to array[index : index + LANES]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], _FLOATS)
        builder.store(args[2], at, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, _vector), codegen


@intrinsic
def load_bytes(typing_context: Any, array: Any, index: Any) -> tuple[Any, Codegen]:
    """Return the uint8 numbers array[index : index + LANES] as a vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], _BYTES)
        return builder.uitofp(builder.load(at, align=1), _FLOATS)

    return _vector(array, types.intp), codegen


@intrinsic
def store_bytes(typing_context: Any, array: Any, index: Any, value: Any) -> tuple[Any, Codegen]:
    """Write a vector of whole numbers to array[index : index + LANES] of uint8."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], _BYTES)
        builder.store(builder.fptoui(args[2], _BYTES), at, align=1)
        return context.get_dummy_value()

    return types.none(array, types.intp, _vector), codegen


@intrinsic
def broadcast(typing_context: Any, array: Any, index: Any) -> tuple[Any, Codegen]:
    """Return a vector of array[index] in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = _address(context, builder, signature.args[0], args[0], args[1], ir.FloatType())
        return _splat(builder, builder.load(at, align=4))

    return _vector(array, types.intp), codegen


@intrinsic
def splat(typing_context: Any, value: Any) -> tuple[Any, Codegen]:
    """Return a vector of a number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return _vector(types.float32), codegen


@intrinsic
def add(typing_context: Any, a: Any, b: Any) -> tuple[Any, Codegen]:
    """Return a + b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return _vector(_vector, _vector), codegen


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> tuple[Any, Codegen]:
    """Return a * b + c, rounded once where the processor has that as one instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(_FLOATS, [_FLOATS] * 3),
            f"llvm.fmuladd.v{LANES}f32",
        )
        return builder.call(function, args)

    return _vector(_vector, _vector, _vector), codegen


@intrinsic
def where_beats(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where `a` replaces `b` as the maximum, else y; a NaN replaces all but NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, x, y = args
        first_nan = builder.and_(
            builder.fcmp_unordered("uno", a, a), builder.fcmp_ordered("ord", b, b)
        )
        return builder.select(builder.or_(builder.fcmp_ordered(">", a, b), first_nan), x, y)

    return _vector(_vector, _vector, _vector, _vector), codegen


@intrinsic
def where_equal(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where a == b, else y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, x, y = args
        return builder.select(builder.fcmp_ordered("==", a, b), x, y)

    return _vector(_vector, _vector, _vector, _vector), codegen


@intrinsic
def where_positive(typing_context: Any, a: Any, x: Any, y: Any) -> tuple[Any, Codegen]:
    """Return x where a > 0, else y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, x, y = args
        zero = ir.Constant(_FLOATS, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", a, zero), x, y)

    return _vector(_vector, _vector, _vector), codegen


@intrinsic
def take_task(typing_context: Any, counters: Any) -> tuple[Any, Codegen]:
    """Return counters[0] and add 1 to it, so that no two threads get the same number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer = ir.IntType(64)
        zero, one = ir.Constant(integer, 0), ir.Constant(integer, 1)
        at = _address(context, builder, signature.args[0], args[0], zero, integer)
        return builder.atomic_rmw("add", at, one, "seq_cst")

    return types.intp(counters), codegen
