"""Argument checks of the primitives, the same for every kind of array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import random
from gpunet.arguments import is_number
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.geometry import Conv2DGeometry, Pool2DGeometry

__all__ = [
    "are_class_numbers",
    "check_conv_grad",
    "check_convolution",
    "check_dropout",
    "check_gather",
    "check_has_output",
    "check_matmul",
    "check_pooled_grad",
    "check_rescale",
    "check_same_dtype",
    "check_same_shape",
    "check_shape",
    "check_update",
]

Shape = tuple[int, ...]


def are_class_numbers(logits_shape: Shape, labels: Any) -> bool:
    """Return True for labels that are class numbers, False for probabilities, by shape and type.

    Arguments:
        logits_shape: (batch, classes).
        labels: (batch,) integers, or (batch, classes) numbers of any kind.

    Raises:
        TypeError, ValueError: the labels are of neither form.
    """
    where = "softmax_cross_entropy"
    if len(logits_shape) != 2 or logits_shape[1] == 0:
        raise ValueError(
            f"{where}: expected logits of shape (batch, classes), received {logits_shape}."
        )
    kind = labels.dtype.kind
    if kind == "V" and labels.dtype.name == "bfloat16":
        kind = "f"
    if labels.shape == logits_shape:
        if kind not in "biuf" or labels.dtype.itemsize > 8:
            raise TypeError(
                f"{where}: expected probabilities as numbers of up to 64 bits, received "
                f"{labels.dtype}: convert them with labels.astype('float32')."
            )
        return False
    if labels.shape != logits_shape[:1]:
        raise ValueError(
            f"{where}: expected labels of shape {logits_shape[:1]} (class numbers) or "
            f"{logits_shape} (probabilities), received {labels.shape}: reshape them; nothing is "
            "broadcast here."
        )
    if kind not in "iu":
        raise TypeError(
            f"{where}: expected class numbers to be integers, received {labels.dtype}: "
            "convert them with labels.astype('int32')."
        )
    return True


def check_shape(where: str, argument: str, shape: Shape, expected: Shape) -> None:
    """Raise `ValueError` unless `argument` has the `expected` shape."""
    if shape != expected:
        raise ValueError(
            f"{where}: expected {argument} of shape {expected}, received {shape}: "
            "give the array that belongs to the other arguments."
        )


def check_same_dtype(where: str, first: Any, **others: Any) -> None:
    """Raise `TypeError` unless the arrays have one element type; None is passed over."""
    for name, other in others.items():
        if other is None:
            continue
        if not hasattr(other, "dtype"):
            raise TypeError(
                f"{where}: expected {name} as an array or None, received {type(other).__name__}: "
                "make one with gpunet.backend.asarray(x, dtype='float32')."
            )
        if other.dtype != first.dtype:
            raise TypeError(
                f"{where}: expected arrays of one type, received {first.dtype} "
                f"and {name} of {other.dtype}: convert one of them with astype."
            )


def check_same_shape(where: str, first: Any, *others: Any) -> None:
    """Raise `ValueError` unless all arrays have the shape of the first."""
    for other in others:
        if other.shape != first.shape:
            raise ValueError(
                f"{where}: expected arrays of one shape, received {first.shape} and "
                f"{other.shape}: nothing is broadcast here."
            )


def check_convolution(x: Any, kernel: Any, bias: Any) -> None:
    """Raise unless the arrays of a convolution have one type, and its bias one number a filter."""
    check_same_dtype("conv2d", x, kernel=kernel, bias=bias)
    if bias is not None:
        check_shape("conv2d", "bias", bias.shape, kernel.shape[3:])


def check_dropout(key: Any, rate: float) -> tuple[int, float]:
    """Return the least 32-bit number by which an element passes, and the factor of such elements.

    Raises:
        TypeError: `key` is no key.
        ValueError: `rate` is out of range.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: expected a rate from 0 to 1, received {rate!r}.")
    random.check_key(key)
    # Of 2**32 numbers the largest passes at any rate: at rate 1 it is scaled to 0.
    return min(round(rate * 2**32), 2**32 - 1), 1 / (1 - rate) if rate < 1 else 0.0


def check_update(
    where: str, parameters: Any, learning_rate: Any, step: Any = None, skip: Any = None,
    **buffers: Any,
) -> None:  # fmt: skip
    """Raise unless the buffers of an update are flat and fit each other; None is passed over."""
    if parameters.ndim != 1:
        raise ValueError(
            f"{where}: expected flat buffers, received parameters of shape {parameters.shape}."
        )
    check_same_dtype(where, parameters, **buffers, learning_rate=learning_rate)
    for name, buffer in buffers.items():
        if buffer is not None:
            check_shape(where, name, buffer.shape, parameters.shape)
    check_shape(where, "learning_rate", learning_rate.shape, (1,))
    for name, array, size in (("step", step, 1), ("skip", skip, 3)):
        if array is not None:
            check_shape(where, name, array.shape, (size,))
            _check_int64(where, name, array)


def check_gather(data: Any, rows: Any, dtype: Any, scale: float) -> np.dtype[Any]:
    """Return the type that rows of `data` are gathered in, or raise if they cannot be."""
    where = "gather_batch"
    if data.ndim == 0:
        raise ValueError(f"{where}: expected data of shape (samples, ...), received a number.")
    if rows.ndim != 1:
        raise ValueError(f"{where}: expected rows of shape (batch,), received {rows.shape}.")
    _check_int64(where, "rows", rows)
    result = np.dtype(data.dtype if dtype is None else dtype)
    if (result != data.dtype or scale != 1) and not _is_floating(result):
        raise TypeError(
            f"{where}: expected a floating-point dtype to convert to or to scale in, received "
            f"{result} for data of {data.dtype} and scale={scale!r}: pass dtype='float32', or "
            "neither dtype nor scale."
        )
    return result


def check_rescale(x: Any, scale: float, offset: float, dtype: Any) -> np.dtype[Any]:
    """Return the floating-point type that `x` is rescaled in, or raise if it cannot be."""
    where = "rescale"
    result = np.dtype(x.dtype if dtype is None else dtype)
    if not _is_floating(result):
        raise TypeError(
            f"{where}: expected a floating-point dtype to compute in, received {result} for x of "
            f"{x.dtype}: pass dtype='float32'."
        )
    for name, value in (("scale", scale), ("offset", offset)):
        if not is_number(value) or not math.isfinite(value):
            raise ValueError(f"{where}: expected {name} as one finite number, received {value!r}.")
    return result


def _is_floating(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _check_int64(where: str, name: str, array: Any) -> None:
    if array.dtype != np.int64:
        raise TypeError(
            f"{where}: expected {name} of int64, received {array.dtype}: "
            "convert it with astype('int64')."
        )


def check_conv_grad(
    output_grad: Any, operand: Any, output: Any, activation: Activation | None, g: Conv2DGeometry
) -> None:
    """Raise unless the gradient of a convolution's output fits its geometry and operand."""
    check_same_dtype("conv2d", operand, output_grad=output_grad)
    check_shape("conv2d", "output_grad", output_grad.shape, g.output_shape)
    _check_fused_output(output_grad, output, activation)


def _check_fused_output(output_grad: Any, output: Any, activation: Activation | None) -> None:
    """Raise unless the output of a fused activation is given, of the gradient's shape."""
    if output is not None:
        check_shape("conv2d", "output", output.shape, output_grad.shape)
        check_same_dtype("conv2d", output_grad, output=output)
    else:
        check_has_output(output, activation)


def check_pooled_grad(
    output_grad: Any, indices: Any, operand: Any, output: Any, activation: Activation | None,
    pool: Pool2DGeometry,
) -> None:  # fmt: skip
    """Raise unless the gradient of a pooled convolution's output fits its geometry and operand."""
    where = "conv2d_max_pool"
    check_same_dtype(where, operand, output_grad=output_grad)
    check_shape(where, "output_grad", output_grad.shape, pool.output_shape)
    check_shape(where, "indices", indices.shape, pool.output_shape)
    if indices.dtype != pool.index_dtype:
        raise TypeError(
            f"{where}: expected indices of {pool.index_dtype}, received {indices.dtype}: "
            "give the second result of conv2d_max_pool_forward."
        )
    _check_fused_output(output_grad, output, activation)


def check_has_output(output: Any, activation: Activation | None) -> None:
    """Raise `ValueError` if an activation is fused and its output is missing."""
    if activation is not None and output is None:
        raise ValueError(
            f"activation={str(activation)!r} needs output, the result of the forward function."
        )


def check_matmul(a: Any, b: Any, bias: Any, transpose_a: bool, transpose_b: bool) -> None:
    """Raise unless two matrices, or two stacks of them, can be multiplied."""
    check_same_dtype("matmul", a, b=b, bias=bias)
    if not (2 <= a.ndim == b.ndim <= 3) or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            "matmul: expected two matrices, or two stacks of as many matrices, received shapes "
            f"{a.shape} and {b.shape}: reshape them to 2 dimensions, or to 3 with one first size."
        )
    left, right = a.shape[-2:], b.shape[-2:]
    left, right = left[::-1] if transpose_a else left, right[::-1] if transpose_b else right
    if left[1] != right[0]:
        raise ValueError(
            f"matmul: expected as many columns on the left as rows on the right, received "
            f"{left} @ {right}: check the shapes, transpose_a and transpose_b."
        )
    if bias is not None:
        check_shape("matmul", "bias", bias.shape, right[1:])
