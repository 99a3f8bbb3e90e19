"""Pooling to a given size of the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet import functions
from gpunet.layers.layer import Shape
from gpunet.layers.spatial import SpatialLayer

__all__ = [
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
]


class _AdaptivePooling(SpatialLayer):
    """Pool each axis of n elements into m windows, i over [floor(i n / m), ceil((i + 1) n / m)).

    The windows are PyTorch's; they overlap where m does not divide n. A subclass writes `pool`, for
    windows of one size side by side, and `reduce`, for one window along an axis.
    """

    pool: Callable[..., Any]
    reduce: Callable[..., Any]

    def __init__(self, output_size: Any, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.output_size = self.each_axis(output_size, "output_size")

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an axis of no elements is told here

    def call_channels_last(self, x: Any) -> Any:
        sizes = x.shape[1:-1]
        pairs = list(zip(sizes, self.output_size, strict=True))
        if all(n % m == 0 for n, m in pairs):
            return type(self).pool(x, pool_size=tuple(n // m for n, m in pairs))
        for axis, (n, m) in enumerate(pairs, 1):
            x = self._pool_axis(x, axis, n, m)
        return x

    def _pool_axis(self, x: Any, axis: int, n: int, m: int) -> Any:
        if n == m:
            return x
        before = (slice(None),) * axis
        windows = (slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m))
        return functions.stack(
            [type(self).reduce(x[(*before, window)], axis=axis) for window in windows], axis=axis
        )

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        if 0 in sizes:
            raise ValueError(
                f"{type(self).__name__} expects at least one element along each axis, received "
                f"sizes {tuple(sizes)}."
            )
        return (*self.output_size, channels)


class _AdaptiveAveragePooling(_AdaptivePooling):
    pool = staticmethod(functions.average_pool)
    reduce = staticmethod(functions.mean)


class _AdaptiveMaxPooling(_AdaptivePooling):
    pool = staticmethod(functions.max_pool)
    reduce = staticmethod(functions.max)


class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """The mean of each of as many windows of a sequence as are asked for, channel by channel.

    Window i of m over n steps is [floor(i n / m), ceil((i + 1) n / m)), as in PyTorch.

    Arguments:
        output_size: number of windows.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> AdaptiveAveragePooling1D(2)([[[1.0], [2.0], [3.0]]]).numpy().ravel()
    array([1.5, 2.5], dtype=float32)
    """

    rank = 1


class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """The mean of each of as many windows of an image as are asked for, channel by channel.

    Arguments:
        output_size: number of windows: an integer for both axes, or (height, width).
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> AdaptiveAveragePooling2D((7, 5)).compute_output_shape((None, None, None, 32))
    (None, 7, 5, 32)
    """

    rank = 2


class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """The mean of each of as many windows of a volume as are asked for, channel by channel.

    Arguments:
        output_size: number of windows: an integer for all axes, or (depth, height, width).
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> AdaptiveAveragePooling3D(2).compute_output_shape((None, 8, 7, 6, 3))
    (None, 2, 2, 2, 3)
    """

    rank = 3


class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """The largest value of each of as many windows of a sequence as are asked for.

    Arguments are those of `AdaptiveAveragePooling1D`.

    >>> AdaptiveMaxPooling1D(2)([[[1.0], [2.0], [3.0]]]).numpy().ravel()
    array([2., 3.], dtype=float32)
    """

    rank = 1


class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """The largest value of each of as many windows of an image as are asked for.

    Arguments are those of `AdaptiveAveragePooling2D`.

    >>> AdaptiveMaxPooling2D(4).compute_output_shape((None, 9, 13, 3))
    (None, 4, 4, 3)
    """

    rank = 2


class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """The largest value of each of as many windows of a volume as are asked for.

    Arguments are those of `AdaptiveAveragePooling3D`.

    >>> AdaptiveMaxPooling3D(2).compute_output_shape((None, 8, 7, 6, 3))
    (None, 2, 2, 2, 3)
    """

    rank = 3
