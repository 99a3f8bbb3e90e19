"""Rows of a table, chosen by integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import primitives
from gpunet.autograd import Array, differentiable
from gpunet.backend import get_array_module

__all__ = ["embedding"]

Result = tuple[Array, Callable[[Array], Any]]


@differentiable
def embedding(table: Array, indices: Array) -> Result:
    """Return ``table[indices]``, (..., features); gradients of one row are added in order.

    On a GPU no index is read back: a row that does not exist is NaN in the result, which the loss
    then shows, and nothing is added to the gradient.

    Arguments:
        table: (rows, features).
        indices: (...), from 0 to below the number of rows; of another type than integers they are
            cut to integers. They have no gradient.

    Raises:
        IndexError: an index does not exist, on the CPU.
        ValueError: the table has another number of axes.

    >>> import numpy as np
    >>> embedding(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1, 1, 0])).numpy()
    array([[2., 3.],
           [2., 3.],
           [0., 1.]])
    """
    if table.ndim != 2:
        raise ValueError(
            f"embedding expects a table of shape (rows, features), received {table.shape}."
        )
    xp, rows = get_array_module(table, indices), len(table)
    if xp is np:
        _check_range(indices, rows)
    numbers = indices.astype(np.int64, copy=False)
    y = primitives.gather_batch(table, numbers.reshape(-1))
    return y.reshape(*indices.shape, table.shape[1]), lambda output_grad: (
        lambda: primitives.embedding_backward(output_grad, numbers, rows=rows),
        lambda: xp.zeros_like(indices),
    )


def _check_range(indices: Any, rows: int) -> None:
    """Raise `IndexError` for the first index that a table of so many rows does not have."""
    if indices.size == 0 or (indices.min() >= 0 and indices.max() < rows):
        return
    wrong = ~((indices >= 0) & (indices < rows))
    place = np.unravel_index(int(wrong.argmax()), indices.shape) if indices.ndim else ()
    at = f" at position {tuple(int(i) for i in place)}" if math.prod(indices.shape) > 1 else ""
    raise IndexError(
        f"expected indices from 0 to {rows - 1}, received {indices[place]}{at}: the table has "
        f"{rows} rows; give it a row for each index, or change the indices."
    )
