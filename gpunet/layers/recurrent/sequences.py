"""Recurrent layers that make their own cell: `SimpleRNN`, `LSTM` and `GRU`."""

from __future__ import annotations

from typing import Any

from gpunet.layers.layer import Shape
from gpunet.layers.recurrent.cells import GRUCell, LSTMCell, RecurrentCell, SimpleRNNCell
from gpunet.layers.recurrent.rnn import RNN

__all__ = ["GRU", "LSTM", "SimpleRNN"]

_CELL_OPTIONS = (
    "kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "kernel_constraint",
    "recurrent_constraint", "bias_constraint", "dropout", "recurrent_dropout", "seed",
    "implementation", "reset_after",
)  # fmt: skip


class _Sequence(RNN):
    """An `RNN` of a cell of its own.

    Arguments:
        cell_type: of the cell.
        arguments: of the cell, in order.
        use_cudnn: accepted as in Keras: gpunet has kernels of its own.
        options: of the cell and of the layer.
    """

    def __init__(
        self, cell_type: type[RecurrentCell], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        use_cudnn = options.pop("use_cudnn", "auto")
        if use_cudnn not in ("auto", True, False):
            raise ValueError(
                f"{type(self).__name__}: use_cudnn must be 'auto', True or False, received "
                f"{use_cudnn!r}."
            )
        of_cell = {name: options.pop(name) for name in _CELL_OPTIONS if name in options}
        cell = cell_type(*arguments, dtype=options.get("dtype", "float32"), **of_cell)
        super().__init__(cell, **options)

    @property
    def units(self) -> int:
        """The size of the output."""
        return self.cell.units

    def _check_rank(self, shape: Shape) -> None:
        super()._check_rank(shape)
        if len(shape) != 3:
            raise ValueError(
                f"{type(self).__name__} expects inputs of shape (batch, time, features), received "
                f"{tuple(shape)}."
            )


class SimpleRNN(_Sequence):
    """A fully connected recurrent layer, which takes its output as another input.

    Arguments: those of `SimpleRNNCell`, then those of `RNN`.

    >>> import numpy as np
    >>> SimpleRNN(4)(np.ones((2, 7, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        super().__init__(SimpleRNNCell, (units, activation, use_bias, *initial), options)


class LSTM(_Sequence):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    Arguments: those of `LSTMCell`, then those of `RNN`.

    >>> import numpy as np
    >>> LSTM(4, return_sequences=True)(np.ones((2, 7, 3))).shape
    (2, 7, 4)
    >>> output, h, c = LSTM(4, return_state=True)(np.ones((2, 7, 3)))
    >>> c.shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        **options: Any,
    ) -> None:
        initial = kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias
        arguments = units, activation, recurrent_activation, use_bias, *initial
        super().__init__(LSTMCell, arguments, options)


class GRU(_Sequence):
    """Gated recurrent units (Cho et al., 2014).

    Arguments: those of `GRUCell`, then those of `RNN`.

    >>> import numpy as np
    >>> GRU(4)(np.ones((2, 7, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        arguments = units, activation, recurrent_activation, use_bias, *initial
        super().__init__(GRUCell, arguments, options)
