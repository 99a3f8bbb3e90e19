"""The gradient of an embedding: a task has some columns of the table, and goes through all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, IntsIn, kernel
from gpunet.primitives.fast.elementwise import LEAST_TASK, share
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import get, put
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.embedding import check_indices
from gpunet.primitives.reference.memory import empty

__all__ = ["embedding_backward"]

Array = Any

_LINE = 16  # floats of a cache line: no two tasks write to one


def embedding_backward(output_grad: Array, indices: Array, rows: int) -> Array:
    """Return the sums of the gradients (count, features) of each row of the table."""
    count, features = output_grad.shape
    if output_grad.dtype != np.float32 or features == 0:
        return reference.embedding_backward(output_grad, indices, rows)
    check_indices(indices, rows)
    table_grad = empty((rows, features), np.float32)
    work = (count + rows) * features
    tasks = max(1, min(work // LEAST_TASK, -(-features // _LINE)))
    run(
        _add_rows, tasks, count, features, rows, flat(output_grad), flat(indices),
        table_grad.reshape(-1),
    )  # fmt: skip
    return table_grad


@kernel
def _add_rows(
    counters: Ints,
    tasks: int,
    worker: int,
    count: int,
    features: int,
    rows: int,
    output_grad: FloatsIn,
    indices: IntsIn,
    table_grad: Floats,
) -> None:
    """Write the sums of some columns, each added up in the order of the samples."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first, end = share(task, tasks, features)
        for row in range(rows):
            for j in range(row * features + first, row * features + end):
                put(table_grad, j, np.float32(0))
        for i in range(count):
            to, at = indices[i] * features, i * features
            for j in range(first, end):
                put(table_grad, to + j, get(table_grad, to + j) + get(output_grad, at + j))
        task = next_task(counters, tasks, worker)
