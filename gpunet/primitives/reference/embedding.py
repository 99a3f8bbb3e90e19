"""The gradient of an embedding."""

from __future__ import annotations

import numpy as np

from gpunet.primitives.reference.blocks import Array

__all__ = ["check_indices", "embedding_backward"]


def embedding_backward(output_grad: Array, indices: Array, rows: int) -> Array:
    """Return the sums of the gradients (count, features) of each row of the table."""
    check_indices(indices, rows)
    table_grad = np.zeros((rows, output_grad.shape[1]), output_grad.dtype)
    np.add.at(table_grad, indices, output_grad)
    return table_grad


def check_indices(indices: Array, rows: int) -> None:
    """Raise `IndexError` unless a table has all the rows that are chosen."""
    # As unsigned numbers, those below 0 are the largest.
    if indices.size and indices.view(np.uint64).max() >= rows:
        wrong = indices[(indices < 0) | (indices >= rows)].flat[0]
        raise IndexError(
            f"embedding_backward: expected indices from 0 to {rows - 1}, received {wrong}."
        )
