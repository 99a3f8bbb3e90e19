"""Pooling layers."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.layers.layer import Shape
from gpunet.layers.roles import Pool, Role
from gpunet.layers.spatial import SpatialLayer
from gpunet.primitives import shapes

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]


class _Pooling(SpatialLayer):
    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data_format, name=name, **options)
        self.pool_size = self.each_axis(pool_size, "pool_size")
        self.strides = self.pool_size
        if strides is not None:
            self.strides = self.each_axis(strides, "strides")
        self.padding = self.checked_padding(padding)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # a window larger than its input is told here

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        sizes = shapes.output_sizes(sizes, self.pool_size, self.strides, self.padding)
        return (*sizes, channels)

    def window(self) -> dict[str, Any]:
        """Return the options of `functions.max_pool` that place the windows."""
        return {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}


class _MaxPooling(_Pooling):
    def call_channels_last(self, x: Any) -> Any:
        return functions.max_pool(x, **self.window())


class _AveragePooling(_Pooling):
    def call_channels_last(self, x: Any) -> Any:
        return functions.average_pool(x, **self.window())


class MaxPooling1D(_MaxPooling):
    """The largest value of each window of a sequence, channel by channel.

    Arguments:
        pool_size: of the window, in steps.
        strides: in steps, by default the window's size.
        padding: 'valid', 'same' or steps, as in `Conv1D`; padding is never the largest.
        data_format: 'channels_last' or 'channels_first'.

    >>> MaxPooling1D(2).compute_output_shape((None, 10, 4))
    (None, 5, 4)
    """

    rank = 1


class MaxPooling2D(_MaxPooling):
    """The largest value of each window of an image, channel by channel.

    Arguments:
        pool_size: of the window, in pixels; an integer, or (height, width).
        strides: in pixels, by default the window's size.
        padding: 'valid', 'same' or pixels, as in `Conv2D`; padding is never the largest.
        data_format: 'channels_last' or 'channels_first'.

    >>> MaxPooling2D((2, 2)).compute_output_shape((None, 26, 26, 32))
    (None, 13, 13, 32)
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        return None if self.channels_first else Pool(self.pool_size, self.strides, self.padding)


class MaxPooling3D(_MaxPooling):
    """The largest value of each window of a volume, channel by channel.

    Arguments:
        pool_size: of the window; an integer, or (depth, height, width).
        strides: by default the window's size.
        padding: 'valid', 'same' or elements, as in `Conv3D`; padding is never the largest.
        data_format: 'channels_last' or 'channels_first'.

    >>> MaxPooling3D(2).compute_output_shape((None, 8, 8, 8, 4))
    (None, 4, 4, 4, 4)
    """

    rank = 3


class AveragePooling1D(_AveragePooling):
    """The mean of each window of a sequence, channel by channel; padding is not counted.

    Arguments are those of `MaxPooling1D`.

    >>> AveragePooling1D(3, strides=1, padding="same")([[[1.0], [2.0], [3.0]]]).numpy().ravel()
    array([1.5, 2. , 2.5], dtype=float32)
    """

    rank = 1


class AveragePooling2D(_AveragePooling):
    """The mean of each window of an image, channel by channel; padding is not counted.

    Arguments are those of `MaxPooling2D`.

    >>> AveragePooling2D(2).compute_output_shape((None, 26, 26, 32))
    (None, 13, 13, 32)
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        if self.channels_first:
            return None
        return Pool(self.pool_size, self.strides, self.padding, largest=False)


class AveragePooling3D(_AveragePooling):
    """The mean of each window of a volume, channel by channel; padding is not counted.

    Arguments are those of `MaxPooling3D`.

    >>> AveragePooling3D(2).compute_output_shape((None, 8, 8, 8, 4))
    (None, 4, 4, 4, 4)
    """

    rank = 3


AvgPool1D, MaxPool1D = AveragePooling1D, MaxPooling1D
AvgPool2D, MaxPool2D = AveragePooling2D, MaxPooling2D
AvgPool3D, MaxPool3D = AveragePooling3D, MaxPooling3D
