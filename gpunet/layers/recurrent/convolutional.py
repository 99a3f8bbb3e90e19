"""Long short-term memory whose products are convolutions."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_choice, lowered
from gpunet.autograd import Tensor
from gpunet.backend import array_module
from gpunet.layers.layer import Shape
from gpunet.layers.recurrent.cells import LSTMCell, Masks
from gpunet.layers.recurrent.rnn import RNN
from gpunet.layers.spatial import SpatialLayer
from gpunet.primitives import shapes

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]


class ConvLSTMCell(LSTMCell, SpatialLayer):  # type: ignore[misc]
    """One step of `ConvLSTM2D` and its like over `rank` axes; see there.

    Arguments:
        rank: the number of spatial axes.
        filters, and all others: as in `ConvLSTM2D`.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        *arguments: Any,
        **options: Any,
    ) -> None:
        self.rank = rank
        super().__init__(filters, *arguments, data_format=data_format, **options)
        self.kernel_size = self.each_axis(kernel_size, "kernel_size")
        self.strides = self.each_axis(strides, "strides")
        self.dilation_rate = self.each_axis(dilation_rate, "dilation_rate")
        self.padding = check_choice(
            lowered(padding), ("valid", "same"), "padding", type(self).__name__
        )
        self.implementation = 1  # other inputs and states are dropped for each gate
        self._step_shape: Shape = ()  # of each state, without the batch, once built

    @property
    def state_size(self) -> Any:
        """The sizes of the axes of each state."""
        return [self._step_shape] * self.state_count

    @property
    def output_size(self) -> Any:
        """The sizes of the output's axes."""
        return self._step_shape

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        output = SpatialLayer.compute_output_shape(self, input_shape)
        if None in output[1:]:
            raise ValueError(
                f"ConvLSTM{self.rank}D expects inputs of known sizes, which are those of its "
                f"states, received time steps of shape {tuple(input_shape)}."
            )
        self._step_shape = tuple(output[1:])
        self._given_shape = tuple(input_shape[1:])
        width = self.gates * self.units
        self.kernel = self.add_weight(
            (*self.kernel_size, channels, width), self.kernel_initializer, name="kernel",
            regularizer=self.kernel_regularizer,
        )  # fmt: skip
        self.recurrent_kernel = self.add_weight(
            (*self.kernel_size, self.units, width), self.recurrent_initializer,
            name="recurrent_kernel", regularizer=self.recurrent_regularizer,
        )  # fmt: skip
        self.bias = self._add_bias() if self.use_bias else None

    def check_input(self, shape: Any) -> None:
        self._check_rank(shape)
        if tuple(shape[1:]) != self._given_shape:
            raise ValueError(
                f"ConvLSTM{self.rank}D was built for time steps of shape "
                f"{('batch', *self._given_shape)}, received {tuple(shape)}: its states have the "
                "sizes of its first inputs.".replace("'", "")
            )

    def output_shape_channels_last(self, sizes: Shape, channels: Any) -> Shape:
        found = shapes.output_sizes(
            sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return (*found, self.units)

    def compute_output_shape(self, input_shape: Any) -> Any:
        state = SpatialLayer.compute_output_shape(self, input_shape)
        return [state, [state] * self.state_count]

    def get_initial_state(self, batch_size: int) -> list[Any]:
        shape = (batch_size, *self._step_shape)
        return [array_module().zeros(shape, self.compute_dtype) for _ in range(self.state_count)]

    def state_shape(self, inputs: Any) -> tuple[int, ...]:
        return (inputs.shape[0], *self._step_shape)

    # Steps

    def multiply(self, x: Any, kernel: Any, recurrent: bool) -> Tensor:
        if recurrent:
            return functions.conv(x, kernel, padding="same")
        placed: dict[str, Any] = {"strides": self.strides, "dilation": self.dilation_rate}
        return functions.conv(x, kernel, padding=self.padding, **placed)

    def step(self, inputs: Tensor, states: list[Tensor], masks: Masks) -> tuple[Tensor, list[Any]]:
        if not self.channels_first:
            return super().step(inputs, states, masks)
        first, second = masks or (None, None)
        moved = self._moved_masks(first), self._moved_masks(second)
        given = [_channels_last(state) for state in states]
        _, after = super().step(_channels_last(inputs), given, moved)
        after = [_channels_first(state) for state in after]
        return after[0], after

    def _moved_masks(self, masks: Any) -> Any:
        if masks is None:
            return None
        return [_channels_last(mask) for mask in masks]


def _channels_last(x: Any) -> Any:
    return functions.transpose(x, (0, *range(2, x.ndim), 1))


def _channels_first(x: Any) -> Any:
    return functions.transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


class _ConvLSTM(RNN):
    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **options: Any,
    ) -> None:
        cell = ConvLSTMCell(
            self.rank, filters, kernel_size, strides, padding, data_format, dilation_rate,
            activation, recurrent_activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, unit_forget_bias, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint, dropout=dropout, recurrent_dropout=recurrent_dropout,
            seed=seed, dtype=options.get("dtype"),
        )  # fmt: skip
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful,
            activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip

    def _check_rank(self, shape: Any) -> None:
        if len(shape) == self.rank + 3:
            return
        sizes = {1: "length", 2: "height, width", 3: "depth, height, width"}[self.rank]
        step = f"channels, {sizes}" if self.cell.channels_first else f"{sizes}, channels"
        raise ValueError(
            f"{type(self).__name__} expects inputs of shape (batch, time, {step}), received "
            f"{len(shape)} dimensions: {tuple(shape)}."
        )

    def compute_output_shape(self, input_shape: Shape) -> Any:
        self._check_rank(input_shape)
        batch, time = input_shape[:2]
        state = SpatialLayer.compute_output_shape(self.cell, (batch, *input_shape[2:]))
        shape = (batch, time, *state[1:]) if self.return_sequences else state
        return [shape, *[state] * self.cell.state_count] if self.return_state else shape


class ConvLSTM1D(_ConvLSTM):
    """Long short-term memory with convolutions over the axis of each time step.

    Inputs are (batch, time, length, channels). Arguments are those of `ConvLSTM2D`.

    >>> ConvLSTM1D(8, 3).compute_output_shape((None, 5, 10, 4))
    (None, 8, 8)
    """

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """Long short-term memory with convolutions of images (Shi et al., 2015, without peepholes).

    As `LSTM`, with ``conv(x, kernel) + conv(h, recurrent_kernel) + bias`` for the gates. Inputs are
    (batch, time, height, width, channels), the output and the states (batch, height, width,
    filters); or with the channels before the sizes. The sizes must be known.

    Arguments:
        filters: number of output channels.
        kernel_size: of both kernels, an integer, or (height, width).
        strides, padding, dilation_rate: of the convolution of the inputs, 'valid' or 'same'; that
            of the states keeps their size.
        data_format: 'channels_last' or 'channels_first'.
        activation, recurrent_activation, unit_forget_bias: as in `LSTMCell`.
        dropout, recurrent_dropout: as in `LSTMCell`, with other elements for each gate.
        return_sequences, return_state, go_backwards, stateful: as in `RNN`.
        use_bias, options: and all others as in `LSTM`.

    >>> ConvLSTM2D(8, 3, padding="same").compute_output_shape((None, 5, 10, 12, 4))
    (None, 10, 12, 8)
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """Long short-term memory with convolutions of volumes.

    Inputs are (batch, time, depth, height, width, channels). Arguments are those of `ConvLSTM2D`.

    >>> ConvLSTM3D(8, 2, strides=2).compute_output_shape((None, 5, 4, 4, 4, 1))
    (None, 2, 2, 2, 8)
    """

    rank = 3
