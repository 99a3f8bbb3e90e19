"""Layers that apply another layer along time: in both directions, or to each step."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_choice
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.recurrent.stacked import renewed

__all__ = ["Bidirectional", "TimeDistributed"]

_BACKWARDS = (slice(None), slice(None, None, -1))


class Bidirectional(Layer):
    """Run a recurrent layer forward, another one backward, and merge their outputs.

    Both layers are new ones with the arguments of `layer`, without its weights. With
    `return_sequences` the outputs of masked steps are zeros.

    Arguments:
        layer: recurrent, such as ``LSTM(8)``.
        merge_mode: 'concat', 'sum', 'mul', 'ave', or None for a list of both outputs.
        weights: initial values of the weights, those of the forward layer first.
        backward_layer: used in place of a new layer with the other `go_backwards`.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> from gpunet.layers import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(np.ones((2, 7, 3))).shape
    (2, 7, 8)
    """

    creates_mask = False

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for argument, item in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(item, Layer) or not hasattr(item, "go_backwards"):
                raise ValueError(
                    f"Bidirectional: {argument} must be a recurrent layer, such as LSTM(8), "
                    f"received {item!r}."
                )
        modes = ("concat", "sum", "mul", "ave", None)
        self.merge_mode = check_choice(merge_mode, modes, "merge_mode", "Bidirectional")
        self.initial_weights = weights
        self.forward_layer = _named(layer, "forward_")
        self.backward_layer = backward_layer or _named(layer, "backward_", go_backwards=True)
        self._check_layers()
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful
        for part in (self.forward_layer, self.backward_layer):
            part.zero_output_for_mask = part.return_sequences

    @classmethod
    def from_config(cls, config: Any) -> Any:
        return super().from_config(renewed(dict(config)))

    def _check_layers(self) -> None:
        one, other = self.forward_layer, self.backward_layer
        if one.go_backwards == other.go_backwards:
            raise ValueError(
                "Bidirectional expects layers that differ in go_backwards, received two with "
                f"{one.go_backwards}."
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(one, name) != getattr(other, name):
                raise ValueError(
                    f"Bidirectional expects layers with one {name}, received "
                    f"{getattr(one, name)} forward and {getattr(other, name)} backward."
                )

    def build(self, input_shape: Shape) -> None:
        for part in (self.forward_layer, self.backward_layer):
            if not part.built:
                part.build(input_shape)
        if self.initial_weights is not None:
            self.set_weights(self.initial_weights)

    def check_input(self, shape: Any) -> None:
        self.forward_layer.check_input(shape)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        shapes = self.forward_layer.compute_output_shape(input_shape)
        output, *states = shapes if self.return_state else [shapes]
        others = self.backward_layer.compute_output_shape(input_shape)
        other, *other_states = others if self.return_state else [others]
        merged = [output, other] if self.merge_mode is None else [output]
        if self.merge_mode == "concat":
            merged = [(*output[:-1], output[-1] + other[-1])]
        found = [*merged, *states, *other_states]
        return found if len(found) > 1 else found[0]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if self.return_sequences else None
        return [mask, mask] if self.merge_mode is None else [mask]

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:
        given: tuple[Any, Any] = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            given = initial_state[:half], initial_state[half:]
        y, *states = self._run(self.forward_layer, sequences, given[0], mask)
        z, *other_states = self._run(self.backward_layer, sequences, given[1], mask)
        z = z[_BACKWARDS] if self.return_sequences else z
        merged = [y, z] if self.merge_mode is None else [self._merged(y, z)]
        found = [*merged, *states, *other_states]
        return found if len(found) > 1 else found[0]

    def _run(self, layer: Any, sequences: Any, states: Any, mask: Any) -> list[Any]:
        options = {} if states is None else {"initial_state": states}
        if "mask" in layer._call_parameters:
            options["mask"] = mask
        output = layer(sequences, **options)
        return output if self.return_state else [output]

    def _merged(self, y: Any, z: Any) -> Any:
        if self.merge_mode == "concat":
            return functions.concatenate([y, z], axis=-1)
        if self.merge_mode == "mul":
            return y * z
        return y + z if self.merge_mode == "sum" else (y + z) / 2

    @property
    def states(self) -> Any:
        """The states that stateful layers keep, those of the forward layer first."""
        one, other = self.forward_layer.states, self.backward_layer.states
        return [*one, *other] if one and other else None

    def reset_state(self) -> None:
        """Set the states that stateful layers keep to 0."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state


def _named(layer: Any, prefix: str, **changes: Any) -> Any:
    """Return a new layer with the arguments of another and a prefix of its name."""
    name = prefix + layer.name.removeprefix(prefix)
    return type(layer).from_config({**layer.get_config(), "name": name, **changes})


class TimeDistributed(Layer):
    """Apply a layer to each time step of inputs (batch, time, ...).

    Arguments:
        layer: any; its weights are the same at all steps. Layers of gpunet that treat each sample
            by itself run once, on all steps together; others run step by step.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> from gpunet.layers import Conv2D
    >>> TimeDistributed(Conv2D(4, 3))(np.ones((2, 5, 8, 8, 1))).shape
    (2, 5, 6, 6, 4)
    """

    supports_masking = True

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, Layer):
            raise ValueError(f"TimeDistributed: layer must be a layer, received {layer!r}.")
        self.layer = layer

    @classmethod
    def from_config(cls, config: Any) -> Any:
        return super().from_config(renewed(dict(config)))

    def build(self, input_shape: Shape) -> None:
        self._check_rank(input_shape)
        if not self.layer.built:
            self.layer.build(_without_time(input_shape))

    def _check_rank(self, shape: Any) -> None:
        if len(shape) < 3 or isinstance(shape[0], list | tuple):
            raise ValueError(
                "TimeDistributed expects one input of shape (batch, time, ...) with at least 3 "
                f"axes, received {tuple(shape)}."
            )

    def check_input(self, shape: Any) -> None:
        self._check_rank(shape)
        self.layer.check_input(_without_time(shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = self.layer.compute_output_shape(_without_time(input_shape))
        return (shape[0], input_shape[1], *shape[1:])

    def call(self, inputs: Any, mask: Any = None) -> Any:
        batch, time = inputs.shape[:2]
        takes_mask = mask is not None and "mask" in self.layer._call_parameters
        if takes_mask and mask.ndim < 2:
            raise ValueError(
                f"TimeDistributed expects a mask of shape (batch, time), received {mask.shape}."
            )
        if not self._is_by_sample():
            steps = functions.unstack(inputs, axis=1)
            masks = [mask[:, t] if takes_mask else None for t in range(time)]
            outputs = [self.layer(x, mask=m) for x, m in zip(steps, masks, strict=True)]
            return functions.stack(outputs, axis=1)
        x = functions.reshape(inputs, (batch * time, *inputs.shape[2:]))
        folded = mask.reshape(batch * time, *mask.shape[2:]) if takes_mask else None
        y = self.layer(x, mask=folded)
        return functions.reshape(y, (batch, time, *y.shape[1:]))

    def _is_by_sample(self) -> bool:
        """Return whether each output of the layer is known to depend on one sample alone."""
        parts = self.layer.with_sublayers()
        if any(not type(part).__module__.startswith("gpunet.") for part in parts):
            return False
        if any(getattr(part, "stateful", False) for part in parts):
            return False
        return all(weight.trainable for weight in self.layer.weights)  # no moving statistics


def _without_time(shape: Shape) -> Shape:
    return (shape[0], *shape[2:])
