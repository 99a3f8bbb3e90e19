"""Transposed convolution layers: the gradients of convolutions as layers that enlarge."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_choice, positive_integer
from gpunet.layers.convolution import ConvolutionLayer
from gpunet.layers.layer import Shape
from gpunet.primitives import shapes

__all__ = [
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Convolution1DTranspose",
    "Convolution2DTranspose",
    "Convolution3DTranspose",
]


class _ConvTranspose(ConvolutionLayer):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        check_choice(self.padding, ("valid", "same"), "padding", name)
        self.output_padding = output_padding
        if output_padding is not None:
            self.output_padding = self.each_axis(output_padding, "output_padding", 0)
            if any(a >= s for a, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(
                    f"{name}: output_padding must be less than strides along each axis, received "
                    f"output_padding={output_padding!r} and strides={strides!r}."
                )

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)  # an output of no elements is told here
        self.add_kernel((*self.kernel_size, self.filters, channels), self.filters)

    def call_channels_last(self, x: Any) -> Any:
        y = functions.conv_transpose(
            x, self.kernel, output_padding=self.output_padding, **self.window()
        )
        return self.activation(y if self.bias is None else y + self.bias)

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        added = (None,) * self.rank if self.output_padding is None else self.output_padding
        axes = zip(sizes, self.kernel_size, self.strides, added, self.dilation_rate, strict=True)
        found = tuple(
            None if size is None
            else shapes.transposed_size(size, window, stride, self.padding, more, dilation)[0]
            for size, window, stride, more, dilation in axes
        )  # fmt: skip
        if any(size is not None and size < 1 for size in found):
            raise ValueError(
                f"{type(self).__name__}: inputs of {sizes} elements would make outputs of {found}: "
                "use larger inputs, or padding='valid'."
            )
        return (*found, self.filters)


class Conv1DTranspose(_ConvTranspose):
    """A transposed convolution over sequences: ``activation(conv_transpose(x, kernel) + bias)``.

    The kernel is (length, filters, channels).

    Arguments:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: in steps.
        padding: 'valid' or 'same'; 'same' makes length * strides steps.
        output_padding: None, or steps added to the shortest output; less than `strides`.
        data_format: 'channels_last' or 'channels_first'.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv1DTranspose(8, 3, strides=2, padding="same").compute_output_shape((None, 5, 4))
    (None, 10, 8)
    """

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """A transposed convolution over images: ``activation(conv_transpose(x, kernel) + bias)``.

    The kernel is (height, width, filters, channels).

    Arguments:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: in pixels; an integer, or (vertical, horizontal).
        padding: 'valid' or 'same'; 'same' makes size * strides pixels.
        output_padding: None, or pixels added to the shortest output; less than `strides`.
        data_format: 'channels_last' or 'channels_first'.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv2DTranspose(8, 3, strides=2, padding="same").compute_output_shape((None, 7, 7, 4))
    (None, 14, 14, 8)
    """

    rank = 2


class Conv3DTranspose(_ConvTranspose):
    """A transposed convolution over volumes: ``activation(conv_transpose(x, kernel) + bias)``.

    The kernel is (depth, height, width, filters, channels).

    Arguments:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: an integer, or one for each axis.
        padding: 'valid' or 'same'; 'same' makes size * strides elements.
        output_padding: None, or elements added to the shortest output; less than `strides`.
        data_format: 'channels_last' or 'channels_first'.
        activation, and all that follow: as in `ProductLayer`.
        options: those of every `Layer`.

    >>> Conv3DTranspose(8, 2, strides=2).compute_output_shape((None, 4, 4, 4, 3))
    (None, 8, 8, 8, 8)
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        dilation_rate: Any = 1,
        **options: Any,
    ) -> None:
        # Keras has data_format before output_padding over three axes alone.
        placed = strides, padding, output_padding, data_format, dilation_rate
        super().__init__(filters, kernel_size, *placed, **options)


Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
