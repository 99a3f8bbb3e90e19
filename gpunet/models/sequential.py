"""Models whose layers follow one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet import fusion
from gpunet.autograd import Parameter
from gpunet.layers.core import Input
from gpunet.layers.layer import Layer, Shape, name_layer
from gpunet.models.model import Model
from gpunet.training import joining as blocks

__all__ = ["Sequential"]


class Sequential(Model):
    """A model of layers, each of which takes what the one before it gives.

    The first layer's ``input_shape=``, or an `Input` before it, lets the weights be made as the
    layers are added; else they are made for the first data.

    Arguments:
        layers: what to `add`.
        name: what messages call the model.

    >>> from gpunet.layers import Dense, Flatten
    >>> model = Sequential([Input((28, 28, 1)), Flatten(), Dense(10, activation="softmax")])
    >>> model.output_shape
    (None, 10)
    >>> [layer.name for layer in model.layers]
    ['flatten', 'dense']
    """

    _takes_one_input = True

    def __init__(self, layers: Iterable[Layer | Input] = (), name: str | None = None) -> None:
        super().__init__(name=name)
        self.layers: list[Layer] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Input) -> None:
        """Put a layer at the end, and make its weights if its input's shape is known.

        Raises:
            TypeError: if it is no layer.
            ValueError: if it does not fit what comes before it; it is then not added.
        """
        if isinstance(layer, Input):
            self._add_input(layer)
            return
        if not isinstance(layer, Layer):
            hint = f": {layer.__name__}(...) with parentheses makes one" if _is_class(layer) else ""
            raise TypeError(
                f"Sequential.add expects a layer, an instance of gpunet.layers.Layer, "
                f"received {layer!r}{hint}."
            )
        shape = self._input_shape_of(layer)
        before, layer.name = layer.name, self._name_apart(layer)
        if shape is not None:
            try:
                with layer.unbuilt_on_error():
                    layer.build_once(shape)
                    _output_shape(layer, shape)
            except BaseException:
                layer.name = before
                raise
            self.built = True
        if not self.layers and shape is not None:
            self.input_shape, self.given_input_shape = shape, shape[1:]
        self.layers.append(layer)

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise IndexError(f"{self.name!r} has no layer to take away.")
        layer = self.layers.pop()
        if not self.layers:
            self.built, self.input_shape, self.given_input_shape = False, None, None
        return layer

    def _add_input(self, given: Input) -> None:
        if self.layers or self.given_input_shape is not None:
            raise ValueError(
                f"{given!r} must come first and once in a Sequential; {self.name!r} has "
                f"{len(self.layers)} layers already."
            )
        self.given_input_shape = given.shape
        self.input_shape = (None, *given.shape)

    def _input_shape_of(self, layer: Layer) -> Shape | None:
        """The shape that `layer` is given when it comes next, None while that is not known."""
        if self.layers:
            return self.output_shape if self.built else None
        if self.input_shape is None and layer.given_input_shape is not None:
            return (None, *layer.given_input_shape)
        return self.input_shape

    def _name_apart(self, layer: Layer) -> str:
        """Return the layer's name, or one made of it that no layer here has."""
        taken = {other.name for other in self.layers}
        if layer.name not in taken:
            return layer.name
        if layer.named_by_user or layer in self.layers:
            raise ValueError(
                f"{self.name!r} has a layer {layer.name!r} already: give each layer a name= of "
                "its own, and add each instance once."
            )
        base, number = layer.name, 1
        while f"{base}_{number}" in taken:
            number += 1
        return f"{base}_{number}"

    def build(self, input_shape: Shape) -> None:
        if not self.layers:
            raise ValueError(f"{self.name!r} has no layers: add() some first.")
        for layer in self.layers:
            layer.build_once(input_shape)
            input_shape = _output_shape(layer, input_shape)

    def check_input(self, shape: tuple[int, ...]) -> None:
        given = self.given_input_shape
        if given is None:
            return
        fits = len(shape) == len(given) + 1 and all(
            expected in (None, size) for expected, size in zip(given, shape[1:], strict=True)
        )
        if not fits:
            hint = ""
            if shape[1:] == given[:-1] and given[-1] == 1:
                hint = ": add the axis of the one channel, x[..., None]"
            elif shape == given:
                hint = ": one sample wants the axis of its batch, x[None]"
            raise ValueError(
                f"the model takes samples of shape {given}, that is inputs of shape "
                f"{(None, *given)}; received {tuple(shape)}{hint}."
            )

    def _first_weight(self) -> Parameter | None:
        found = (layer._first_weight() for layer in self.layers)
        return next((weight for weight in found if weight is not None), None)

    def takes_integers(self) -> bool:
        return bool(self.layers) and self.layers[0].takes_integers()

    def call(self, x: Any) -> Any:
        for step in self._steps(x.ndim):
            x = step(x)
        return x

    def _steps(self, rank: int) -> Iterable[Any]:
        """Return what is called in turn for an input of `rank` dimensions."""
        return fusion.steps(self, self.layers, rank) if self.fuse else self.layers

    def _samples_at_once(self) -> int:
        if type(self) is not Sequential or "call" in vars(self) or self.input_shape is None:
            return 0
        return blocks.samples_at_once(self.layers, self._steps(len(self.input_shape)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = _output_shape(layer, input_shape)
        return input_shape

    def _rows(self) -> list[tuple[Layer, Shape | None]]:
        shape = self.input_shape
        rows: list[tuple[Layer, Shape | None]] = []
        for layer in self.layers:
            shape = None if shape is None else layer.compute_output_shape(shape)
            rows.append((layer, shape))
        return rows


def _output_shape(layer: Layer, input_shape: Shape) -> Shape:
    try:
        return layer.compute_output_shape(input_shape)
    except (TypeError, ValueError) as error:
        name_layer(error, layer)
        raise


def _is_class(layer: Any) -> bool:
    return isinstance(layer, type)
