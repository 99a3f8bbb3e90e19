"""The samples of a batch, gathered, converted and scaled in one pass; the same bits as by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from gpunet.primitives import reference
from gpunet.primitives.checks import check_gather, check_rescale
from gpunet.primitives.fast.compile import (
    BYTES_IN,
    FLOATS,
    FLOATS_IN,
    INTS,
    INTS_IN,
    formula,
    kernel,
)
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.simd import take_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty

__all__ = ["gather_batch", "rescale_forward"]

Array = Any

_NO_ROWS = np.empty(0, np.int64)


def gather_batch(data: Array, rows: Array, *, dtype: Any = None, scale: float = 1.0) -> Array:
    """Return data[rows] as numbers of `dtype` times `scale`; arguments as in the reference twin."""
    result = check_gather(data, rows, dtype, scale)
    rows_in, width = flat(rows), math.prod(data.shape[1:])
    # As unsigned numbers, those below 0 are the largest.
    missing = rows.size == 0 or rows_in.view(np.uint64).max() >= len(data)
    # What is no Python number makes NumPy compute in its own type.
    if missing or width == 0 or result != np.float32 or type(scale) not in (int, float):
        return reference.gather_batch(data, rows, dtype=dtype, scale=scale)
    convert = _kernel_for(data)
    as_it_is = data.dtype == result and scale == 1  # no kernel copies faster than NumPy
    # A copy of what is not contiguous would be one of all the data.
    if convert is None or as_it_is or not data.flags.c_contiguous:
        return reference.gather_batch(data, rows, dtype=dtype, scale=scale)
    batch = empty((rows.size, *data.shape[1:]), result)
    grain = max(1, LEAST_TASK // width)
    run(
        convert, max(1, rows.size // grain), rows.size, width, rows_in, float(scale), -0.0,
        data.reshape(-1), batch.reshape(-1),
    )  # fmt: skip
    return batch


def rescale_forward(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Array:
    """Return x * scale + offset in `dtype`; arguments as in the reference twin."""
    result = check_rescale(x, scale, offset, dtype)
    convert = _kernel_for(x)
    if result != np.float32 or convert is None or x.size == 0:
        return reference.rescale_forward(x, scale=scale, offset=offset, dtype=dtype)
    y = empty(x.shape, result)
    tasks = -(-x.size // LEAST_TASK)
    width = -(-x.size // tasks)
    run(
        convert, tasks, tasks, width, _NO_ROWS, np.float32(scale), np.float32(offset),
        flat(x), y.reshape(-1),
    )  # fmt: skip
    return y


def _kernel_for(data: Array) -> Callable[..., None] | None:
    """Return the kernel that reads such data, None if there is none."""
    if not data.flags.aligned:
        return None
    if data.dtype == np.uint8:
        return _convert_bytes
    return _convert_floats if data.dtype == np.float32 else None


_PARAMETERS = (
    INTS, types.int64, types.int64, types.int64, types.int64, INTS_IN, types.float32,
    types.float32,
)  # fmt: skip


@kernel(*_PARAMETERS, BYTES_IN, FLOATS)
def _convert_bytes(
    counters: Array,
    tasks: int,
    worker: int,
    count: int,
    width: int,
    rows: Array,
    scale: np.float32,
    offset: np.float32,
    data: Array,
    result: Array,
) -> None:
    """Write numbers of data times `scale` plus `offset`, a row of `width` after another.

    Row k of `count` is the one that rows[k] says, or if `rows` is empty the one at its place;
    the last one may be cut off. An offset of -0 changes no number, not even 0.
    """
    task = take_task(counters)
    while task < tasks:
        _convert(task, tasks, count, width, rows, scale, offset, data, result)
        task = take_task(counters)


@kernel(*_PARAMETERS, FLOATS_IN, FLOATS)
def _convert_floats(
    counters: Array,
    tasks: int,
    worker: int,
    count: int,
    width: int,
    rows: Array,
    scale: np.float32,
    offset: np.float32,
    data: Array,
    result: Array,
) -> None:
    """Do as `_convert_bytes`, of data of float32."""
    task = take_task(counters)
    while task < tasks:
        _convert(task, tasks, count, width, rows, scale, offset, data, result)
        task = take_task(counters)


@formula
def _convert(
    task: int,
    tasks: int,
    count: int,
    width: int,
    rows: Array,
    scale: np.float32,
    offset: np.float32,
    data: Array,
    result: Array,
) -> None:
    for k in range(task * count // tasks, (task + 1) * count // tasks):
        to = k * width
        out = result[to : min(to + width, result.size)]
        start = rows[k] * width if rows.size else to
        row = data[start : start + out.size]
        for i in range(out.size):
            out[i] = np.float32(row[i]) * scale + offset
