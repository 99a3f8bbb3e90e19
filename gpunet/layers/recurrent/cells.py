"""Recurrent cells: one time step of `SimpleRNN`, `LSTM` and `GRU`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import activations, functions, initializers, random, regularizers
from gpunet.arguments import boolean, number, positive_integer, refuse_unsupported
from gpunet.autograd import Tensor
from gpunet.backend import array_module, get_array_module
from gpunet.layers.layer import Layer, Shape, is_training

__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell"]

Masks = tuple[Any, Any] | None  # factors of the inputs and of the states, for dropout


class RecurrentCell(Layer):
    """The base of cells of a kernel, a recurrent kernel and a bias.

    Arguments:
        units: the size of the output and of each state.
        activation: of the candidate for the next state.
        use_bias: whether a bias is added.
        kernel_initializer, recurrent_initializer, bias_initializer: names or instances of
            `gpunet.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: names or instances of
            `gpunet.regularizers`, functions, or None.
        kernel_constraint, recurrent_constraint, bias_constraint: None.
        dropout, recurrent_dropout: the share of the inputs, and of the states, that is set to 0 in
            training, from 0 to below 1; the same elements at all time steps.
        seed: of the dropout: None to draw from `gpunet.random`'s numbers.
        implementation: 2 to drop the same inputs for all gates, 1 others for each gate, as
            `recurrent_dropout` does in any case.
        options: those of every `Layer`.
    """

    gates = 1
    state_count = 1

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        *,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        implementation: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        self.units = positive_integer(units, "units", where)
        self.activation = activations.get(activation)
        self.use_bias = boolean(use_bias, "use_bias", where)
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        refuse_unsupported(
            where,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        self.dropout = _share(dropout, "dropout", where)
        self.recurrent_dropout = _share(recurrent_dropout, "recurrent_dropout", where)
        if implementation not in (1, 2):
            raise ValueError(f"{where}: implementation must be 1 or 2, received {implementation}.")
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.seed = seed
        self.generator: random.Generator | None = None if seed is None else random.Generator(seed)

    @property
    def state_size(self) -> Any:
        """The size of the state, or of each of several."""
        return self.units if self.state_count == 1 else [self.units] * self.state_count

    @property
    def output_size(self) -> int:
        """The size of the output."""
        return self.units

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2 or not isinstance(input_shape[-1], int):
            raise ValueError(
                f"{type(self).__name__} expects inputs of shape (batch, features) with a known "
                f"number of features at each time step, received {tuple(input_shape)}."
            )
        width = self.gates * self.units
        self.kernel = self.add_weight(
            (input_shape[-1], width), self.kernel_initializer, name="kernel",
            regularizer=self.kernel_regularizer,
        )  # fmt: skip
        self.recurrent_kernel = self.add_weight(
            (self.units, width), self.recurrent_initializer, name="recurrent_kernel",
            regularizer=self.recurrent_regularizer,
        )  # fmt: skip
        self.bias = self._add_bias() if self.use_bias else None

    def _add_bias(self) -> Any:
        return self.add_weight(
            self._bias_shape(), self._initial_bias, name="bias", regularizer=self.bias_regularizer
        )

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _initial_bias(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return initializers.get(self.bias_initializer or "zeros")(shape, dtype=dtype)

    def check_input(self, shape: Any) -> None:
        features = self.kernel.shape[0]
        if len(shape) != 2 or shape[-1] != features:
            raise ValueError(
                f"{type(self).__name__} expected inputs of shape (batch, {features}), received "
                f"{tuple(shape)}: it was built for {features} features."
            )

    # Steps

    def call(self, inputs: Any, states: Any) -> Any:  # type: ignore[override]
        is_list = isinstance(states, list | tuple)
        given = list(states) if is_list else [states]
        check_states(given, [self.state_shape(inputs)] * self.state_count, type(self).__name__)
        given = [self._as_tensor(state) for state in given]
        output, after = self.step(inputs, given, self.dropout_masks(inputs))
        return output, (after if is_list else after[0])

    def state_shape(self, inputs: Any) -> tuple[int, ...]:
        """Return the shape of each state beside inputs of one time step."""
        return inputs.shape[0], self.units

    def step(self, inputs: Tensor, states: list[Tensor], masks: Masks) -> tuple[Tensor, list[Any]]:
        """Return the output and the next states.

        Arguments:
            inputs: (batch, features).
            states: each (batch, units).
            masks: of `dropout_masks`.
        """
        raise NotImplementedError

    def multiply(self, x: Any, kernel: Any, recurrent: bool) -> Tensor:
        """Return the product with (some columns of) the kernel or the recurrent kernel."""
        return functions.matmul(x, kernel)

    def project(self, x: Any, kernel: Any, mask: Any) -> Tensor:
        """Return the product with x times the mask, or times one for each gate."""
        recurrent = kernel is self.recurrent_kernel
        if not isinstance(mask, list):
            return self.multiply(x if mask is None else x * mask, kernel, recurrent)
        parts = [self._columns(kernel, gate) for gate in range(self.gates)]
        pairs = zip(mask, parts, strict=True)
        products = [self.multiply(x * factors, part, recurrent) for factors, part in pairs]
        return functions.concatenate(products, axis=-1)

    def _columns(self, x: Any, first: int, stop: int | None = None) -> Any:
        """Return the columns of a gate, or of several."""
        stop = first + 1 if stop is None else stop
        return x[..., first * self.units : stop * self.units]

    def dropout_masks(self, inputs: Any) -> Masks:
        """Draw factors of the inputs and the states; None where nothing is dropped now.

        Arguments:
            inputs: of one time step, (batch, features).
        """
        if not is_training() or not (self.dropout or self.recurrent_dropout):
            return None
        sizes = inputs.shape, self.state_shape(inputs)
        rates = self.dropout, self.recurrent_dropout
        first, second = (self._draw(inputs, s, r) for s, r in zip(sizes, rates, strict=True))
        return first, second

    def _draw(self, like: Any, shape: tuple[int, ...], rate: float) -> Any:
        if not rate:
            return None
        ones = get_array_module(like.value).ones(shape, like.dtype)
        each = self.implementation == 1 and self.gates > 1
        keys = (self._next_key() for _ in range(self.gates if each else 1))
        drawn = [functions.dropout(ones, key, rate=rate) for key in keys]
        return drawn if each else drawn[0]

    def _next_key(self) -> Any:
        return random.next_key() if self.generator is None else self.generator.next_key()

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Return states of zeros, each (batch, units)."""
        shape = batch_size, self.units
        return [array_module().zeros(shape, self.compute_dtype) for _ in range(self.state_count)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        state = (input_shape[0], self.units)
        return [state, [state] * self.state_count]


class SimpleRNNCell(RecurrentCell):
    """One step of a fully connected recurrent layer.

    ``h = activation(x @ kernel + h @ recurrent_kernel + bias)``; the output is the state.

    Arguments: as in `RecurrentCell`.

    >>> output, states = SimpleRNNCell(4)(np.ones((2, 3)), [np.zeros((2, 4))])
    >>> output.shape
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
        super().__init__(units, activation, use_bias, *initial, **options)

    def step(self, inputs: Tensor, states: list[Tensor], masks: Masks) -> tuple[Tensor, list[Any]]:
        input_mask, state_mask = masks or (None, None)
        x = self.project(inputs, self.kernel, input_mask)
        x = x if self.bias is None else x + self.bias
        h = self.activation(x + self.project(states[0], self.recurrent_kernel, state_mask))
        return h, [h]


class LSTMCell(RecurrentCell):
    """One step of long short-term memory (Hochreiter and Schmidhuber, 1997).

    With the gates i, f, g, o as the columns of ``x @ kernel + h @ recurrent_kernel + bias``::

        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
        h = recurrent_activation(o) * activation(c)

    Arguments:
        recurrent_activation: of the gates i, f and o.
        unit_forget_bias: whether the bias of f starts at 1.
        units, options: and all others as in `RecurrentCell`.

    >>> states = [np.zeros((2, 4)), np.zeros((2, 4))]
    >>> output, (h, c) = LSTMCell(4)(np.ones((2, 3)), states)
    >>> output.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = 4
    state_count = 2

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
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        super().__init__(units, activation, use_bias, *initial, **options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = boolean(unit_forget_bias, "unit_forget_bias", "LSTMCell")

    def _initial_bias(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if not self.unit_forget_bias:
            return super()._initial_bias(shape, dtype)
        first, last = (super(LSTMCell, self)._initial_bias((n,), dtype) for n in self._sizes())
        return np.concatenate([first, np.ones(self.units, dtype), last])

    def _sizes(self) -> tuple[int, int]:
        return self.units, 2 * self.units

    def step(self, inputs: Tensor, states: list[Tensor], masks: Masks) -> tuple[Tensor, list[Any]]:
        input_mask, state_mask = masks or (None, None)
        z = self.project(inputs, self.kernel, input_mask)
        z = z + self.project(states[0], self.recurrent_kernel, state_mask)
        z = z if self.bias is None else z + self.bias
        i, f = (self.recurrent_activation(self._columns(z, gate)) for gate in (0, 1))
        c = f * states[1] + i * self.activation(self._columns(z, 2))
        h = self.recurrent_activation(self._columns(z, 3)) * self.activation(c)
        return h, [h, c]


class GRUCell(RecurrentCell):
    """One step of a gated recurrent unit (Cho et al., 2014).

    With the gates z, r and the candidate g as columns, x standing for ``x @ kernel + bias[0]``::

        z, r = recurrent_activation(x + h @ recurrent_kernel + bias[1])
        g = activation(x + r * (h @ recurrent_kernel + bias[1]))
        h = z * h + (1 - z) * g

    Arguments:
        recurrent_activation: of the gates z and r.
        reset_after: whether r multiplies the product, as above, with a bias of shape (2, 3 units),
            or, if False, h before the product, with a bias of shape (3 units,).
        units, options: and all others as in `RecurrentCell`.

    >>> output, state = GRUCell(4)(np.ones((2, 3)), np.zeros((2, 4)))
    >>> output.shape
    (2, 4)
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        *,
        reset_after: bool = True,
        **options: Any,
    ) -> None:
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        super().__init__(units, activation, use_bias, *initial, **options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = boolean(reset_after, "reset_after", "GRUCell")

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def step(self, inputs: Tensor, states: list[Tensor], masks: Masks) -> tuple[Tensor, list[Any]]:
        input_mask, state_mask = masks or (None, None)
        h = states[0]
        x = self.project(inputs, self.kernel, input_mask)
        if self.bias is not None:
            x = x + (self.bias[0] if self.reset_after else self.bias)
        if self.reset_after:
            inner = self.project(h, self.recurrent_kernel, state_mask)
            inner = inner if self.bias is None else inner + self.bias[1]
            z, r = self._gates(x, inner)
            reset = r * self._columns(inner, 2)
        else:
            kept = state_mask if isinstance(state_mask, list) else [state_mask] * 3
            parts = [self._columns(self.recurrent_kernel, gate) for gate in range(3)]
            states = [h if mask is None else h * mask for mask in kept]
            z, r = self._gates(x, functions.concatenate(
                [functions.matmul(s, part) for s, part in zip(states[:2], parts[:2], strict=True)],
                axis=-1,
            ))  # fmt: skip
            reset = functions.matmul(r * states[2], parts[2])
        g = self.activation(self._columns(x, 2) + reset)
        h = z * h + (1 - z) * g
        return h, [h]

    def _gates(self, x: Any, inner: Any) -> tuple[Any, Any]:
        z, r = (
            self.recurrent_activation(self._columns(x, gate) + self._columns(inner, gate))
            for gate in (0, 1)
        )
        return z, r


def check_states(states: list[Any], shapes: list[tuple[int, ...]], where: str) -> None:
    """Raise `ValueError` unless states have these shapes."""
    received = [tuple(getattr(state, "shape", ())) for state in states]
    if received != list(shapes):
        raise ValueError(
            f"{where} expects {len(shapes)} state{'s' * (len(shapes) > 1)} of shape "
            f"{', '.join(map(str, shapes))}, received {', '.join(map(str, received)) or 'none'}: "
            "states have the batch size of the inputs."
        )


def _share(value: Any, argument: str, where: str) -> float:
    share = number(value, argument, where)
    if not 0 <= share < 1:
        raise ValueError(
            f"{where}: {argument} must be from 0 to below 1, received {value!r}: it is the share "
            "that is set to 0."
        )
    return share
