"""The base of layers over one, two or three spatial axes."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_data_format, lowered
from gpunet.layers.layer import Layer, Shape
from gpunet.primitives import shapes

__all__ = ["SpatialLayer"]

_AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


class SpatialLayer(Layer):
    """A layer over sequences, images or volumes in either layout; it computes channels last.

    A subclass sets `rank`, the number of spatial axes, and writes `call_channels_last` and
    `output_shape_channels_last`.
    """

    rank: int

    def __init__(self, data_format: str | None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format, type(self).__name__)

    def each_axis(self, value: Any, argument: str, minimum: int = 1) -> tuple[int, ...]:
        """Return an argument as an integer for each axis; one integer stands for all."""
        where = f"{type(self).__name__}: {argument}"
        return shapes.integers(value, where, self.rank, minimum)

    def checked_padding(self, padding: Any, *others: str) -> Any:
        """Return 'valid', 'same', or numbers of elements, or another name that is allowed."""
        found = lowered(padding)
        if found not in others:
            try:
                shapes.split_padding(found, self.rank)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{type(self).__name__}: {error}") from None
        return found

    @property
    def channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def call_channels_last(self, x: Any) -> Any:
        """Return the output for inputs of shape (batch, *sizes, channels)."""
        raise NotImplementedError

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        """Return the output's (*sizes, channels)."""
        raise NotImplementedError

    def call(self, x: Any) -> Any:
        if not self.channels_first:
            return self.call_channels_last(x)
        y = self.call_channels_last(functions.transpose(x, (0, *range(2, x.ndim), 1)))
        return functions.transpose(y, (0, y.ndim - 1, *range(1, y.ndim - 1)))

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
        if len(shape) == self.rank + 2:
            return
        axes = _AXES[self.rank]
        layout = f"channels, {axes}" if self.channels_first else f"{axes}, channels"
        hint = "x[:, None]" if self.channels_first else "x[..., None]"
        what = {1: "Sequences", 2: "Images", 3: "Volumes"}[self.rank]
        raise ValueError(
            f"{type(self).__name__} expects inputs of shape (batch, {layout}), received "
            f"{len(shape)} dimensions: {tuple(shape)}."
            + (
                f" {what} of one channel want its axis: {hint}."
                if len(shape) - 1 == self.rank
                else ""
            )
        )

    def check_input(self, shape: tuple[int, ...]) -> None:
        self._check_rank(shape)
        axis = 1 if self.channels_first else -1
        expected = self.input_shape[axis] if self.input_shape else None
        if shape[axis] != expected:
            raise ValueError(
                f"{type(self).__name__} was built for inputs of {expected} channels, received "
                f"{shape[axis]}: shape {tuple(shape)}, data_format={self.data_format!r}."
            )
        if tuple(shape[1:]) != tuple(self.input_shape[1:]):
            self.compute_output_shape(shape)  # a window larger than other inputs is told here

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        batch, *rest = input_shape
        sizes, channels = (rest[1:], rest[0]) if self.channels_first else (rest[:-1], rest[-1])
        *sizes, channels = self.output_shape_channels_last(tuple(sizes), channels)
        return (batch, channels, *sizes) if self.channels_first else (batch, *sizes, channels)
