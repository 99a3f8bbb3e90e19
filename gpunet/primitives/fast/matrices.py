"""Products of float32 matrices, of stacks of them, and of the gradients of a dense layer's weights.

`matrix_kernels` computes a block; here a product is divided into blocks. The gradient of weights is
a small result of long sums: these are divided into chunks of the inner axis, which are added up in
their order. The gradient of the bias is one more row of it, that of an input of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gpunet.primitives.fast.elementwise import tasks_for
from gpunet.primitives.fast.matrix_kernels import RUN, SPACED, Sizes, add_chunks, multiply
from gpunet.primitives.fast.memory import flat, scratch, workspace
from gpunet.primitives.fast.plans import whole_lines
from gpunet.primitives.fast.products import LINE, PANEL, TILE
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import matmul_sizes

__all__ = ["multiply_each", "multiply_matrices", "weight_gradients"]

Array = Any

_TASK = 1 << 19  # multiplications that are worth a task: some 10 microseconds
_TASKS = 12  # for each thread: one that is held up leaves the others enough
_TASKS_THAT_PACK = 4  # likewise, where each task packs its panels
_MOST_ROWS, _LEAST_TILES = 24 * TILE, 8  # of a block
_MOST_PANELS = 16  # of a block
_KEPT = 1 << 16  # floats of the panels that a thread keeps: half of a level-2 cache
_LEAST_KEPT = 4  # blocks of rows for which panels are kept
_PARTS = 16  # tasks that the gradient of weights is divided into, if its sums are so long


def multiply_matrices(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool, relu: bool,
    onto: Array | None = None,
) -> Array:  # fmt: skip
    """Return ``a @ b + bias``, of two matrices or two stacks of them, after relu if it is wanted.

    Arguments:
        a, b: float32, not empty.
        bias: one number for each column, or None.
        transpose_a, transpose_b: whether the transpose is meant.
        relu: whether numbers below 0 become 0.
        onto: an array that the products are added to, and that is returned, or None.
    """
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    a, transpose_a = _contiguous(a, transpose_a)
    b, transpose_b = _contiguous(b, transpose_b)
    count = len(a) if a.ndim == 3 else 1
    sizes = _sizes(
        count, rows, columns, inner, transpose_a, transpose_b, relu, onto is not None, False,
        thread_count(),
    )  # fmt: skip
    y = empty((*a.shape[:-2], rows, columns), np.float32) if onto is None else onto
    _multiply(sizes, flat(a), flat(b), [bias], y.reshape(-1))
    return y


def multiply_each(x: Array, kernels: Sequence[Array], biases: Sequence[Array | None]) -> Array:
    """Return ``x @ kernel + bias`` of kernels of one shape, as a stack."""
    (inner, columns), count = kernels[0].shape, len(kernels)
    sizes = _sizes(
        count, len(x), columns, inner, False, False, False, False, True, thread_count()
    )  # fmt: skip
    y = empty((count, len(x), columns), np.float32)
    _multiply(sizes, flat(x), np.stack(kernels).reshape(-1), biases, y.reshape(-1))
    return y


def weight_gradients(output_grad: Array, x: Array, with_bias: bool) -> tuple[Array, Array | None]:
    """Return ``x.T @ output_grad`` and, if wanted, the sum of the rows of `output_grad`."""
    (inner, given), columns = x.shape, output_grad.shape[1]
    sizes = _gradient_sizes(given, columns, inner, with_bias, thread_count())
    y = empty((sizes.rows, columns), np.float32)
    chunks = -(-inner // sizes.chunk)
    if chunks == 1:
        _multiply(sizes, flat(x), flat(output_grad), [None], y.reshape(-1))
    else:
        parts = workspace("parts", chunks * y.size)
        _multiply(sizes, flat(x), flat(output_grad), [None], parts)
        run(add_chunks, tasks_for(y.size), chunks, parts, y.reshape(-1))
    return y[:given], y[given] if with_bias else None


def _multiply(sizes: Sizes, a: Array, b: Array, biases: Sequence[Array | None], y: Array) -> None:
    """Write the products of flat matrices, of one bias or one for each."""
    added = np.zeros((len(biases), -(-sizes.columns // PANEL) * PANEL), np.float32)
    for row, bias in zip(added, biases, strict=True):
        if bias is not None:
            row[: sizes.columns] = bias
    memory = scratch(sizes.scratch)
    tasks = -(-sizes.inner // sizes.chunk) * sizes.matrices * sizes.across * sizes.down
    run(multiply, tasks, sizes, a, b, added.reshape(-1), y, memory, memory)


def _contiguous(matrix: Array, transposed: bool) -> tuple[Array, bool]:
    """Return a matrix that is the transpose of a contiguous one as that, else as it is."""
    if matrix.ndim == 2 and not matrix.flags.c_contiguous and matrix.flags.f_contiguous:
        return matrix.T, not transposed
    return matrix, transposed


@lru_cache(maxsize=512)
def _sizes(
    count: int, rows: int, columns: int, inner: int, transpose_a: bool, transpose_b: bool,
    relu: bool, onto: bool, shared: bool, threads: int,
) -> Sizes:  # fmt: skip
    """Return the sizes of a product and of its blocks; `shared` is the left matrix of a stack."""
    return _in_blocks(
        threads, matrices=count, rows=rows, columns=columns, inner=inner, given=rows, chunk=inner,
        transpose_a=transpose_a, transpose_b=transpose_b, relu=relu, onto=onto, shared=shared,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _gradient_sizes(given: int, columns: int, inner: int, with_bias: bool, threads: int) -> Sizes:
    """Return the sizes of a gradient, of its blocks and, by its shape alone, of its chunks."""
    rows = given + with_bias
    blocks = -(-rows // _MOST_ROWS) * -(-columns // (_MOST_PANELS * PANEL))
    chunks = max(1, min(_PARTS // blocks, inner // RUN))
    chunk = -(-inner // (chunks * RUN)) * RUN if chunks > 1 else inner
    return _in_blocks(
        threads, matrices=1, rows=rows, columns=columns, inner=inner, given=given,
        chunk=chunk, transpose_a=True, transpose_b=False, relu=False, onto=False, shared=False,
    )  # fmt: skip


def _in_blocks(
    threads: int, *, matrices: int, rows: int, columns: int, inner: int, given: int, chunk: int,
    transpose_a: bool, transpose_b: bool, relu: bool, onto: bool, shared: bool,
) -> Sizes:  # fmt: skip
    """Return all sizes: blocks are as large as the caches hold, but enough of them for threads."""
    count = matrices * -(-inner // chunk)
    tiles, panels = -(-rows // TILE), -(-columns // PANEL)
    down = -(-tiles * TILE // _MOST_ROWS)
    kept = down >= _LEAST_KEPT and chunk * PANEL <= _KEPT
    across = -(-panels // (_KEPT // (chunk * PANEL) if kept else _MOST_PANELS))
    wanted = min(
        (_TASKS if kept else _TASKS_THAT_PACK) * threads,
        matrices * rows * columns * inner // _TASK,
    )
    while count * down * across < wanted and tiles // (2 * down) >= _LEAST_TILES:
        down *= 2
    while count * down * across < wanted and across < panels:
        across = min(2 * across, panels)
    block_tiles, block_panels = -(-tiles // down), -(-panels // across)
    run = min(RUN, chunk)
    packed = block_tiles * (SPACED * run + LINE) if transpose_a else 0
    packed += PANEL * (chunk * block_panels if kept else run)
    return Sizes(
        matrices, rows, columns, inner, given, 0 if shared else given * inner,
        panels * PANEL if shared else 0, block_tiles * TILE, block_panels,
        -(-tiles // block_tiles), -(-panels // block_panels), chunk, int(kept), int(transpose_a),
        int(transpose_b), int(relu), int(onto), whole_lines(TILE * PANEL + packed),
    )  # fmt: skip
