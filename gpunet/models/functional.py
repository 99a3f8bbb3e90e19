"""Models as graphs of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from gpunet import functions, fusion, symbolic
from gpunet.autograd import Tensor
from gpunet.layers import InputLayer, Layer
from gpunet.layers.building import name_layer
from gpunet.layers.layer import Shape
from gpunet.layers.masks import with_masks
from gpunet.layers.tracking import Replaceable, describe
from gpunet.models import summary
from gpunet.naming import numbered
from gpunet.symbolic import Graph, Node, Symbol
from gpunet.training.joining import samples_at_once

__all__ = ["Functional", "leaf_shapes"]


class Functional(Layer):
    """A layer that runs a graph of layers, if it has one.

    Arguments:
        inputs: symbols, as `Input` makes them: one, or a list or dictionary of several.
        outputs: symbols that follow from the inputs, likewise.
        options: those of every `Layer`.
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.fuse = True
        self.graph: Graph | None = None
        if (inputs is None) != (outputs is None):
            missing = "outputs" if outputs is None else "inputs"
            raise TypeError(
                f"{type(self).__name__}(inputs, outputs) expects both, received no {missing}."
            )
        if inputs is not None:
            self._set_graph(Graph(_without_list_of_one(inputs), _without_list_of_one(outputs)))
            if not self.trainable:
                self.trainable = False  # that of its layers too

    def _set_graph(self, graph: Graph) -> None:
        """Make the layers of a graph those of this model.

        Raises:
            ValueError: if two layers have one name; nothing is changed.
        """
        layers = [operation for operation in graph.operations if isinstance(operation, Layer)]
        _make_names_unique(layers, self.name)
        for symbol in graph.inputs:
            if symbol.node is not None and isinstance(symbol.node.operation, InputLayer):
                symbol.name = symbol.node.operation.name
        graph.set_names()
        self.graph, self._graph_layers = graph, layers
        shapes = symbolic.map_structure(lambda s: s.shape, graph.input_structure)
        self.input_shape, self.built = shapes, True

    def __getstate__(self) -> dict[str, Any]:
        # Symbols are in the graph; a copy of calls within calls would recurse deeply.
        arguments = {
            name: item for name, item in vars(self._arguments).items() if not _is_computed(item)
        }
        return super().__getstate__() | {"_arguments": SimpleNamespace(**arguments)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.graph is not None and hasattr(self._arguments, "inputs"):
            self._arguments.outputs = self.graph.output_structure

    # Layers

    @Replaceable
    def layers(self) -> Any:
        """The layers of the graph, or those in the model's attributes."""
        return list(self._graph_layers) if self.graph is not None else self.sublayers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return the layer of a name or at an index of `layers`.

        Raises:
            ValueError: if there is none, or neither is given.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer expects either a name or an index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(
                    f"{self.name!r} has {len(self.layers)} layers, get_layer received "
                    f"index={index}."
                )
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(f"{self.name!r} has no layer {name!r}; its layers are: {names}.")
        return self.layers[names.index(name)]

    @Replaceable
    def inputs(self) -> list[Symbol]:
        """The symbols of the inputs."""
        return self._known_graph().inputs

    @Replaceable
    def outputs(self) -> list[Symbol]:
        """The symbols of the outputs."""
        return self._known_graph().outputs

    @Replaceable
    def input(self) -> Any:
        """The symbols of the inputs, as they were given."""
        return self._known_graph().input_structure

    @Replaceable
    def output(self) -> Any:
        """The symbols of the outputs, as they were given."""
        return self._known_graph().output_structure

    @Replaceable
    def output_names(self) -> list[str]:
        """The names of the outputs, as `compile` and `fit` take them: in logs, and for data."""
        return list(self._known_graph().output_names)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, its batch size None; known once the model is built."""
        if self.graph is not None:
            return symbolic.map_structure(lambda s: s.shape, self.graph.output_structure)
        if self.input_shape is None:
            raise RuntimeError(
                f"{self.name!r} does not know its shapes yet: give its first layer input_shape=, "
                "or call it on data."
            )
        return self.compute_output_shape(self.input_shape)

    def _known_graph(self) -> Graph:
        if self.graph is None:
            raise AttributeError(
                f"{describe(self)} has no graph of layers yet: make it of Model(inputs, outputs), "
                "or give the first layer of a Sequential input_shape=."
            )
        return self.graph

    # Calls

    def call(self, inputs: Any) -> Any:
        if self.graph is None:
            raise NotImplementedError(
                f"{type(self).__name__} does not define call(self, inputs), and was not given "
                "inputs and outputs."
            )
        return self.run_graph(inputs)

    call_graph = call  # fusion looks whether a subclass has a call of its own

    def run_graph(self, inputs: Any, loss: fusion.FusedLoss | None = None) -> Any:
        """Return the outputs for tensors, in the structure of the model's outputs.

        Arguments:
            inputs: tensors, in the structure of the model's inputs.
            loss: computed with the outputs where that can be.
        """
        graph = self._known_graph()
        flat = [inputs] if isinstance(inputs, Tensor) else _flat_inputs(graph, inputs)
        outputs = fusion.run(graph, flat, loss, fuse=self.fuse)
        if isinstance(graph.output_structure, Symbol):
            return outputs[0]
        return symbolic.pack(graph.output_structure, outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.graph is None:
            return super().compute_output_shape(input_shape)
        values = {
            symbolic.symbol_key(symbol): Symbol(_adapted(shape, symbol.shape), symbol.dtype)
            for symbol, shape in zip(self.graph.inputs, leaf_shapes(input_shape), strict=True)
        }
        for node in self.graph.nodes:
            sources = iter([values[symbolic.symbol_key(symbol)] for symbol in node.inputs])
            for index, symbol in enumerate(symbolic.flatten(_output_symbols(node, sources))):
                values[id(node), index] = symbol
        shapes = [values[symbolic.symbol_key(symbol)].shape for symbol in self.graph.outputs]
        return symbolic.pack(self.graph.output_structure, shapes)

    def check_input(self, shape: Any) -> None:
        if self.graph is None:
            return
        expected = self.graph.inputs
        if isinstance(shape, tuple) and shape[1:] == expected[0].shape[1:] and len(expected) == 1:
            return  # most often
        received = leaf_shapes(shape)
        if len(received) != len(expected):
            raise ValueError(
                f"the model takes {len(expected)} inputs, {list(self.graph.input_names)}, "
                f"received {len(received)}: give a list in this order, or a dictionary by these "
                "names."
            )
        names = self.graph.input_names
        for symbol, name, found in zip(expected, names, received, strict=True):
            where = f" for the input {name!r}" if len(expected) > 1 else ""
            _check_shape(found, symbol.shape, where)

    def takes_integers(self) -> bool:
        return self.graph is not None and all(
            self.input_takes_integers(position) for position in range(len(self.graph.inputs))
        )

    def input_takes_integers(self, position: int) -> bool:
        """Return whether integers of the input at a position are kept, and not cast."""
        graph = self._known_graph()
        symbol = graph.inputs[position]
        if symbol.dtype.kind in "biu":
            return True
        key = symbolic.symbol_key(symbol)
        readers = [node for node in graph.nodes if key in map(symbolic.symbol_key, node.inputs)]
        return bool(readers) and all(
            isinstance(node.operation, Layer) and node.operation.takes_integers()
            for node in readers
        )

    def _as_inputs(self, x: Any) -> Any:
        if self.graph is None:
            return super()._as_inputs(x)
        if len(self.graph.inputs) == 1 and not isinstance(x, dict | list | tuple):
            if isinstance(x, Tensor) and x.shape[1:] == self.graph.inputs[0].shape[1:]:
                return x  # most often
            return _with_rank(self._as_tensor(x), self.graph.inputs[0].shape)
        flat = _flat_inputs(self.graph, x)
        if len(flat) != len(self.graph.inputs):
            return super()._as_inputs(x)  # check_input says what is wrong
        tensors = [
            _with_rank(
                self._as_tensor(item, keep_integers=self.input_takes_integers(position)),
                self.graph.inputs[position].shape,
            )
            for position, item in enumerate(flat)
        ]
        return symbolic.pack(self.graph.input_structure, tensors)

    def _take_mask(self, args: tuple[Any, ...], mask: Any) -> tuple[tuple[Any, ...], Any]:
        if "mask" in self._call_parameters:
            return super()._take_mask(args, mask)
        return (with_masks(args[0], mask), *args[1:]), None

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None  # the layers of the graph give the outputs their masks

    creates_mask = False

    def _samples_at_once(self) -> int:
        """Return how many samples inference takes at a time; 0 where that is not known."""
        if self.graph is None or not fusion.runs_graph(self):
            return 0
        return samples_at_once(self.graph, self.fuse)

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of weights.

        Arguments:
            line_length, positions: accepted for Keras' sake, without effect: columns are as wide
                as what stands in them.
            print_fn: called with the table in place of `print`.
            expand_nested: whether the layers of models within the model have lines of their own.
            show_trainable: whether to say of each layer with weights whether it trains (Y or N).
        """
        text = summary.table(self, expand_nested=expand_nested, show_trainable=show_trainable)
        (print if print_fn is None else print_fn)(text)


def _without_list_of_one(structure: Any) -> Any:
    """Return the item of a list of one, which stands for the item, as in Keras."""
    is_one = isinstance(structure, list | tuple) and len(structure) == 1
    return structure[0] if is_one else structure


def _is_computed(argument: Any) -> bool:
    """Return whether an argument contains symbols that follow from others."""
    nodes = (symbol.node for symbol in symbolic.symbols_in(argument))
    return any(node is not None and node.inputs for node in nodes)


def _output_symbols(node: Node, sources: Iterator[Symbol]) -> Any:
    """Return symbols like the outputs of a node for other inputs."""
    args, kwargs = symbolic.map_structure(
        lambda item: next(sources) if isinstance(item, Symbol) else item, (node.args, node.kwargs)
    )
    if not isinstance(node.operation, Layer):
        return symbolic.infer(node.operation, args, kwargs)
    try:
        return node.operation.output_symbols(args, kwargs)
    except (TypeError, ValueError) as error:
        name_layer(error, node.operation)
        raise


def _flat_inputs(graph: Graph, inputs: Any) -> list[Any]:
    """Return the inputs in the order of the graph's; dictionaries by the names of inputs too."""
    if isinstance(inputs, dict):
        return graph.named_inputs(inputs)
    if _holds_arrays(inputs):
        return symbolic.flatten(inputs)
    expected = graph.input_structure
    are_lists = isinstance(expected, list | tuple) and isinstance(inputs, list | tuple)
    if are_lists and len(expected) == len(inputs) > 1:
        return symbolic.flatten_like(expected, inputs)
    return [inputs]


def _holds_arrays(x: Any) -> bool:
    """Return whether a structure is one of arrays, and not of the numbers of one array."""
    return any(hasattr(item, "shape") for item in symbolic.flatten(x))


def _with_rank(x: Tensor, expected: Shape) -> Tensor:
    """Return a tensor with a last axis of size 1 added or removed, where it then fits."""
    shape = _adapted(x.shape, expected)
    if shape == x.shape:
        return x
    adapted = functions.reshape(x, shape)
    adapted.mask = x.mask
    return adapted


def _adapted(shape: Shape, expected: Shape) -> Shape:
    """Return a shape with a last axis of size 1 added or removed, where it then fits."""
    if len(shape) == len(expected) - 1 and _fits((*shape, 1), expected):
        return (*shape, 1)
    removable = len(shape) == len(expected) + 1 and shape[-1] == 1
    return shape[:-1] if removable and _fits(shape[:-1], expected) else shape


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        want in (None, size) or size is None
        for want, size in zip(expected[1:], shape[1:], strict=True)
    )


def _make_names_unique(layers: list[Layer], model: str) -> None:
    """Number default names that are alike, in the order in which the layers were made, as in Keras.

    Raises:
        ValueError: two layers were given one name.
    """
    given = [layer.name for layer in layers if layer.named_by_user]
    for name in given:
        if given.count(name) > 1:
            raise ValueError(
                f"{model!r} has two layers named {name!r}: give each layer a name= of its own."
            )
    others = [layer for layer in layers if not layer.named_by_user]
    # The names in other models stay.
    others.sort(key=lambda layer: (not layer.named_by_model, layer.serial_number))
    names = numbered((layer.name for layer in others), given)
    for layer, name in zip(others, names, strict=True):
        layer.name, layer.named_by_model = name, True


def leaf_shapes(shape: Any) -> list[Shape]:
    """Return the shapes in a nested structure of shapes, in flat order."""
    if isinstance(shape, dict):
        return [leaf for key in sorted(shape, key=str) for leaf in leaf_shapes(shape[key])]
    if isinstance(shape, list) or (shape and isinstance(shape[0], list | tuple | dict)):
        return [leaf for item in shape for leaf in leaf_shapes(item)]
    return [shape]


def _check_shape(received: Shape, expected: Shape, name: str) -> None:
    if _fits(_adapted(received, expected), expected):
        return
    hint = ": one sample needs the axis of its batch, x[None]" if received == expected[1:] else ""
    raise ValueError(
        f"the model takes samples of shape {expected[1:]}{name}, that is inputs of shape "
        f"{expected}; received {tuple(received)}{hint}."
    )
