"""The inner loop of all products: rows of a tile meet a panel, their sums stay in registers.

A tile's sums are a tuple of vectors of PANEL numbers, one for each row; where its rows begin is a
tuple of as many indices. The loop is the same for any number of rows.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gpunet.primitives.fast.bands import PANEL
from gpunet.primitives.fast.compile import part
from gpunet.primitives.fast.simd import Codegen, Vector

__all__ = ["add_products", "add_to_rows", "load_rows", "row_starts", "store_rows"]

Array = Any


@part
def row_starts(start: int, rows: int, step: int) -> Any:
    """Return where 6 rows begin; the last one stands for those that are missing."""
    last = rows - 1
    return (
        start, start + min(1, last) * step, start + min(2, last) * step,
        start + min(3, last) * step, start + min(4, last) * step, start + min(5, last) * step,
    )  # fmt: skip


@part
def add_products(
    sums: Any, x: Array, starts: Any, step: int, panels: Array, panel: int, length: int
) -> Any:
    """Return the sums of a tile's rows and of their products with a panel.

    Four products at a time: 6 rows take 8 loads and 12 multiplications for each, and the loop
    should add little to that, since another program may share the core.

    Arguments:
        sums: one vector for each row.
        x: where the rows are.
        starts: where in it each begins.
        step: from one number of a row to the next.
        panels: where the panel is, (length, PANEL) from `panel` on.
        length: numbers of a row.
    """
    whole, at, w = length // 4 * 4, 0, panel
    for _ in range(0, whole, 4):
        sums = _add_product(sums, x, starts, at, panels, w)
        sums = _add_product(sums, x, starts, at + step, panels, w + PANEL)
        sums = _add_product(sums, x, starts, at + 2 * step, panels, w + 2 * PANEL)
        sums = _add_product(sums, x, starts, at + 3 * step, panels, w + 3 * PANEL)
        at, w = at + 4 * step, w + 4 * PANEL
    for _ in range(whole, length):
        sums = _add_product(sums, x, starts, at, panels, w)
        at, w = at + step, w + PANEL
    return sums


@intrinsic
def _add_product(
    typing_context: Any, sums: Any, x: Any, starts: Any, at: Any, panels: Any, w: Any
) -> tuple[Any, Codegen]:
    """Return sums[i] + x[starts[i] + at] * panels[w : w + PANEL], of each row i."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        before, x, starts, at, panels, w = args
        _, x_type, _, _, panels_type, _ = signature.args
        panel = _load(context, builder, panels_type, panels, w, sums.dtype)
        floats = sums.dtype.floats
        name = f"llvm.fmuladd.v{sums.dtype.lanes}f32"
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(floats, [floats] * 3), name
        )
        found = []
        for i in range(sums.count):
            index = builder.add(builder.extract_value(starts, i), at)
            data = context.make_array(x_type)(context, builder, x).data
            number = _splat(builder, builder.load(builder.gep(data, [index])), floats)
            found.append(builder.call(fused, [number, panel, builder.extract_value(before, i)]))
        return context.make_tuple(builder, sums, found)

    return sums(sums, x, starts, types.intp, panels, types.intp), codegen


@intrinsic
def load_rows(typing_context: Any, array: Any, starts: Any) -> tuple[Any, Codegen]:
    """Return the vectors array[starts[i] : starts[i] + PANEL]."""
    rows = types.containers.UniTuple(Vector(PANEL), starts.count)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        indices = cgutils.unpack_tuple(builder, args[1])
        found = [_load(context, builder, array, args[0], index, rows.dtype) for index in indices]
        return context.make_tuple(builder, rows, found)

    return rows(array, starts), codegen


@intrinsic
def store_rows(typing_context: Any, array: Any, starts: Any, rows: Any) -> tuple[Any, Codegen]:
    """Write vectors to array[starts[i] : starts[i] + PANEL]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pairs = zip(*(cgutils.unpack_tuple(builder, each) for each in args[1:]), strict=True)
        for index, row in pairs:
            at = _address(context, builder, array, args[0], index, rows.dtype)
            builder.store(row, at, align=4)
        return context.get_dummy_value()

    return types.none(array, starts, rows), codegen


@intrinsic
def add_to_rows(typing_context: Any, rows: Any, others: Any) -> tuple[Any, Codegen]:
    """Return the sums of vectors and others: a tuple of as many, or one vector for all."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of_each = isinstance(others, types.containers.UniTuple)
        added = cgutils.unpack_tuple(builder, args[1]) if of_each else [args[1]] * rows.count
        pairs = zip(cgutils.unpack_tuple(builder, args[0]), added, strict=True)
        return context.make_tuple(builder, rows, [builder.fadd(*pair) for pair in pairs])

    return rows(rows, others), codegen


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Vector
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.floats.as_pointer())


def _load(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Vector
) -> Any:
    return builder.load(_address(context, builder, array_type, array, index, vector), align=4)


def _splat(builder: Any, number: Any, floats: Any) -> Any:
    """Return a vector of a number in every lane."""
    undefined, integer = ir.Constant(floats, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(undefined, number, ir.Constant(integer, 0))
    lanes = ir.Constant(ir.VectorType(integer, floats.count), [0] * floats.count)
    return builder.shuffle_vector(first, undefined, lanes)
