"""The batches that a model is fed: samples gathered from all data, and rescaled."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_gather, check_rescale
from gpunet.primitives.twins import twins_of

__all__ = ["gather_batch", "rescale_forward"]

Array = Any


def gather_batch(data: Array, rows: Array, *, dtype: Any = None, scale: float = 1.0) -> Array:
    """Return data[rows], copied as it is, or as floating-point numbers of `dtype` times `scale`.

    Arguments:
        data: (samples, ...), of any type of numbers, or bool.
        rows: int64 (batch,), from 0 to below the number of samples.
        dtype: None to keep that of `data`, or a floating-point type.
        scale: factor of floating-point results.

    Raises:
        TypeError, ValueError: the arguments do not fit each other.
        IndexError: a row does not exist. A kernel on the GPU cannot raise: it makes such a sample
            NaN, or where the result is of integers -1, the largest number of an unsigned type, or
            True.

    >>> import numpy as np
    >>> images = np.array([[0, 6], [3, 255]], np.uint8)
    >>> gather_batch(images, np.array([1, 0]), dtype="float32", scale=0.5)
    array([[  1.5, 127.5],
           [  0. ,   3. ]], dtype=float32)
    """
    twins = twins_of("gather_batch", data, rows, any_numbers=True)
    result = check_gather(data, rows, dtype, scale)
    return twins.gather_batch(data, rows, result, scale)


def rescale_forward(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Array:
    """Return x * scale + offset: `x` is converted to `dtype`, and each result rounded in it.

    Arguments:
        x: of any shape and any type of numbers, or bool.
        scale, offset: finite numbers.
        dtype: a floating-point type; None for that of `x`.

    Raises:
        TypeError, ValueError: an argument has another type, or a number is not finite.

    >>> import numpy as np
    >>> rescale_forward(np.array([0, 255], np.uint8), scale=1 / 127.5, offset=-1, dtype="float32")
    array([-1.,  1.], dtype=float32)
    """
    twins = twins_of("rescale_forward", x, any_numbers=True)
    return twins.rescale_forward(x, scale, offset, check_rescale(x, scale, offset, dtype))
