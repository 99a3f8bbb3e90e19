"""The samples of a batch, gathered, converted and scaled in one pass; the same bits as by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import BytesIn, Floats, FloatsIn, Ints, IntsIn, kernel
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import NO_INTS, flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty

__all__ = ["gather_batch", "rescale_forward"]

Array = Any


def gather_batch(data: Array, rows: Array, dtype: np.dtype[Any], scale: float) -> Array:
    """Return data[rows] in `dtype`, times `scale`."""
    rows_in, width, convert = flat(rows), math.prod(data.shape[1:]), _kernel_for(data)
    if convert is None or not _supports(data, rows_in, width, dtype, scale):
        return reference.gather_batch(data, rows, dtype, scale)
    batch = empty((rows.size, *data.shape[1:]), dtype)
    grain = max(1, LEAST_TASK // width)
    run(
        convert, max(1, rows.size // grain), rows.size, width, rows_in, float(scale), -0.0,
        data.reshape(-1), batch.reshape(-1),
    )  # fmt: skip
    return batch


def _supports(data: Array, rows: Array, width: int, dtype: np.dtype[Any], scale: float) -> bool:
    """Return whether a kernel gathers such data, faster than NumPy."""
    if data.dtype == dtype and scale == 1:
        return False  # no kernel copies faster than NumPy
    # As unsigned numbers, those below 0 are the largest.
    missing = rows.size == 0 or rows.view(np.uint64).max() >= len(data)
    # With a scale of NumPy's own types, NumPy computes in these.
    if missing or width == 0 or dtype != np.float32 or type(scale) not in (int, float):
        return False
    return data.flags.c_contiguous  # a copy of a view would be one of all the data


def rescale_forward(x: Array, scale: float, offset: float, dtype: np.dtype[Any]) -> Array:
    """Return x * scale + offset in `dtype`."""
    convert = _kernel_for(x)
    if dtype != np.float32 or convert is None or x.size == 0:
        return reference.rescale_forward(x, scale, offset, dtype)
    y = empty(x.shape, dtype)
    tasks = -(-x.size // LEAST_TASK)
    width = -(-x.size // tasks)
    run(
        convert, tasks, tasks, width, NO_INTS, np.float32(scale), np.float32(offset),
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


def _convert(
    counters: Ints, tasks: int, worker: int,
    count: int, width: int, rows: IntsIn, scale: np.float32, offset: np.float32, data: Array,
    result: Floats,
) -> None:  # fmt: skip
    """Write numbers of data times `scale` plus `offset`, a row of `width` after another.

    Row k of `count` is the one that rows[k] says, or if `rows` is empty the one at its place;
    the last one may be cut off. An offset of -0 changes no number, not even 0.
    """
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for k in range(task * count // tasks, (task + 1) * count // tasks):
            to = k * width
            out = result[to : min(to + width, result.size)]
            start = rows[k] * width if rows.size else to
            row = data[start : start + out.size]
            for i in range(out.size):
                out[i] = np.float32(row[i]) * scale + offset
        task = next_task(counters, tasks, worker)


_convert_bytes = kernel(_convert, data=BytesIn)
_convert_floats = kernel(_convert, data=FloatsIn)
