"""Convolution layers over one, two and three axes."""

from __future__ import annotations

from typing import Any

from gpunet import activations, functions
from gpunet.arguments import positive_integer
from gpunet.layers.layer import Shape
from gpunet.layers.product import ProductLayer
from gpunet.layers.roles import Product, Role
from gpunet.layers.spatial import SpatialLayer
from gpunet.primitives import shapes

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D"]


class ConvolutionLayer(ProductLayer, SpatialLayer):
    """A layer that slides a kernel over `rank` axes.

    Arguments:
        kernel_size, strides, dilation_rate: in elements; an integer, or one for each axis.
        padding: as in `Conv2D`; 'causal' too for one axis.
        options: those of `ProductLayer` and `SpatialLayer`.
    """

    def __init__(
        self, kernel_size: Any, strides: Any, padding: Any, dilation_rate: Any, **options: Any
    ) -> None:
        super().__init__(**options)
        self.kernel_size = self.each_axis(kernel_size, "kernel_size")
        self.strides = self.each_axis(strides, "strides")
        self.dilation_rate = self.each_axis(dilation_rate, "dilation_rate")
        self.padding = self.checked_padding(padding, *("causal",) * (self.rank == 1))

    def window(self) -> dict[str, Any]:
        """Return the options of `functions.conv` that place the kernel."""
        return {"strides": self.strides, "padding": self.padding, "dilation": self.dilation_rate}

    def output_channels(self, channels: Any) -> Any:
        """Return the number of output channels for a number of input channels."""
        raise NotImplementedError

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        padding = shapes.without_causal(self.padding, self.kernel_size, self.dilation_rate)
        found = shapes.output_sizes(
            sizes, self.kernel_size, self.strides, padding, self.dilation_rate
        )
        return (*found, self.output_channels(channels))

    def convolve(self, x: Any, kernel: Any, groups: int = 1) -> Any:
        """Return the activation of the convolution with a kernel plus the bias."""
        fused = activations.fusible(self.activation)
        y = functions.conv(x, kernel, self.bias, groups=groups, activation=fused, **self.window())
        return self.activation(y) if fused is None else y


class _Conv(ConvolutionLayer):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, dilation_rate,
            activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer, data_format=data_format,
            kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        name = type(self).__name__
        self.filters = positive_integer(filters, "filters", name)
        self.groups = positive_integer(groups, "groups", name)
        if self.filters % self.groups:
            raise ValueError(
                f"{name}: filters must be a multiple of groups, received filters={filters} and "
                f"groups={groups}."
            )

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: the input's channels must be a multiple of groups, "
                f"received inputs of shape {input_shape} ({channels} channels) and "
                f"groups={self.groups}."
            )
        self.compute_output_shape(input_shape)  # a kernel larger than its input is told here
        self.add_kernel((*self.kernel_size, channels // self.groups, self.filters))

    def call_channels_last(self, x: Any) -> Any:
        return self.convolve(x, self.kernel, self.groups)

    def output_channels(self, channels: Any) -> Any:
        return self.filters


class Conv1D(_Conv):
    """A convolution over sequences: ``activation(conv(x, kernel) + bias)``.

    Inputs are (batch, length, channels), or (batch, channels, length) with
    ``data_format='channels_first'``; the kernel is (length, channels / groups, filters).

    Arguments:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: in steps.
        padding: 'valid' for none, 'same' for an output of length / strides steps, 'causal' for
            zeros before the sequence alone, so that no step sees a later one; or steps of zeros:
            an integer or ((before, after),).
        data_format: 'channels_last' or 'channels_first'.
        groups: the channels are split into this many groups with filters of their own.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv1D(32, 3, padding="causal").compute_output_shape((None, 10, 4))
    (None, 10, 32)
    """

    rank = 1


class Conv2D(_Conv):
    """A convolution over images: ``activation(conv(x, kernel) + bias)``.

    Inputs are (batch, height, width, channels), or (batch, channels, height, width) with
    ``data_format='channels_first'``; the kernel is (height, width, channels / groups, filters).

    Arguments:
        filters: number of output channels.
        kernel_size: in pixels; an integer, or (height, width).
        strides: in pixels; an integer, or (vertical, horizontal).
        padding: 'valid' for none, 'same' for an output of size input / strides, or pixels of
            zeros: an integer, (vertical, horizontal) or ((top, bottom), (left, right)).
        data_format: 'channels_last' or 'channels_first'.
        dilation_rate: in pixels; the distance of the kernel's taps.
        groups: the channels are split into this many groups with filters of their own.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv2D(32, (3, 3), activation="relu").compute_output_shape((None, 28, 28, 1))
    (None, 26, 26, 32)
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        if self.channels_first or self.groups != 1:
            return None
        return Product(self.activation, self.strides, self.padding, self.dilation_rate)  # type: ignore[arg-type]


class Conv3D(_Conv):
    """A convolution over volumes: ``activation(conv(x, kernel) + bias)``.

    Inputs are (batch, depth, height, width, channels), or with the channels first; the kernel is
    (depth, height, width, channels / groups, filters).

    Arguments:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: an integer, or one for each axis.
        padding: 'valid', 'same', or elements of zeros: an integer, one for each axis or
            (before, after) for each.
        data_format: 'channels_last' or 'channels_first'.
        groups: the channels are split into this many groups with filters of their own.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv3D(8, 3).compute_output_shape((None, 8, 8, 8, 1))
    (None, 6, 6, 6, 8)
    """

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
