"""Element types and shapes of the operands of element-by-element functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.autograd import Array, Tensor

__all__ = ["matched", "shape_of", "unbroadcast"]


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array or a number; a closure holds it in place of `x`."""
    return getattr(x, "shape", ())


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` over the axes along which an array of `shape` was repeated by broadcasting."""
    if grad.shape == shape:
        return grad
    new_axes = grad.ndim - len(shape)
    repeated = [new_axes + axis for axis, size in enumerate(shape) if size == 1]
    axes = (*range(new_axes), *(axis for axis in repeated if grad.shape[axis] != 1))
    return grad.sum(axis=axes).reshape(shape)


def matched(*operands: Any) -> tuple[Any, ...]:
    """Return the operands, with scalars such that they do not change the type of the result.

    NumPy's scalars and arrays without axes act as Python's numbers do: beside an array of
    floating-point numbers, or a tensor, they take its element type. Two arrays are promoted by
    NumPy's rules.
    """
    if not any(map(_is_typed_scalar, operands)):  # the usual case
        return operands
    typed = [x for x in operands if hasattr(x, "dtype") and x.dtype.kind == "f"]
    leading = [x for x in typed if len(x.shape)] or [x for x in typed if isinstance(x, Tensor)]
    if not leading:
        return operands
    dtype = np.result_type(*(x.dtype for x in leading))
    return tuple(_cast(x, dtype) if _is_typed_scalar(x) else x for x in operands)


def _is_typed_scalar(x: Any) -> bool:
    return hasattr(x, "dtype") and not len(x.shape) and x.dtype.kind in "iuf"


def _cast(x: Any, dtype: Any) -> Any:
    if isinstance(x, np.generic | np.ndarray):
        return x.item()
    return x if x.dtype == dtype else x.astype(dtype)
