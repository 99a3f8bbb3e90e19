"""2-D convolution as matrix products (im2col), in blocks of images that stay in cache.

For each block the patches under the kernel are copied to a matrix, `columns`, which is multiplied
by the kernel; the backward pass makes the columns again rather than keep them. All matrices have a
leading axis of groups, so that grouped and ordinary convolution are one code.

Layout: images (batch, height, width, channels), kernels (height, width, channels / groups,
filters).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpunet.fork import finish_before_fork
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.geometry import NO_PADDING, Conv2DGeometry
from gpunet.primitives.reference.activation import activate_backward
from gpunet.primitives.reference.blocks import Array, blocks_of, inside, per_block
from gpunet.primitives.reference.linear import add_bias_and_activate, bias_backward
from gpunet.primitives.reference.memory import empty

__all__ = ["conv2d_backward_input", "conv2d_backward_weight", "conv2d_forward"]


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry, activation: Activation | None
) -> Array:
    """Return the cross-correlation; only the first rows and columns where `g` has fewer."""
    if bias is not None:
        bias = np.tile(bias, g.output_shape[2])  # one row of the output at a time is faster
    y = empty(g.output_shape, x.dtype)
    weights = _by_group(kernel, g.groups)  # (groups, patch, filters / groups)
    for images, rows, columns in _column_blocks(x, g):
        block = y[images, rows]
        finish_before_fork(np.matmul, columns, weights, out=_by_group(block, g.groups))
        add_bias_and_activate(block.reshape(-1, block.shape[2] * block.shape[3]), bias, activation)
    return y


def conv2d_backward_weight(
    output_grad: Array, x: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    kernel_height, kernel_width, channels, filters = g.kernel_shape
    groups = g.groups
    shape = (groups, kernel_height * kernel_width * channels, filters // groups)
    weight_grad, part = np.zeros(shape, x.dtype), np.empty(shape, x.dtype)
    bias_grad = np.zeros(filters, x.dtype) if with_bias else None
    for images, rows, columns in _column_blocks(x, g):
        grad = _grad_block(output_grad, output, activation, images, rows)
        finish_before_fork(np.matmul, columns.transpose(0, 2, 1), _by_group(grad, groups), out=part)
        weight_grad += part
        if bias_grad is not None:
            bias_grad += bias_backward(grad)
    return weight_grad.transpose(1, 0, 2).reshape(g.kernel_shape), bias_grad


def conv2d_backward_input(
    output_grad: Array, kernel: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input."""
    input_grad = empty(g.input_shape, kernel.dtype)
    taps, channels, groups = kernel.shape[0] * kernel.shape[1], g.input_shape[3], g.groups
    weights = kernel.reshape(taps, channels // groups, groups, -1).transpose(0, 2, 3, 1)
    size = _block_size(g, kernel.itemsize)
    # Tap-major, so that what `_add_taps` adds are whole rows.
    buffer = empty((taps * size[0] * size[1] * g.output_shape[2] * channels,), kernel.dtype)
    for images, rows in _blocks(g, size):
        block = _grad_block(output_grad, output, activation, images, rows)
        shape = (taps, *block.shape[:3], channels)
        columns = buffer[: math.prod(shape)].reshape(shape)
        by_group = columns.reshape(taps, -1, groups, channels // groups).transpose(0, 2, 1, 3)
        finish_before_fork(np.matmul, _by_group(block, groups), weights, out=by_group)
        if rows.start == 0:
            input_grad[images] = 0
        _add_taps(input_grad[images], columns, rows.start, g)
    return input_grad


def _grad_block(
    output_grad: Array, output: Array | None, activation: Activation | None, *block: slice
) -> Array:
    """Return a block of the gradient before the activation; of all of it no array is made."""
    part = None if output is None else output[block]
    return np.ascontiguousarray(activate_backward(output_grad[block], part, activation))


def _by_group(array: Array, groups: int) -> Array:
    """Return a view (groups, count, channels / groups) of a contiguous (..., channels)."""
    return array.reshape(-1, groups, array.shape[-1] // groups).transpose(1, 0, 2)


def _block_size(g: Conv2DGeometry, itemsize: int) -> tuple[int, int]:
    """Return the images and output rows of a block, whose columns and output stay in cache.

    An image that is too large alone is divided into bands of rows.
    """
    batch, height, width, filters = g.output_shape
    patch = g.kernel_shape[0] * g.kernel_shape[1] * g.input_shape[3]
    row_bytes = width * (patch + filters) * itemsize
    images = per_block(batch, height * row_bytes)
    return images, per_block(height, row_bytes) if images == 1 else height


def _blocks(g: Conv2DGeometry, size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield the images and the output rows of one block after another, in a fixed order."""
    for images in blocks_of(g.output_shape[0], size[0]):
        for rows in blocks_of(g.output_shape[1], size[1]):
            yield images, rows


def _column_blocks(x: Array, g: Conv2DGeometry) -> Iterator[tuple[slice, slice, Array]]:
    """Yield (images, output rows, columns) of one block after another.

    The columns (groups, positions, patch) are valid until the next block is asked for.
    """
    size = _block_size(g, x.itemsize)
    if g.kernel_shape[:2] == g.strides == (1, 1) and g.padding == NO_PADDING:
        for images, rows in _blocks(g, size):  # the pixels are the patches
            yield images, rows, _by_group(x[images, rows, : g.output_shape[2]], g.groups)
        return
    patch = g.kernel_shape[0] * g.kernel_shape[1] * g.input_shape[3]
    buffer = empty((size[0] * size[1] * g.output_shape[2] * patch,), x.dtype)
    if g.padding == NO_PADDING:
        windows = _windows(x, g)
        for images, rows in _blocks(g, size):
            yield images, rows, _copy_columns(windows[images, rows], buffer)
        return
    (top, _), (left, _) = g.padding
    _, height, width, channels = g.input_shape
    padded = np.zeros(
        (size[0], height + sum(g.padding[0]), width + sum(g.padding[1]), channels), x.dtype
    )
    windows = _windows(padded, g)
    for images, rows in _blocks(g, size):
        count = images.stop - images.start
        if rows.start == 0:
            padded[:count, top : top + height, left : left + width] = x[images]
        yield images, rows, _copy_columns(windows[:count, rows], buffer)


def _windows(x: Array, g: Conv2DGeometry) -> Array:
    """Return the view (images, rows, width, kernel height, kernel width, groups, channels)."""
    image, row, pixel, channel = x.strides
    channels = g.kernel_shape[2]
    shape = (len(x), *g.output_shape[1:3], *g.kernel_shape[:2], g.groups, channels)
    positions = (image, row * g.strides[0], pixel * g.strides[1])
    taps = (row * g.dilation[0], pixel * g.dilation[1])
    strides = (*positions, *taps, channel * channels, channel)
    return as_strided(x, shape, strides, writeable=False)


def _copy_columns(windows: Array, buffer: Array) -> Array:
    """Copy the view that `_windows` returns into `buffer`, as (groups, positions, patch).

    NumPy copies run by run, and short runs are slow. A run is one row of the patch, unless that is
    only a few numbers; then the positions are laid out innermost, a run is one row of the output,
    and the product takes the transposed matrix.
    """
    *positions, height, width, groups, channels = windows.shape
    buffer = buffer[: windows.size]
    run = width * channels if groups == 1 else channels
    if run >= 16:
        np.copyto(
            buffer.reshape(groups, *positions, height, width, channels),
            windows.transpose(5, 0, 1, 2, 3, 4, 6),
        )
        return buffer.reshape(groups, -1, height * width * channels)
    np.copyto(
        buffer.reshape(groups, height, width, channels, *positions),
        windows.transpose(5, 3, 4, 6, 0, 1, 2),
    )
    return buffer.reshape(groups, height * width * channels, -1).transpose(0, 2, 1)


def _add_taps(input_grad: Array, columns: Array, first_row: int, g: Conv2DGeometry) -> None:
    """Add each tap's part of a block's gradient where the tap had read it (col2im).

    Arguments:
        input_grad: the block's images (images, height, width, channels), changed in place.
        columns: (taps, images, rows, out_width, channels).
        first_row: the output row at which the columns begin.
        g: the geometry.
    """
    taps = ((i, j) for i in range(g.kernel_shape[0]) for j in range(g.kernel_shape[1]))
    for (i, j), part in zip(taps, columns, strict=True):
        top = first_row * g.strides[0] + i * g.dilation[0] - g.padding[0][0]
        left = j * g.dilation[1] - g.padding[1][0]
        from_rows, to_rows = inside(top, g.strides[0], part.shape[1], input_grad.shape[1])
        from_pixels, to_pixels = inside(left, g.strides[1], part.shape[2], input_grad.shape[2])
        input_grad[:, to_rows, to_pixels] += part[:, from_rows, from_pixels]
