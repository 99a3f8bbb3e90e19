"""Depthwise and separable convolution layers: each channel has filters of its own."""

from __future__ import annotations

from typing import Any

from gpunet import activations, functions, regularizers
from gpunet.arguments import positive_integer, refuse_unsupported
from gpunet.layers.convolution import ConvolutionLayer
from gpunet.layers.layer import Shape, is_training
from gpunet.layers.roles import Depthwise, Role

__all__ = [
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
]


class _Depthwise(ConvolutionLayer):
    def __init__(self, depth_multiplier: int, data_format: str | None, **options: Any) -> None:
        super().__init__(data_format=data_format, **options)
        self.depth_multiplier = positive_integer(
            depth_multiplier, "depth_multiplier", type(self).__name__
        )

    def each_channel(self, kernel: Any) -> Any:
        """Return a kernel (*window, channels, multiplier) as one of as many groups as channels."""
        return functions.reshape(kernel, (*self.kernel_size, 1, -1))


class _DepthwiseConv(_Depthwise):
    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: None = None,
        bias_constraint: None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            depth_multiplier, data_format, kernel_size=kernel_size, strides=strides,
            padding=padding, dilation_rate=dilation_rate, activation=activation, use_bias=use_bias,
            kernel_initializer=depthwise_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=depthwise_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=None,
            bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        refuse_unsupported(type(self).__name__, depthwise_constraint=depthwise_constraint)

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)  # a kernel larger than its input is told here
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.add_kernel(shape, channels * self.depth_multiplier)

    def call_channels_last(self, x: Any) -> Any:
        return self.convolve(x, self.each_channel(self.kernel), x.shape[-1])

    def output_channels(self, channels: Any) -> Any:
        return None if channels is None else channels * self.depth_multiplier


class DepthwiseConv1D(_DepthwiseConv):
    """A convolution of each channel of a sequence with filters of its own.

    The kernel is (length, channels, depth_multiplier); output channel c * depth_multiplier + m
    is that of channel c and its filter m.

    Arguments:
        kernel_size, strides, padding, data_format, dilation_rate: as in `Conv1D`.
        depth_multiplier: filters of each channel.
        activation, use_bias, bias_initializer, bias_regularizer, activity_regularizer: as in
            `ProductLayer`.
        depthwise_initializer, depthwise_regularizer: of the kernel.
        depthwise_constraint, and other constraints: None; constraints are not there yet.
        options: those of every `Layer`.

    >>> DepthwiseConv1D(3, depth_multiplier=2).compute_output_shape((None, 10, 4))
    (None, 8, 8)
    """

    rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """A convolution of each channel of an image with filters of its own.

    The kernel is (height, width, channels, depth_multiplier); output channel
    c * depth_multiplier + m is that of channel c and its filter m.

    Arguments:
        kernel_size, strides, padding, data_format, dilation_rate: as in `Conv2D`.
        depth_multiplier: filters of each channel.
        activation, use_bias, bias_initializer, bias_regularizer, activity_regularizer: as in
            `ProductLayer`.
        depthwise_initializer, depthwise_regularizer: of the kernel.
        depthwise_constraint, and other constraints: None; constraints are not there yet.
        options: those of every `Layer`.

    >>> DepthwiseConv2D(3, padding="same").compute_output_shape((None, 28, 28, 8))
    (None, 28, 28, 8)
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        if self.channels_first or is_training():
            return None
        return Depthwise(self.activation, self.strides, self.padding, self.dilation_rate)  # type: ignore[arg-type]


class _SeparableConv(_Depthwise):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: None = None,
        pointwise_constraint: None = None,
        bias_constraint: None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            depth_multiplier, data_format, kernel_size=kernel_size, strides=strides,
            padding=padding, dilation_rate=dilation_rate, activation=activation, use_bias=use_bias,
            kernel_initializer=pointwise_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=pointwise_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=None,
            bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        refuse_unsupported(
            type(self).__name__,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
        )
        self.filters = positive_integer(filters, "filters", type(self).__name__)
        self.depthwise_initializer = depthwise_initializer
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        self.compute_output_shape(input_shape)  # a kernel larger than its input is told here
        self.depthwise_kernel = self.add_weight(
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            name="depthwise_kernel",
            regularizer=self.depthwise_regularizer,
        )
        inner = channels * self.depth_multiplier
        self.add_kernel((*(1,) * self.rank, inner, self.filters), name="pointwise_kernel")

    def call_channels_last(self, x: Any) -> Any:
        kernel = self.each_channel(self.depthwise_kernel)
        y = functions.conv(x, kernel, groups=x.shape[-1], **self.window())
        mixing = functions.reshape(self.kernel, self.kernel.shape[-2:])
        fused = activations.fusible(self.activation)
        y = functions.dense(y, mixing, self.bias, activation=fused)
        return self.activation(y) if fused is None else y

    def output_channels(self, channels: Any) -> Any:
        return self.filters


class SeparableConv1D(_SeparableConv):
    """A depthwise convolution over sequences, then a mix of its channels at each step.

    Arguments:
        filters: number of output channels.
        kernel_size, strides, padding, data_format, dilation_rate: as in `Conv1D`.
        depth_multiplier: filters of each channel in the depthwise convolution.
        activation, use_bias, bias_initializer, bias_regularizer, activity_regularizer: as in
            `ProductLayer`.
        depthwise_initializer, depthwise_regularizer: of the kernel (length, channels,
            depth_multiplier).
        pointwise_initializer, pointwise_regularizer: of the kernel (1, channels *
            depth_multiplier, filters).
        depthwise_constraint, and other constraints: None; constraints are not there yet.
        options: those of every `Layer`.

    >>> SeparableConv1D(16, 3).compute_output_shape((None, 10, 4))
    (None, 8, 16)
    """

    rank = 1


class SeparableConv2D(_SeparableConv):
    """A depthwise convolution over images, then a mix of its channels at each pixel.

    Arguments:
        filters: number of output channels.
        kernel_size, strides, padding, data_format, dilation_rate: as in `Conv2D`.
        depth_multiplier: filters of each channel in the depthwise convolution.
        activation, use_bias, bias_initializer, bias_regularizer, activity_regularizer: as in
            `ProductLayer`.
        depthwise_initializer, depthwise_regularizer: of the kernel (height, width, channels,
            depth_multiplier).
        pointwise_initializer, pointwise_regularizer: of the kernel (1, 1, channels *
            depth_multiplier, filters).
        depthwise_constraint, and other constraints: None; constraints are not there yet.
        options: those of every `Layer`.

    >>> SeparableConv2D(16, 3, padding="same").compute_output_shape((None, 28, 28, 8))
    (None, 28, 28, 16)
    """

    rank = 2


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
