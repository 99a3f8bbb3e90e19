"""Convolution and pooling over one, two or three axes, by the primitives for images.

A sequence is an image of one row. In three dimensions the taps along the first axis become
channels, so that each step along it is an image: one product does all taps, as in two dimensions.
Pooling over three axes is pooling over two, then over the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpunet import primitives
from gpunet.autograd import Array, Result, Tensor, differentiable
from gpunet.backend import get_array_module
from gpunet.functions.convolution import conv2d
from gpunet.functions.pooling import average_pool2d, max_pool2d
from gpunet.functions.shaping import reshape, transpose
from gpunet.primitives.shapes import (
    integers,
    output_size,
    resolve_padding,
    split_padding,
    transposed_size,
    without_causal,
)

__all__ = ["average_pool", "conv", "conv_transpose", "max_pool"]


def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
) -> Tensor:
    """Return the cross-correlation with a kernel over as many axes as the kernel has.

    Arguments:
        x: (batch, *sizes, channels), with one to three sizes.
        kernel: (*window, channels / groups, filters).
        bias: (filters,), or None.
        strides, dilation: in elements; an integer, or one for each axis.
        padding: 'valid', 'same', 'causal' for one axis (all before it), or elements: an integer,
            one for each axis, or (before, after) for each.
        groups, activation: as in `conv2d`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> conv(np.arange(4.0).reshape(1, 4, 1), np.ones((2, 1, 1))).numpy().ravel()
    array([1., 3., 5.])
    """
    rank = _rank_of(kernel, "conv")
    steps, spreads = integers(strides, "strides", rank), integers(dilation, "dilation", rank)
    padding = without_causal(padding, kernel.shape[:rank], spreads)
    paddings = split_padding(padding, rank)
    options = {"groups": groups, "activation": activation}
    if rank == 2:
        options |= {"strides": steps, "padding": padding, "dilation": spreads}
        return conv2d(x, kernel, bias, **options)
    if rank == 1:
        options |= {"strides": (1, *steps), "dilation": (1, *spreads)}
        options["padding"] = paddings[0] if isinstance(paddings[0], str) else ((0, 0), paddings[0])
        y = conv2d(_insert(x, 1), _insert(kernel, 0), bias, **options)
        return _remove(y, 1)
    planes = _Planes.of(x.shape[1], kernel.shape[0], steps[0], paddings[0], spreads[0], groups)
    rest = paddings[1:]
    options["padding"] = rest[0] if isinstance(rest[0], str) else rest
    options |= {"strides": steps[1:], "dilation": spreads[1:]}
    y = conv2d(_unfold(x, planes=planes), _taps_as_channels(kernel), bias, **options)
    return reshape(y, (x.shape[0], planes.positions, *y.shape[1:]))


def conv_transpose(
    x: Any,
    kernel: Any,
    *,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    dilation: Any = 1,
) -> Tensor:
    """Return the transposed convolution: the gradient of `conv` with the same kernel.

    Arguments:
        x: (batch, *sizes, channels), with one to three sizes.
        kernel: (*window, filters, channels).
        strides, dilation: as in `conv`.
        padding: 'valid' or 'same'.
        output_padding: elements added to the shortest output along each axis, as in Keras; None
            for an output of size x stride ('same').

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> conv_transpose(np.ones((1, 2, 1)), np.ones((2, 1, 1)), strides=2).numpy().ravel()
    array([1., 1., 1., 1.])
    """
    rank = _rank_of(kernel, "conv_transpose")
    steps, spreads = integers(strides, "strides", rank), integers(dilation, "dilation", rank)
    added: Sequence[Any] = (None,) * rank
    if output_padding is not None:
        added = integers(output_padding, "output_padding", rank, 0)
    found = [
        transposed_size(x.shape[1 + i], kernel.shape[i], steps[i], padding, added[i], spreads[i])
        for i in range(rank)
    ]
    sizes, paddings = [size for size, _ in found], [sides for _, sides in found]
    if rank == 1:
        x, kernel = _insert(x, 1), _insert(kernel, 0)
        sizes, steps, spreads = [1, *sizes], (1, *steps), (1, *spreads)
        paddings = [(0, 0), *paddings]
    options = {"strides": steps[-2:], "padding": tuple(paddings[-2:]), "dilation": spreads[-2:]}
    options["sizes"] = tuple(sizes[-2:])
    if rank < 3:
        y = _conv2d_transpose(x, kernel, **options)
        return _remove(y, 1) if rank == 1 else y
    planes = _Planes(kernel.shape[0], steps[0], spreads[0], *paddings[0], x.shape[1], 1)
    images = reshape(x, (-1, *x.shape[2:]))
    y = _conv2d_transpose(images, _taps_as_channels(kernel), **options)
    return _fold(y, planes=planes, depth=sizes[0])


@differentiable
def _conv2d_transpose(x: Array, kernel: Array, *, sizes: tuple[int, int], **options: Any) -> Result:
    """Return the gradient of the input of a convolution for images (batch, *sizes, filters)."""
    y = primitives.conv2d_backward_input(x, kernel, (len(x), *sizes, kernel.shape[2]), **options)
    return y, lambda output_grad: (
        lambda: primitives.conv2d_forward(output_grad, kernel, **options),
        lambda: primitives.conv2d_backward_weight(x, output_grad, kernel.shape, **options)[0],
    )


def max_pool(x: Any, *, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Tensor:
    """Return the largest value of each window over one to three axes.

    Arguments:
        x: (batch, *sizes, channels).
        pool_size, strides: in elements; an integer, or one for each axis; `strides` is
            `pool_size` by default.
        padding: 'valid', 'same', or elements as in `conv`; padding is never the largest.

    Raises:
        ValueError: the windows are malformed or do not fit `x`.

    >>> import numpy as np
    >>> max_pool(np.arange(4.0).reshape(1, 4, 1)).numpy().ravel()
    array([1., 3.])
    """
    return _pool(max_pool2d, x, pool_size, strides, padding)


def average_pool(
    x: Any, *, pool_size: Any = 2, strides: Any = None, padding: Any = "valid"
) -> Tensor:
    """Return the mean of each window over one to three axes, padding not counted.

    Arguments and errors are those of `max_pool`.

    >>> import numpy as np
    >>> average_pool(np.arange(4.0).reshape(1, 4, 1)).numpy().ravel()
    array([0.5, 2.5])
    """
    return _pool(average_pool2d, x, pool_size, strides, padding)


def _pool(
    pool2d: Callable[..., Tensor], x: Any, pool_size: Any, strides: Any, padding: Any
) -> Tensor:
    rank = len(x.shape) - 2
    windows = integers(pool_size, "pool_size", rank)
    steps = windows if strides is None else integers(strides, "strides", rank)
    sides = split_padding(padding, rank)
    if rank == 2:
        return pool2d(x, pool_size=windows, strides=steps, padding=padding)

    def over(y: Tensor, axis: int, where: int) -> Tensor:
        """Pool over one axis, which is axis `where` of images."""
        placed = [(1, 1, (0, 0)), (1, 1, (0, 0))]
        window, stride = windows[axis], steps[axis]
        before_after = resolve_padding(y.shape[1 + where], window, stride, sides[axis], 1)
        placed[where] = window, stride, before_after
        pool_size, strides, padding = zip(*placed, strict=True)
        return pool2d(y, pool_size=pool_size, strides=strides, padding=padding)

    if rank == 1:
        return _remove(over(_insert(x, 1), 0, 1), 1)
    batch, depth, *sizes, channels = x.shape
    rest: Any = sides[1] if isinstance(sides[1], str) else sides[1:]
    images = reshape(x, (batch * depth, *sizes, channels))
    y = pool2d(images, pool_size=windows[1:], strides=steps[1:], padding=rest)
    rows = reshape(y, (batch, depth, math.prod(y.shape[1:-1]), channels))
    pooled = over(rows, 0, 0)
    return reshape(pooled, (batch, pooled.shape[1], *y.shape[1:]))


# Axes


def _rank_of(kernel: Any, where: str) -> int:
    if not hasattr(kernel, "shape"):
        raise TypeError(
            f"{where} expects an array or a tensor for kernel, received {type(kernel).__name__}: "
            "make one with gpunet.backend.asarray(x, dtype='float32')."
        )
    rank = len(kernel.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            f"{where}: expected a kernel of 3 to 5 dimensions, (*window, channels, filters), "
            f"received shape {tuple(kernel.shape)}."
        )
    return rank


def _insert(x: Any, axis: int) -> Tensor:
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def _remove(x: Tensor, axis: int) -> Tensor:
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :]))


def _taps_as_channels(kernel: Any) -> Tensor:
    """Return (depth, height, width, channels, filters) as (height, width, channels', filters)."""
    depth, height, width, channels, filters = kernel.shape
    turned = transpose(kernel, (1, 2, 0, 3, 4))
    return reshape(turned, (height, width, depth * channels, filters))


class _Planes(NamedTuple):
    """The positions of a window along the first of three axes."""

    taps: int
    stride: int
    dilation: int
    before: int  # padding
    after: int
    positions: int
    groups: int

    @classmethod
    def of(
        cls, size: int, taps: int, stride: int, padding: Any, dilation: int, groups: int
    ) -> _Planes:
        before, after = resolve_padding(size, taps, stride, padding, dilation)
        try:
            count = output_size(size, taps, stride, padding, dilation)
        except ValueError as error:
            raise ValueError(f"depth: {error}") from None
        assert count is not None
        return cls(taps, stride, dilation, before, after, count, groups)

    def tap(self, index: int) -> slice:
        """Return the planes of the padded input that a tap reads."""
        first = index * self.dilation
        return slice(first, first + (self.positions - 1) * self.stride + 1, self.stride)


@differentiable
def _unfold(x: Array, *, planes: _Planes) -> Result:
    """Return what positions see: (batch x positions, height, width, groups x taps x channels)."""
    depth = x.shape[1]
    return _gather(x, planes), lambda output_grad: _scatter(output_grad, planes, depth)


@differentiable
def _fold(x: Array, *, planes: _Planes, depth: int) -> Result:
    """Add what positions see to where they see it: the gradient of `_unfold`."""
    return _scatter(x, planes, depth), lambda output_grad: _gather(output_grad, planes)


def _gather(x: Array, p: _Planes) -> Array:
    batch, _, height, width, channels = x.shape
    xp = get_array_module(x)
    padded = xp.pad(x, ((0, 0), (p.before, p.after), (0, 0), (0, 0), (0, 0)))
    by_group = (batch, p.positions, height, width, p.groups, channels // p.groups)
    seen = [padded[:, p.tap(tap)].reshape(by_group) for tap in range(p.taps)]
    return xp.stack(seen, 5).reshape(batch * p.positions, height, width, p.taps * channels)


def _scatter(y: Array, p: _Planes, depth: int) -> Array:
    height, width = y.shape[1:3]
    batch, channels = len(y) // p.positions, y.shape[3] // p.taps
    parts = y.reshape(batch, p.positions, height, width, p.groups, p.taps, channels // p.groups)
    xp = get_array_module(y)
    padded = xp.zeros((batch, p.before + depth + p.after, height, width, channels), y.dtype)
    for tap in range(p.taps):
        part = parts[..., tap, :].reshape(batch, p.positions, height, width, channels)
        padded[:, p.tap(tap)] += part
    return padded[:, p.before : p.before + depth]
