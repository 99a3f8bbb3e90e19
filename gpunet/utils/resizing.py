"""Resize images by the weights of their neighbours, as TensorFlow's `image.resize` does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["INTERPOLATIONS", "crop_box", "resize", "resize_with_padding"]

# A kernel gives the weight of a pixel by its distance, in pixels, and has a radius.
_Kernel = tuple[float, Callable[[np.ndarray], np.ndarray]]


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the cubic kernel of Mitchell and Netravali, 1988, of two parameters."""
    inner = ((12 - 9 * b - 6 * c) / 6, (-18 + 12 * b + 6 * c) / 6, 0.0, (6 - 2 * b) / 6)
    outer = ((-b - 6 * c) / 6, (6 * b + 30 * c) / 6, (-12 * b - 48 * c) / 6, (8 * b + 24 * c) / 6)

    def kernel(distance: np.ndarray) -> np.ndarray:
        far = np.where(distance < 2, np.polyval(outer, distance), 0.0)
        return np.where(distance < 1, np.polyval(inner, distance), far)

    return kernel


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda d: np.where(d < radius, np.sinc(d) * np.sinc(d / radius), 0.0)


def _gaussian(distance: np.ndarray) -> np.ndarray:
    return np.where(distance < 1.5, np.exp(-2.0 * distance**2), 0.0)


_KERNELS: dict[str, _Kernel] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic(0.0, 0.5)),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "gaussian": (1.5, _gaussian),
    "mitchellcubic": (2.0, _cubic(1 / 3, 1 / 3)),
}
_SMOOTHING = ("gaussian", "mitchellcubic")  # change an axis that keeps its size
INTERPOLATIONS = (*_KERNELS, "nearest", "area")


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Return an image of another size, float32; without smoothing where it becomes smaller.

    Pixel i of n is at (i + 1/2) / n of the height or width. Each pixel is a mean of those near its
    place, with weights by the kernel of the interpolation, which sum to 1 at the borders too.

    Arguments:
        image: (height, width, channels).
        size: the new height and width.
        interpolation: one of `INTERPOLATIONS`.

    >>> resize(np.array([[[0.0], [1.0]]]), (1, 4), "bilinear")[0, :, 0]
    array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    result = np.asarray(image, np.float32)
    if result.shape[:2] == size:
        return result
    for axis in (1, 0):
        if result.shape[axis] != size[axis] or interpolation in _SMOOTHING:
            result = _resize_axis(result, axis, size[axis], interpolation)
    return result


def _resize_axis(image: np.ndarray, axis: int, size: int, interpolation: str) -> np.ndarray:
    indexes, weights = _taps(image.shape[axis], size, interpolation)
    shape = [1, 1, 1]
    shape[axis] = size
    result = np.zeros((), np.float32)
    for index, weight in zip(indexes.T, weights.T, strict=True):
        result = result + image.take(index, axis) * weight.reshape(shape)
    return result


def _taps(old: int, new: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the indexes of the pixels, and their weights, that each new pixel is a mean of.

    Both have shape (new, taps).
    """
    scale = old / new
    if interpolation == "nearest":
        places = (2 * np.arange(new) + 1) * old // (2 * new)
        return places[:, np.newaxis], np.ones((new, 1), np.float32)
    if interpolation == "area":
        start = np.arange(new)[:, np.newaxis] * scale
        indexes = np.floor(start).astype(np.intp) + np.arange(int(np.ceil(scale)) + 1)
        overlap = np.minimum(indexes + 1, start + scale) - np.maximum(indexes, start)
        weights = np.maximum(overlap, 0.0)
    else:
        radius, kernel = _KERNELS[interpolation]
        centers = (np.arange(new)[:, np.newaxis] + 0.5) * scale - 0.5
        first = np.ceil(centers - radius).astype(np.intp)
        indexes = first + np.arange(int(2 * radius) + 1)
        weights = kernel(np.abs(indexes - centers))
    weights = np.where((indexes >= 0) & (indexes < old), weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(indexes, 0, old - 1), weights.astype(np.float32)


def crop_box(size: tuple[int, int], target: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the largest centered crop with the target's aspect ratio.

    >>> crop_box((340, 500), (200, 200))
    (slice(0, 340, None), slice(80, 420, None))
    """
    (height, width), (target_height, target_width) = size, target
    rows = max(1, min(height, int(width * target_height / target_width)))
    columns = max(1, min(width, int(height * target_width / target_height)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def resize_with_padding(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Return an image resized without distortion to fit into a size, with zeros around it."""
    (height, width), (new_height, new_width) = image.shape[:2], size
    if height * new_width > width * new_height:  # it fills the height
        rows, columns = new_height, max(1, width * new_height // height)
    else:
        rows, columns = max(1, height * new_width // width), new_width
    resized = resize(image, (rows, columns), interpolation)
    # The place is that of the size before it is rounded down.
    top = max(0, (new_height * width - height * new_width) // (2 * width))
    left = max(0, (new_width * height - width * new_height) // (2 * height))
    padded = np.zeros((*size, image.shape[2]), np.float32)
    padded[top : top + rows, left : left + columns] = resized
    return padded
