"""2-D convolution and its gradients, by kernels/convolution.cu; depthwise by depthwise.cu.

The same functions launch the kernels of kernels/conv_pool.cu.
"""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda import depthwise
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.tiling import Plan, finish, new_partial, plan_product, vector
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.launch import Kernel

__all__ = ["conv2d_backward_input", "conv2d_backward_weight", "conv2d_forward"]

Array = Any

_FORWARD = Kernel("convolution.cu", "conv2d_forward")
_INPUT_GRAD = Kernel("convolution.cu", "conv2d_backward_input")
_WEIGHT_GRAD = Kernel("convolution.cu", "conv2d_backward_weight")


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry, activation: Activation | None
) -> Array:
    """Return the cross-correlation of `x` with `kernel`."""
    if depthwise.is_depthwise(g):
        return depthwise.forward(x, kernel, bias, g, activation)
    bias = None if bias is None else launch.contiguous(bias)
    y = launch.empty(g.output_shape, x.dtype)
    partial = launch_forward(_FORWARD, x, kernel, bias, (y,), g, activation)
    finish(partial, y, bias, activation)
    return y


def conv2d_backward_weight(
    output_grad: Array, x: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    given = before_activation(output_grad, output, activation)
    if depthwise.is_depthwise(g):
        return depthwise.backward_weight(given, x, g, activation, with_bias)
    return backward_weight(given, x, g, activation, with_bias)


def conv2d_backward_input(
    output_grad: Array, kernel: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input."""
    given = before_activation(output_grad, output, activation)
    if depthwise.is_depthwise(g):
        return depthwise.backward_input(given, kernel, g, activation)
    return backward_input(given, kernel, g, activation)


def launch_forward(
    launched: Kernel, x: Array, kernel: Array, bias: Array | None, results: tuple[Array, ...],
    g: Conv2DGeometry, activation: Activation | None, rows_together: int = 1,
) -> Array | None:  # fmt: skip
    """Launch a forward kernel; return partial sums, or None if it writes the results.

    Arguments:
        launched: the kernel.
        x, kernel: the operands.
        bias: a contiguous array, or None.
        results: the arrays that it writes.
        g: the geometry.
        activation: applied to the sums.
        rows_together: as in `plan_product`.
    """
    x, kernel = launch.contiguous(x), launch.contiguous(kernel)
    channels, filters = _of_a_group(g)
    rows, length, vector_a = _positions(g.output_shape), _taps(g) * channels, vector(channels, x)
    plan = plan_product(rows, filters, length, g.groups, x.dtype, vector_a, rows_together)
    partial = new_partial(plan, g.output_shape, x.dtype)
    vectors = vector_a, vector(filters, kernel), vector(filters, *results, partial)
    arguments = x, kernel, bias, *results, partial
    _launch(launched, "FORWARD", plan, g, activation, x.dtype, vectors, arguments)
    return partial


def backward_weight(
    given: tuple[Array | None, ...], x: Array, g: Conv2DGeometry, activation: Activation | None,
    with_bias: bool, launched: Kernel = _WEIGHT_GRAD,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias.

    Arguments:
        given: the gradient of the output, the output or None, and with pooling the indices; all
            contiguous.
        x: the input.
        g: the geometry.
        activation: of the output.
        with_bias: whether to compute the gradient of the bias.
        launched: the kernel.
    """
    x = launch.contiguous(x)
    plan = _weight_plan(x, g, with_bias)
    grads = launch.empty(weight_shape(g, with_bias), x.dtype)
    partial = new_partial(plan, grads.shape, x.dtype)
    _launch_weight(launched, plan, given, x, g, activation, with_bias, grads, partial)
    finish(partial, grads)
    rows = grads.shape[0] - with_bias
    return grads[:rows].reshape(g.kernel_shape), grads[rows] if with_bias else None


def weight_parts_shape(x: Array, g: Conv2DGeometry, with_bias: bool) -> tuple[int, int, int]:
    """Return the shape of the gradients' partial sums: (parts, rows, filters)."""
    splits = _weight_plan(x, g, with_bias, summed_later=True).splits
    return (splits, *weight_shape(g, with_bias))


def backward_weight_parts(
    given: tuple[Array | None, ...], x: Array, g: Conv2DGeometry, activation: Activation | None,
    with_bias: bool, partial: Array, launched: Kernel = _WEIGHT_GRAD,
) -> None:  # fmt: skip
    """Write partial sums of the gradients that `backward_weight` returns.

    Arguments:
        partial: of the shape `weight_parts_shape`, changed.
        given, x, g, activation, with_bias, launched: as in `backward_weight`.
    """
    x = launch.contiguous(x)
    plan = _weight_plan(x, g, with_bias, summed_later=True)
    _launch_weight(launched, plan, given, x, g, activation, with_bias, None, partial)


def weight_shape(g: Conv2DGeometry, with_bias: bool) -> tuple[int, int]:
    """Return the rows and columns of the gradients; the last row is the bias', if any."""
    return _taps(g) * g.kernel_shape[2] + with_bias, g.kernel_shape[3]


def _weight_plan(x: Array, g: Conv2DGeometry, with_bias: bool, summed_later: bool = False) -> Plan:
    channels, filters = _of_a_group(g)
    rows, length = weight_shape(g, with_bias)[0], _positions(g.output_shape)
    return plan_product(
        rows, filters, length, g.groups, x.dtype, vector(channels, x), summed_later=summed_later
    )


def _launch_weight(
    launched: Kernel, plan: Plan, given: tuple[Array | None, ...], x: Array, g: Conv2DGeometry,
    activation: Activation | None, with_bias: bool, grads: Array | None, partial: Array | None,
) -> None:  # fmt: skip
    channels, filters = _of_a_group(g)
    vectors = vector(channels, x), vector(filters, *given), vector(filters, grads, partial)
    arguments = int(with_bias), *given, x, grads, partial
    _launch(launched, "WEIGHT_GRAD", plan, g, activation, x.dtype, vectors, arguments)


def backward_input(
    given: tuple[Array | None, ...], kernel: Array, g: Conv2DGeometry,
    activation: Activation | None, launched: Kernel = _INPUT_GRAD,
) -> Array:  # fmt: skip
    """Return the gradient of the input; arguments as in `backward_weight`."""
    kernel = launch.contiguous(kernel)
    input_grad = launch.empty(g.input_shape, kernel.dtype)
    channels, filters = _of_a_group(g)
    rows, length, vector_a = _positions(g.input_shape), _taps(g) * filters, vector(filters, *given)
    plan = plan_product(rows, channels, length, g.groups, kernel.dtype, vector_a)
    partial = new_partial(plan, g.input_shape, kernel.dtype)
    vectors = vector_a, vector(filters, kernel), vector(channels, input_grad, partial)
    arguments = *given, kernel, input_grad, partial
    _launch(launched, "INPUT_GRAD", plan, g, activation, kernel.dtype, vectors, arguments)
    finish(partial, input_grad)
    return input_grad


def before_activation(
    output_grad: Array, output: Array | None, activation: Activation | None
) -> tuple[Array, Array | None]:
    """Return the arrays from which kernels compute the gradient before the activation."""
    kept = None if activation is None or output is None else launch.contiguous(output)
    return launch.contiguous(output_grad), kept


def positions(g: Conv2DGeometry) -> int:
    """Return how many outputs a filter has, in all images."""
    return _positions(g.output_shape)


def _of_a_group(g: Conv2DGeometry) -> tuple[int, int]:
    """Return the channels and the filters of one group."""
    return g.kernel_shape[2], g.kernel_shape[3] // g.groups


def _taps(g: Conv2DGeometry) -> int:
    return g.kernel_shape[0] * g.kernel_shape[1]


def _positions(shape: tuple[int, ...]) -> int:
    """Return the pixels of all images of a shape (batch, height, width, channels)."""
    return shape[0] * shape[1] * shape[2]


def _launch(
    launched: Kernel, direction: str, plan: Plan, g: Conv2DGeometry, activation: Activation | None,
    dtype: Any, vectors: tuple[int, int, int], arguments: tuple[Any, ...],
) -> None:  # fmt: skip
    """Launch a kernel; `vectors` are the widths of its two operands and its result."""
    grid, (a, b, y) = (plan.tiles, plan.splits, g.groups), vectors
    launched(
        grid, plan.tiling.threads, *sizes(g), plan.chunk, *arguments, types={"T": dtype},
        PASS=direction, ACTIVATION=activation_macro(activation), **plan.tiling.macros,
        VECTOR_A=a, VECTOR_B=b, VECTOR_Y=y,
    )  # fmt: skip


def sizes(g: Conv2DGeometry) -> tuple[int, ...]:
    """Return the first arguments of all three kernels."""
    (top, _), (left, _) = g.padding
    shapes = *g.input_shape, *g.output_shape[1:], *g.kernel_shape[:2]
    return *shapes, *g.strides, top, left, *g.dilation, g.groups
