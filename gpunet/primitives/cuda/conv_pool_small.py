"""Convolution of few channels with bias, activation and max pooling.

By kernels/conv_pool_small.cu: for each filter a lane, with the filter's weights in registers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.tiling import finish
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.launch import Kernel

__all__ = ["backward_weight", "backward_weight_parts", "forward", "supports", "weight_parts_shape"]

Array = Any

_FORWARD = Kernel("conv_pool_small.cu", "conv2d_max_pool_small_forward")
_WEIGHT_GRAD = Kernel("conv_pool_small.cu", "conv2d_max_pool_small_backward_weight")

_MOST_CHANNELS, _LARGEST_KERNEL, _MOST_STRIDE = 4, 5, 2
_MOST_WORDS = 100  # of 4 bytes, for the weights of a filter in a thread's registers
_MOST_POSITIONS = 2**31 - 2**16  # kernels count them in int, and go on past the end by a block
_LANES = 32
_FORWARD_WARPS = 8
_MOST_SPAN = 16  # windows of a strip
_STRIP_BYTES = 32 << 10  # of shared memory, for the strips of a block

# Estimates, in the time that a warp takes for one window where the others of its block take turns:
# to copy the pixels of a strip, and to add up one more part of the gradients, read one by one.
_START_OF_STRIP = 2
_PART = 8


class Plan(NamedTuple):
    """How the windows of a layer are divided into strips, and these among blocks."""

    warps: int  # of a block
    most_span: int  # windows that a strip has room for
    span: int  # windows of a strip
    strips: int
    turns: int  # strips that a warp takes; forward, where it takes one, blocks one after another

    @property
    def chunk(self) -> int:
        """The strips of a block that makes a part."""
        return self.turns * self.warps

    @property
    def parts(self) -> int:
        """The blocks that make a part; without any strip there is one, of zeros."""
        return max(1, launch.ceil_div(self.strips, self.chunk))


def supports(g: Conv2DGeometry, dtype: Any) -> bool:
    """Return whether the kernels support a convolution; its output must fill its windows."""
    height, width, channels, _ = g.kernel_shape
    batch, out_height, out_width, _ = g.output_shape
    return (
        g.groups == 1
        and g.dilation == (1, 1)
        and max(g.strides) <= _MOST_STRIDE
        and max(height, width) <= _LARGEST_KERNEL
        and channels <= _MOST_CHANNELS
        and _words(g, dtype) <= _MOST_WORDS
        and batch * out_height * out_width <= _MOST_POSITIONS
    )


def forward(
    x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry, activation: Activation | None,
    y: Array, indices: Array,
) -> None:  # fmt: skip
    """Write the largest of each window, and its index.

    Arguments:
        x, kernel, bias: as in `conv2d_max_pool_forward`.
        g: the geometry, which `supports` allows.
        activation: applied to the largest.
        y, indices: changed.
    """
    plan = _plan(g, _itemsize(x), _FORWARD_WARPS, 0, launch.multiprocessors())
    grid = launch.ceil_div(plan.strips, plan.warps), launch.ceil_div(g.kernel_shape[3], _LANES)
    x, kernel = launch.contiguous(x), launch.contiguous(kernel)
    bias = None if bias is None else launch.contiguous(bias)
    _FORWARD(
        grid, plan.warps * _LANES, *_sizes(g), plan.span, x, kernel, bias, y, indices,
        types={"T": x.dtype}, PASS="FORWARD", **_macros(g, activation, plan),
    )  # fmt: skip


def backward_weight(
    given: tuple[Array | None, ...], x: Array, g: Conv2DGeometry, activation: Activation | None,
    with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias; arguments as in `convolution`'s."""
    shape = weight_parts_shape(x, g, with_bias)
    partial = launch.empty(shape, launch.accumulator(x.dtype))
    backward_weight_parts(given, x, g, activation, with_bias, partial)
    grads = launch.empty(shape[1:], x.dtype)
    finish(partial, grads)
    rows = shape[1] - with_bias
    return grads[:rows].reshape(g.kernel_shape), grads[rows] if with_bias else None


def weight_parts_shape(x: Array, g: Conv2DGeometry, with_bias: bool) -> tuple[int, int, int]:
    """Return the shape of the parts of the gradients: (parts, rows, filters)."""
    return _weight_plan(x, g).parts, _taps(g) + with_bias, g.kernel_shape[3]


def backward_weight_parts(
    given: tuple[Array | None, ...], x: Array, g: Conv2DGeometry, activation: Activation | None,
    with_bias: bool, partial: Array,
) -> None:  # fmt: skip
    """Write parts of the gradients, whose sum is the result of `backward_weight`.

    Arguments:
        given: the contiguous gradient and output, or None, of the windows, and their indices.
        x: the input.
        g: the geometry, which `supports` allows.
        activation: of the output.
        with_bias: whether to compute the gradient of the bias.
        partial: of the type of sums, of the shape `weight_parts_shape` or flat; changed.
    """
    plan = _weight_plan(x, g)
    grid = plan.parts, launch.ceil_div(g.kernel_shape[3], _LANES)
    _WEIGHT_GRAD(
        grid, plan.warps * _LANES, *_sizes(g), plan.span, plan.chunk, int(with_bias), *given,
        launch.contiguous(x), partial,
        types={"T": x.dtype}, PASS="WEIGHT_GRAD", **_macros(g, activation, plan),
    )  # fmt: skip


def _weight_plan(x: Array, g: Conv2DGeometry) -> Plan:
    """Return the plan of the gradients; the more sums a thread has, the fewer threads."""
    words, itemsize = _words(g, x.dtype), _itemsize(x)
    warps = 32 if words <= 9 and itemsize == 4 else 16 if words <= 48 else 8
    return _plan(g, itemsize, warps, _PART, launch.multiprocessors())


@lru_cache(maxsize=1024)
def _plan(
    g: Conv2DGeometry, itemsize: int, warps: int, part_cost: int, multiprocessors: int
) -> Plan:
    """Return the plan that takes the least time, by an estimate.

    Arguments:
        g: the geometry.
        itemsize: bytes of a number in shared memory.
        warps: of a block.
        part_cost: what it costs that a block leaves a part of the sums.
        multiprocessors: of the device.
    """
    batch, out_height, out_width, _ = g.output_shape
    lines, columns = batch * (out_height // 2), out_width // 2
    most_span = _most_span(g, warps * itemsize)
    plans = []
    for pieces in range(launch.ceil_div(columns, most_span), columns + 1):
        span = launch.ceil_div(columns, pieces)
        strips = lines * launch.ceil_div(columns, span)
        blocks = launch.ceil_div(strips, warps)
        turns = {max(1, launch.ceil_div(blocks, n)) for n in range(1, multiprocessors + 1)}
        plans += [Plan(warps, most_span, span, strips, n) for n in sorted(turns)]

    def cost(plan: Plan) -> int:
        return plan.turns * warps * (plan.span + _START_OF_STRIP) + part_cost * plan.parts

    return min(plans, key=cost)


def _most_span(g: Conv2DGeometry, column_bytes: int) -> int:
    """Return how many windows of a strip there is room for; see STRIP in the kernels."""
    height, width, channels, _ = g.kernel_shape
    rows, step = g.strides[0] + height, 2 * g.strides[1] * channels
    line = _STRIP_BYTES // (rows * column_bytes) // 4 * 4
    return min(_MOST_SPAN, 1 + (line - (g.strides[1] + width) * channels) // step)


def _macros(g: Conv2DGeometry, activation: Activation | None, plan: Plan) -> dict[str, Any]:
    height, width, channels, _ = g.kernel_shape
    return {
        "ACTIVATION": activation_macro(activation),
        "KERNEL_HEIGHT": height,
        "KERNEL_WIDTH": width,
        "CHANNELS": channels,
        "STRIDE_Y": g.strides[0],
        "STRIDE_X": g.strides[1],
        "WARPS": plan.warps,
        "MOST_SPAN": plan.most_span,
    }


def _sizes(g: Conv2DGeometry) -> tuple[int, ...]:
    """Return the first arguments of both kernels."""
    (top, _), (left, _) = g.padding
    _, rows, columns, filters = g.output_shape
    return *g.input_shape[:3], rows // 2, columns // 2, filters, top, left


def _taps(g: Conv2DGeometry) -> int:
    height, width, channels, _ = g.kernel_shape
    return height * width * channels


def _words(g: Conv2DGeometry, dtype: Any) -> int:
    """Return the words of 4 bytes that the weights of a filter take."""
    return _taps(g) * launch.accumulator(dtype).itemsize // 4


def _itemsize(x: Array) -> int:
    return launch.accumulator(x.dtype).itemsize
