"""Images of another size, by matrices of weights along each axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.arguments import check_choice, check_data_format, lowered, number, positive_integer
from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions.linear import matmul
from gpunet.functions.shaping import getitem, reshape, transpose

__all__ = ["resample", "resize"]


def _linear(distance: Array, xp: Any) -> Array:
    return xp.maximum(1 - distance, 0)


def _cubic(distance: Array, xp: Any) -> Array:
    # Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -1/2.
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return xp.where(distance <= 1, near, xp.where(distance < 2, far, 0))


def _lanczos(radius: int) -> Callable[[Array, Any], Array]:
    return lambda distance, xp: xp.where(
        distance < radius, xp.sinc(distance) * xp.sinc(distance / radius), 0
    )


# By the distance of an input's center from an output's, in inputs.
_WEIGHTS: dict[str, Callable[[Array, Any], Array]] = {
    "bilinear": _linear,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")


@on_symbols
def resample(
    x: Any, axis: int, size: int, interpolation: str = "bilinear", antialias: bool = False
) -> Tensor:
    """Return `x` with another size along one axis.

    Elements count as areas, whose centers are interpolated between; at the ends, the weights of the
    elements that are there are scaled to sum to 1. These are TensorFlow's and JAX' values; Keras on
    PyTorch has others for 'bicubic'.

    Arguments:
        x: floating-point numbers of any shape.
        axis: from 0.
        size: of the result along the axis.
        interpolation: 'nearest' takes the element whose area holds the center, 'area' averages over
            the area of the result's element, 'bilinear', 'bicubic' (Keys, 1981), 'lanczos3' and
            'lanczos5' interpolate.
        antialias: whether an axis that gets smaller is smoothed, by weights as much wider as the
            result's elements are; 'nearest' and 'area' are the same with and without.

    >>> resample([0.0, 1.0], 0, 4).numpy()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.shape[axis] == size:
        return x
    if interpolation == "nearest":
        return _nearest(x, axis=axis, size=size)
    if x.ndim == 1:
        return reshape(resample(reshape(x, (1, -1)), 1, size, interpolation, antialias), (size,))
    order = list(range(x.ndim))
    order[axis], order[-1] = order[-1], order[axis]
    weights = _matrix(x, axis, size, interpolation, antialias)
    return transpose(matmul(transpose(x, tuple(order)), weights), tuple(order))


def _matrix(x: Tensor, axis: int, size: int, interpolation: str, antialias: bool) -> Array:
    """Return the weight of each input in each output, (inputs, outputs)."""
    xp, inputs = get_array_module(x.value), x.shape[axis]
    scale = inputs / size  # of an output, in inputs
    numbers, places = xp.arange(inputs)[:, None], xp.arange(size)
    if interpolation == "area":
        ends = xp.minimum((places + 1) * scale, numbers + 1)
        weights = xp.maximum(ends - xp.maximum(places * scale, numbers), 0)
    else:
        width = max(scale, 1.0) if antialias else 1.0
        distance = abs((places + 0.5) * scale - 0.5 - numbers)
        weights = _WEIGHTS[interpolation](distance / width, xp)
    return (weights / weights.sum(axis=0)).astype(x.dtype)


@differentiable
def _nearest(x: Array, *, axis: int, size: int) -> Result:
    xp, inputs = get_array_module(x), x.shape[axis]
    chosen = ((2 * xp.arange(size) + 1) * inputs) // (2 * size)

    def backward(output_grad: Array) -> Array:
        # A product adds the gradients of one input in a fixed order.
        weights = (chosen[:, None] == xp.arange(inputs)).astype(output_grad.dtype)
        order = [*(a for a in range(x.ndim) if a != axis), axis]
        rows = output_grad.transpose(order)
        input_grad = matmul(rows.reshape(-1, size), weights).value
        back = [order.index(a) for a in range(x.ndim)]
        return input_grad.reshape(*rows.shape[:-1], inputs).transpose(back)

    return x.take(chosen, axis=axis), backward


@on_symbols
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Return images of another size, as `resample` computes it along both axes.

    Images of integers stay integers: results are rounded, to even numbers at halves, and kept
    within the range of the type.

    Arguments:
        images: (batch, height, width, channels), or one image without the batch.
        size: the height and width of the result.
        interpolation, antialias: as in `resample`.
        crop_to_aspect_ratio: whether to cut off first what does not fit the shape of the result.
        pad_to_aspect_ratio: whether to put borders around first, so that the images fit it. As in
            Keras both borders are equal: a row or column that is left over is not added.
        fill_mode: 'constant', of the borders.
        fill_value: of the borders.
        data_format: 'channels_last' or 'channels_first'.

    Raises:
        ValueError: an argument is malformed, or the images have another number of axes.

    >>> resize(np.array([[[0.0], [1.0]]]), (1, 4)).numpy().ravel()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    x = images if isinstance(images, Tensor) else Tensor(images)
    height, width = (positive_integer(n, "size", "resize") for n in size)
    method = check_choice(lowered(interpolation), INTERPOLATIONS, "interpolation", "resize")
    check_choice(fill_mode, ("constant",), "fill_mode", "resize")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "resize: crop_to_aspect_ratio and pad_to_aspect_ratio cannot both be True: cut the "
            "images, or put borders around them."
        )
    axes = image_axes(x.shape, check_data_format(data_format, "resize"), "resize")
    before, fill = x.dtype, number(fill_value, "fill_value", "resize")
    if before.kind != "f":
        x = x.detach().astype("float32" if before.itemsize <= 2 else "float64")
    if crop_to_aspect_ratio:
        x = _cropped(x, axes, (height, width))
    elif pad_to_aspect_ratio:
        x = _padded(x, axes=axes, size=(height, width), fill=fill)
    for axis, target in zip(axes, (height, width), strict=True):
        x = resample(x, axis, target, method, bool(antialias))
    return x if before.kind == "f" else Tensor(_rounded(x.value, before))


def image_axes(shape: Sequence[Any], data_format: str, where: str) -> tuple[int, int]:
    """Return the positions of height and width in the shape of images, or of one image.

    Raises:
        ValueError: there are neither 3 nor 4 axes.
    """
    if len(shape) not in (3, 4):
        layout = "height, width, channels"
        if data_format == "channels_first":
            layout = "channels, height, width"
        hint = " Images of one channel want its axis: x[..., None]." if len(shape) == 2 else ""
        raise ValueError(
            f"{where} expects images of shape (batch, {layout}), or one of shape ({layout}), "
            f"received {len(shape)} dimensions: {tuple(shape)}.{hint}"
        )
    first = len(shape) - (2 if data_format == "channels_first" else 3)
    return first, first + 1


def _fitting(sizes: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """Return the height for the whole width, and the width for the whole height, of a shape."""
    return int(sizes[1] * size[0] / size[1]), int(sizes[0] * size[1] / size[0])


def _cropped(x: Tensor, axes: tuple[int, int], size: tuple[int, int]) -> Tensor:
    sizes = [x.shape[axis] for axis in axes]
    index = [slice(None)] * x.ndim
    for axis, whole, fitting in zip(axes, sizes, _fitting(sizes, size), strict=True):
        kept = max(min(whole, fitting), 1)
        start = (whole - kept) // 2
        index[axis] = slice(start, start + kept)
    return getitem(x, tuple(index))


@differentiable
def _padded(x: Array, *, axes: tuple[int, int], size: tuple[int, int], fill: float) -> Result:
    sizes = [x.shape[axis] for axis in axes]
    widths, inside = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for axis, whole, fitting in zip(axes, sizes, _fitting(sizes, size), strict=True):
        border = (max(whole, fitting) - whole) // 2
        widths[axis], inside[axis] = (border, border), slice(border, border + whole)
    padded = get_array_module(x).pad(x, widths, constant_values=fill)
    return padded, lambda output_grad: output_grad[tuple(inside)]


def _rounded(x: Array, dtype: np.dtype) -> Array:
    """Return numbers as integers, at the ends of the type's range where they are beyond it."""
    if dtype.kind == "b":
        return x >= 0.5
    limits, xp = np.iinfo(dtype), get_array_module(x)
    return xp.clip(x.round(), limits.min, limits.max).astype(dtype)
