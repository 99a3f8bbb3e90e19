"""Convolution layers."""

from __future__ import annotations

from typing import Any

from gpunet import activations, functions
from gpunet.arguments import lowered, positive_integer
from gpunet.layers.layer import Shape
from gpunet.layers.pooling import ImageLayer
from gpunet.layers.product import ProductLayer
from gpunet.layers.roles import Product, Role
from gpunet.primitives import shapes

__all__ = ["Conv2D"]


class Conv2D(ProductLayer, ImageLayer):
    """A convolution over images: ``activation(conv2d(x, kernel) + bias)``.

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
        activation, use_bias, kernel_initializer, bias_initializer: as in `ProductLayer`.
        options: regularizers, and those of every `Layer`.

    >>> Conv2D(32, (3, 3), activation="relu").compute_output_shape((None, 28, 28, 1))
    (None, 26, 26, 32)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            data_format=data_format,
            **options,
        )
        self.filters = positive_integer(filters, "filters", "Conv2D")
        self.kernel_size = shapes.pair(kernel_size, "kernel_size")
        self.strides = shapes.pair(strides, "strides")
        self.dilation_rate = shapes.pair(dilation_rate, "dilation_rate")
        self.padding = lowered(padding)
        self.groups = positive_integer(groups, "groups", "Conv2D")
        if self.filters % self.groups:
            raise ValueError(
                f"Conv2D: filters must be a multiple of groups, received filters={filters} and "
                f"groups={groups}."
            )

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"Conv2D: the input's channels must be a multiple of groups, received inputs of "
                f"shape {input_shape} ({channels} channels) and groups={self.groups}."
            )
        self.compute_output_shape(input_shape)  # a kernel larger than its input is told here
        self.add_kernel((*self.kernel_size, channels // self.groups, self.filters))

    def call_channels_last(self, x: Any) -> Any:
        fused = activations.fusible(self.activation)
        y = functions.conv2d(
            x,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
            activation=fused,
        )
        return self.activation(y) if fused is None else y

    def output_shape_channels_last(self, height: Any, width: Any, channels: Any) -> Shape:
        sizes = shapes.output_sizes(
            (height, width), self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return (*sizes, self.filters)

    def fusion_role(self) -> Role | None:
        if self.channels_first or self.groups != 1:
            return None
        return Product(self.activation, self.strides, self.padding, self.dilation_rate)
