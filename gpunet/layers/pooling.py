"""Layers over images: their common base, and pooling."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_data_format, lowered
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.roles import Pool, Role
from gpunet.primitives import shapes

__all__ = ["AveragePooling2D", "MaxPooling2D"]


class ImageLayer(Layer):
    """A layer over images in either layout; it computes with the channels last."""

    def __init__(self, data_format: str, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format, type(self).__name__)

    @property
    def channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def call_channels_last(self, x: Any) -> Any:
        """Return the output for images of shape (batch, height, width, channels)."""
        raise NotImplementedError

    def output_shape_channels_last(self, height: Any, width: Any, channels: Any) -> Shape:
        """Return the output's (height, width, channels)."""
        raise NotImplementedError

    def call(self, x: Any) -> Any:
        if not self.channels_first:
            return self.call_channels_last(x)
        y = self.call_channels_last(functions.transpose(x, (0, 2, 3, 1)))
        return functions.transpose(y, (0, 3, 1, 2))

    def known_channels(self, input_shape: Shape) -> int:
        """Return the number of channels of inputs of this shape, checked for its rank."""
        self._check_rank(input_shape)
        channels = input_shape[1 if self.channels_first else -1]
        if channels is None:
            raise ValueError(
                f"{type(self).__name__} needs a known number of channels, "
                f"received inputs of shape {input_shape}."
            )
        return channels

    def _check_rank(self, shape: Shape) -> None:
        if len(shape) != 4:
            layout = "channels, height, width" if self.channels_first else "height, width, channels"
            hint = "x[:, None]" if self.channels_first else "x[..., None]"
            raise ValueError(
                f"{type(self).__name__} expects inputs of shape (batch, {layout}), received "
                f"{len(shape)} dimensions: {tuple(shape)}."
                + (f" Images of one channel want its axis: {hint}." if len(shape) == 3 else "")
            )

    def check_input(self, shape: tuple[int, ...]) -> None:
        self._check_rank(shape)
        axis = 1 if self.channels_first else 3
        expected = self.input_shape[axis] if self.input_shape else None
        if shape[axis] != expected:
            raise ValueError(
                f"{type(self).__name__} was built for inputs of {expected} channels, received "
                f"{shape[axis]}: shape {tuple(shape)}, data_format={self.data_format!r}."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        batch, *sizes = input_shape
        height, width, channels = [*sizes[1:], sizes[0]] if self.channels_first else sizes
        *image, channels = self.output_shape_channels_last(height, width, channels)
        return (batch, channels, *image) if self.channels_first else (batch, *image, channels)


class _Pooling2D(ImageLayer):
    def __init__(
        self,
        pool_size: Any = (2, 2),
        strides: Any = None,
        padding: Any = "valid",
        data_format: str = "channels_last",
        **options: Any,
    ) -> None:
        super().__init__(data_format, **options)
        self.pool_size = shapes.pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else shapes.pair(strides, "strides")
        self.padding = lowered(padding)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # a window larger than its input is told here

    def output_shape_channels_last(self, height: Any, width: Any, channels: Any) -> Shape:
        sizes = shapes.output_sizes((height, width), self.pool_size, self.strides, self.padding)
        return (*sizes, channels)


class MaxPooling2D(_Pooling2D):
    """The largest value of each window of an image, channel by channel.

    Arguments:
        pool_size: of the window, in pixels; an integer, or (height, width).
        strides: in pixels, by default the window's size.
        padding: 'valid', 'same' or pixels, as in `Conv2D`; padding is never the largest.
        data_format: 'channels_last' or 'channels_first'.

    >>> MaxPooling2D((2, 2)).compute_output_shape((None, 26, 26, 32))
    (None, 13, 13, 32)
    """

    def call_channels_last(self, x: Any) -> Any:
        return functions.max_pool2d(
            x, pool_size=self.pool_size, strides=self.strides, padding=self.padding
        )

    def fusion_role(self) -> Role | None:
        side_by_side = self.strides == self.pool_size and self.padding in ("valid", 0)
        return Pool(self.pool_size) if side_by_side and not self.channels_first else None


class AveragePooling2D(_Pooling2D):
    """The mean of each window of an image, channel by channel; padding is not counted.

    Arguments:
        pool_size: of the window, in pixels; an integer, or (height, width).
        strides: in pixels, by default the window's size.
        padding: 'valid', 'same' or pixels, as in `Conv2D`.
        data_format: 'channels_last' or 'channels_first'.
    """

    def call_channels_last(self, x: Any) -> Any:
        return functions.average_pool2d(
            x, pool_size=self.pool_size, strides=self.strides, padding=self.padding
        )
