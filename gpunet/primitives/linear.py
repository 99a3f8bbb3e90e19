"""The matrix product, with bias and activation as one pass, and the gradient of a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.primitives.activation_table import Activation, as_fused
from gpunet.primitives.checks import check_matmul, check_same_dtype
from gpunet.primitives.twins import twins_of

__all__ = [
    "bias_backward", "dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul",
]  # fmt: skip

Array = Any


def matmul(
    a: Array, b: Array, bias: Array | None = None, *,
    transpose_a: bool = False, transpose_b: bool = False,
    activation: str | Activation | None = None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``.

    Arguments:
        a: (rows, inner), or (inner, rows) with `transpose_a`; or a stack of such matrices, with an
            axis before.
        b: (inner, columns), or (columns, inner) with `transpose_b`; a stack of as many if `a` is.
        bias: (columns,), or None.
        transpose_a: use the transpose of `a`, without copying it.
        transpose_b: likewise of `b`.
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the activation is unknown.

    >>> import numpy as np
    >>> matmul(np.ones((2, 3)), np.ones((3, 1)), np.array([0.5]))
    array([[3.5],
           [3.5]])
    """
    twins = twins_of("matmul", a, b, bias)
    check_matmul(a, b, bias, transpose_a, transpose_b)
    return twins.matmul(a, b, bias, transpose_a, transpose_b, as_fused(activation))


def bias_backward(output_grad: Array) -> Array:
    """Return the sum of `output_grad` (..., channels) over all axes but the last, (channels,).

    Raises:
        TypeError: `output_grad` is no array of floating-point numbers.

    >>> import numpy as np
    >>> bias_backward(np.ones((2, 3, 4)))
    array([6., 6., 6., 6.])
    """
    twins = twins_of("bias_backward", output_grad)
    return twins.bias_backward(output_grad)


def dense_backward_weight(
    output_grad: Array, x: Array, *, with_bias: bool = False
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias of ``x @ kernel + bias``.

    On a GPU they may be `Parts`, within `leaving_parts`.

    Arguments:
        output_grad: (rows, units).
        x: (rows, inputs).
        with_bias: whether to compute the gradient of the bias, else it is None.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> dense_backward_weight(np.ones((2, 1)), np.array([[1.0, 2.0], [3.0, 4.0]]), with_bias=True)
    (array([[4.],
           [6.]]), array([2.]))
    """
    where = "dense_backward_weight"
    twins = twins_of(where, output_grad, x)
    check_same_dtype(where, x, output_grad=output_grad)
    if output_grad.ndim != 2 or x.ndim != 2 or len(output_grad) != len(x):
        raise ValueError(
            f"{where}: expected output_grad of shape (rows, units) and x of shape (rows, inputs), "
            f"received {output_grad.shape} and {x.shape}."
        )
    return twins.dense_backward_weight(output_grad, x, with_bias)


def dense_each(
    x: Array, kernels: Sequence[Array], biases: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return ``x @ kernel + bias`` of several layers, such as those before attention.

    Arguments:
        x: (rows, inputs).
        kernels: up to four, (inputs, units) each.
        biases: for each (units,), or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> x, kernel = np.ones((1, 2)), np.ones((2, 1))
    >>> dense_each(x, [kernel, 2 * kernel], [None, np.ones(1)])
    (array([[2.]]), array([[5.]]))
    """
    twins = twins_of("dense_each", x, *kernels, *biases)
    _check_each("dense_each", kernels, biases)
    for kernel, bias in zip(kernels, biases, strict=True):
        check_matmul(x, kernel, bias, False, False)
    return twins.dense_each(x, kernels, biases)


def dense_each_backward_input(output_grads: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Return the gradient of the input of `dense_each`, (rows, inputs).

    Arguments:
        output_grads: for each layer the gradient of its output, (rows, units).
        kernels: as there.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> dense_each_backward_input([np.ones((1, 1))] * 2, [np.ones((2, 1)), np.ones((2, 1))])
    array([[2., 2.]])
    """
    where = "dense_each_backward_input"
    twins = twins_of(where, *output_grads, *kernels)
    _check_each(where, output_grads, kernels)
    for grad, kernel in zip(output_grads, kernels, strict=True):
        check_matmul(grad, kernel, None, False, True)
    shapes = {(len(grad), len(kernel)) for grad, kernel in zip(output_grads, kernels, strict=True)}
    if len(shapes) > 1:
        raise ValueError(f"{where}: expected as many rows and inputs of each, received {shapes}.")
    return twins.dense_each_backward_input(output_grads, kernels)


def _check_each(where: str, first: Sequence[Any], second: Sequence[Any]) -> None:
    if not 1 <= len(first) == len(second) <= 4:
        raise ValueError(
            f"{where}: expected one to four layers, with as many arrays of each kind, received "
            f"{len(first)} and {len(second)}."
        )
