"""Models whose layers follow one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet.layers import Input, InputLayer, Layer
from gpunet.layers.building import shape_without_batch, unbuilt_on_error
from gpunet.layers.layer import Shape
from gpunet.layers.tracking import unique_name
from gpunet.models.model import Model
from gpunet.symbolic import Graph, Symbol

__all__ = ["Sequential"]


class Sequential(Model):
    """A model of layers, each of which takes the output of the one before it.

    With ``input_shape=`` on the first layer, or an `Input` before it, weights are made as layers
    are added; else they are made for the first data.

    Arguments:
        layers: to `add`, a list.
        name: for messages.
        trainable: as of every `Layer`.

    >>> from gpunet.layers import Dense, Flatten, Input
    >>> model = Sequential([Input((28, 28, 1)), Flatten(), Dense(10, activation="softmax")])
    >>> model.output_shape
    (None, 10)
    >>> [layer.name for layer in model.layers]
    ['flatten', 'dense']
    """

    def __init__(
        self, layers: Iterable[Layer | Symbol] = (), name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.layers: list[Layer] = []
        self._input: Symbol | None = None
        if layers is None or isinstance(layers, Layer | Symbol):
            raise TypeError(
                f"Sequential expects a list of layers, received {layers!r}: Sequential([Dense(2)])."
            )
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Symbol) -> None:
        """Put a layer at the end, and make its weights if the shape of its input is known.

        Raises:
            TypeError: if it is no layer.
            ValueError: if it does not fit the layer before it; it is then not added.
        """
        if isinstance(layer, InputLayer):
            layer = Input(batch_shape=layer.batch_shape, dtype=layer.symbol_dtype, name=layer.name)
        if isinstance(layer, Symbol):
            self._add_input(layer)
            return
        if not isinstance(layer, Layer):
            is_class = isinstance(layer, type)
            hint = f": {layer.__name__}(...) with parentheses makes one" if is_class else ""
            raise TypeError(
                f"Sequential.add expects a layer, an instance of gpunet.layers.Layer, "
                f"received {layer!r}{hint}."
            )
        if any(part is self for part in layer.with_sublayers()):
            raise ValueError(f"{self.name!r} cannot contain itself: add another layer.")
        name, known_input = layer.name, self._input
        layer.name = self._unique_name(layer)
        try:
            if known_input is None and not self.layers and layer.given_input_shape is not None:
                self._input = Input(layer.given_input_shape)
                self.given_input_shape = layer.given_input_shape
            if self._input is not None:
                self._extend(layer)
        except BaseException:
            layer.name, self._input = name, known_input
            if known_input is None:
                self.given_input_shape = None
            raise
        self.layers.append(layer)
        layer.named_by_model = True

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self.layers:
            raise IndexError(f"{self.name!r} has no layer to remove.")
        layer = self.layers.pop()
        if not self.layers:
            self.graph = self._input = self.input_shape = self.given_input_shape = None
            self.built = False
        elif self._input is not None:
            self.graph = None
            for remaining in self.layers:
                self._extend(remaining)
        return layer

    def _add_input(self, symbol: Symbol) -> None:
        if self.layers or self._input is not None:
            raise ValueError(
                f"{symbol!r} must come first and once in a Sequential; {self.name!r} has "
                f"{len(self.layers)} layers already."
            )
        self._input, self.input_shape = symbol, symbol.shape
        self.given_input_shape = symbol.shape[1:]

    def _extend(self, layer: Layer) -> None:
        """Call a layer on the output of the graph so far; a failure changes nothing."""
        assert self._input is not None
        before = self._input if self.graph is None else self.graph.output_structure
        with unbuilt_on_error(layer):
            graph = Graph(self._input, layer(before))
        self.graph, self.built, self.input_shape = graph, True, self._input.shape

    def _unique_name(self, layer: Layer) -> str:
        taken = {other.name for other in self.layers}
        if (layer.named_by_user and layer.name in taken) or any(
            layer is other for other in self.layers
        ):
            raise ValueError(
                f"{self.name!r} has a layer {layer.name!r} already: give each layer a name= of "
                "its own, and add each instance once."
            )
        return unique_name(layer.name, taken.__contains__)

    def _input_count(self) -> int:
        return 1

    def build(self, input_shape: Any) -> None:
        if not self.layers:
            raise ValueError(f"{self.name!r} has no layers: add() some first.")
        self._record_for(shape_without_batch(input_shape))

    def check_input(self, shape: Any) -> None:
        if self.given_input_shape is not None:
            super().check_input(shape)
        elif self.graph is not None and len(shape) != len(self.graph.inputs[0].shape):
            self._record_for(shape_without_batch(shape))  # layers of rows take more axes too

    def _record_for(self, shape: Shape) -> None:
        """Record the graph for inputs of a shape."""
        self._input, self.graph = Input(batch_shape=shape), None
        for layer in self.layers:
            self._extend(layer)
