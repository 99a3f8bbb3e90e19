"""The gradient of an embedding: rows of a table that are chosen by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.checks import check_shape
from gpunet.primitives.twins import twins_of

__all__ = ["embedding_backward"]

Array = Any


def embedding_backward(output_grad: Array, indices: Array, *, rows: int) -> Array:
    """Return the gradient of a table of which `indices` chose rows, (rows, features).

    Gradients of one row are added in the order of the samples, one after another: there are no
    atomics, and a run repeats bit for bit. On a GPU an index that does not exist is left out.

    Arguments:
        output_grad: gradient of the chosen rows, (..., features).
        indices: int64 (...), from 0 to below `rows`.
        rows: of the table.

    Raises:
        TypeError, ValueError: types or shapes do not fit.
        IndexError: an index does not exist; a kernel on the GPU cannot raise.

    >>> import numpy as np
    >>> embedding_backward(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), rows=3)
    array([[2.],
           [0.],
           [5.]])
    """
    where = "embedding_backward"
    twins = twins_of(where, output_grad, indices)
    if indices.dtype != np.int64:
        raise TypeError(
            f"{where}: expected indices of int64, received {indices.dtype}: "
            "convert them with astype('int64')."
        )
    check_shape(where, "output_grad", output_grad.shape[:-1], indices.shape)
    if output_grad.ndim == 0 or rows < 0:
        raise ValueError(
            f"{where}: expected output_grad of shape (..., features) and at least 0 rows, received "
            f"shape {output_grad.shape} and rows={rows}."
        )
    return twins.embedding_backward(
        output_grad.reshape(indices.size, output_grad.shape[-1]), indices.reshape(-1), rows
    )
