"""Symbols stand for values that are not computed yet; a call on them is recorded as a node.

A model is a `Graph` of nodes. Whatever looks inside a model (fusion, summary, profiling, saving)
looks at its nodes. Symbols refer to the node that made them and nodes to their input symbols, never
the other way round: a model that is dropped is freed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gpunet.backend import array_module
from gpunet.naming import numbered
from gpunet.structure import flatten, flatten_like, map_structure, pack

__all__ = [
    "Graph", "Node", "Symbol", "flatten", "flatten_like", "infer", "is_symbolic", "map_structure",
    "pack", "record", "symbol_key", "symbols_in",
]  # fmt: skip

Shape = tuple[int | None, ...]

# Sizes that stand for unknown ones, in pairs: an output size that differs within a pair is unknown.
# Larger pairs are tried where an operation refuses smaller ones, as a large window does.
_TRIALS = ((2, 3), (8, 9), (32, 33), (128, 129))


class Symbol:
    """A value to come: its shape and dtype, and the call that returns it.

    Arguments:
        shape: None for each size that is not known yet, as the batch size.
        dtype: of the elements.
        node: the call that returns it; None for a symbol on its own.
        index: which of the outputs of the call it is.
        name: for messages; inputs of a model can be given data by their names.
    """

    __slots__ = ("__weakref__", "dtype", "index", "name", "node", "shape")
    __array_priority__ = 1000  # array + symbol is the symbol's business

    def __init__(
        self,
        shape: Shape,
        dtype: Any = "float32",
        node: Node | None = None,
        index: int = 0,
        name: str = "symbol",
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.node, self.index, self.name = node, index, name

    @property
    def ndim(self) -> int:
        """The number of axes, the batch counted."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Symbol {self.name!r} of shape {self.shape}, {self.dtype}>"

    def _no_value(self, *unused: Any) -> Any:
        raise TypeError(
            f"{self!r} has no value yet, so it cannot be converted, compared or iterated: compute "
            "with layers, operators and gpunet.functions, and call the model on data for values."
        )

    __array__ = __bool__ = __float__ = __int__ = __iter__ = __len__ = _no_value
    __lt__ = __le__ = __gt__ = __ge__ = _no_value


class Node:
    """One call of an operation.

    Attributes:
        operation: a layer, a model or a function.
        args, kwargs: what it was called with; nested structures may contain symbols.
        structure: of its outputs, with the index of each in place of its symbol.
        shapes, dtypes: of its outputs, in flat order.
        inputs: the symbols in `args` and `kwargs`, in order.
        takes_one_symbol: whether one symbol is all that it was called with.
    """

    __slots__ = (
        "args", "dtypes", "inputs", "kwargs", "operation", "shapes", "structure",
        "takes_one_symbol",
    )  # fmt: skip

    def __init__(
        self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.operation: Any = operation
        self.args, self.kwargs = args, kwargs
        self.inputs = symbols_in((args, kwargs))
        self.structure: Any = None
        self.shapes: list[Shape] = []
        self.dtypes: list[Any] = []
        self.takes_one_symbol = len(args) == 1 and not kwargs and type(args[0]) is Symbol

    @property
    def name(self) -> str:
        """The name of the operation."""
        name = getattr(self.operation, "name", None) or getattr(self.operation, "__name__", "call")
        return str(name).lstrip("_")

    def symbols(self) -> list[Symbol]:
        """Return new symbols of its outputs, in flat order."""
        pairs = enumerate(zip(self.shapes, self.dtypes, strict=True))
        return [Symbol(shape, dtype, self, i, self.name) for i, (shape, dtype) in pairs]

    def call(self, values: Iterator[Any]) -> Any:
        """Call the operation with values in place of its input symbols, in order."""
        if self.takes_one_symbol:
            return self.operation(next(values))
        args, kwargs = map_structure(
            lambda item: next(values) if isinstance(item, Symbol) else item,
            (self.args, self.kwargs),
        )
        return self.operation(*args, **kwargs)


class Graph:
    """The calls that lead from some symbols to others.

    Arguments:
        inputs: a symbol, or a nested structure of symbols.
        outputs: likewise; each must follow from the inputs.

    Attributes:
        nodes: the calls, each after those that it depends on.
        inputs, outputs: the symbols, as flat lists.
        input_structure, output_structure: as given.
        input_names, output_names: of the operations, numbered where several have one name.

    Raises:
        TypeError: something else than symbols is given.
        ValueError: an input is given twice, or an output needs an input that is not given.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.input_structure, self.output_structure = inputs, outputs
        self.inputs, self.outputs = flatten(inputs), flatten(outputs)
        for argument, symbols in (("inputs", self.inputs), ("outputs", self.outputs)):
            _check_symbols(argument, symbols)
        if len({symbol_key(symbol) for symbol in self.inputs}) < len(self.inputs):
            names = ", ".join(repr(symbol.name) for symbol in self.inputs)
            raise ValueError(
                f"inputs must name each Input once, received {names}: give each input of the model "
                "a symbol, Input(...), of its own."
            )
        self.nodes = self._order()
        self.cache: Any = None  # what fusion finds out about the graph
        self.set_names()

    def set_names(self) -> None:
        """Name inputs and outputs after their operations as these are called now."""
        self.input_names = _unique_names(self.inputs)
        self.output_names = _unique_names(self.outputs)

    def named_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Return the values of a dictionary in the order of the inputs.

        Arguments:
            values: by the names of the inputs, or by the keys that they were given with.

        Raises:
            ValueError: an input is missing.
        """
        structure, names = self.input_structure, list(self.input_names)
        keys = list(structure) if isinstance(structure, dict) else names
        if keys is not names and not set(keys) - values.keys():
            return flatten_like(structure, values)
        if not set(names) - values.keys():
            return [values[name] for name in names]
        if len(names) == len(values) == 1:
            return list(values.values())
        missing = [key for key in keys if key not in values]
        raise ValueError(
            f"there is no input {missing[0]!r}: expected a dictionary with the inputs {keys}, "
            f"received {list(values)}."
        )

    def _order(self) -> list[Node]:
        """Return the nodes between inputs and outputs, each after those that it depends on."""
        given = {symbol_key(symbol) for symbol in self.inputs}
        ordered: list[Node] = []
        done: set[int] = set()
        waiting = list(reversed(self.outputs))
        while waiting:
            symbol = waiting[-1]
            node = symbol.node
            if symbol_key(symbol) in given or (node is not None and id(node) in done):
                waiting.pop()
                continue
            if node is None or not node.inputs:
                raise ValueError(
                    f"outputs depend on {symbol.name!r} of shape {symbol.shape}, which is not "
                    "among the inputs of the model: add it to inputs, or compute the outputs from "
                    "the inputs alone."
                )
            pending = [
                source
                for source in node.inputs
                if symbol_key(source) not in given
                and (source.node is None or id(source.node) not in done)
            ]
            if pending:
                waiting += reversed(pending)
                continue
            done.add(id(node))
            ordered.append(node)
            waiting.pop()
        return ordered

    def __getstate__(self) -> dict[str, Any]:
        """Return the nodes as a flat list: a copy of nodes within nodes would recurse deeply."""
        places = {symbol_key(symbol): _Place(i) for i, symbol in enumerate(self.inputs)}
        inputs = [_without_sources(symbol) for symbol in self.inputs]
        calls = []
        for node in self.nodes:
            arguments = _with_symbols(lambda x: places[symbol_key(x)], (node.args, node.kwargs))
            calls.append((node.operation, arguments, node.structure, node.shapes, node.dtypes))
            for index in range(len(node.shapes)):
                places[id(node), index] = _Place(len(places))
        outputs = [places[symbol_key(symbol)] for symbol in self.outputs]
        structures = (
            pack(self.input_structure, range(len(inputs))), pack(self.output_structure, outputs),
        )  # fmt: skip
        names = self.input_names, self.output_names
        return {"inputs": inputs, "calls": calls, "structures": structures, "names": names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        symbols, self.nodes, self.cache = list(state["inputs"]), [], None
        self.inputs = list(symbols)
        for operation, arguments, structure, shapes, dtypes in state["calls"]:
            node = Node(operation, *_at_places(symbols, arguments))
            node.structure, node.shapes, node.dtypes = structure, shapes, dtypes
            self.nodes.append(node)
            symbols += node.symbols()
        self.input_names, self.output_names = state["names"]
        inputs, outputs = state["structures"]
        self.input_structure = pack(inputs, self.inputs)
        self.output_structure = _at_places(symbols, outputs)
        self.outputs = flatten(self.output_structure)

    @property
    def operations(self) -> list[Any]:
        """The operations of the inputs and the nodes, each once, in Keras' order.

        That is by depth, the most calls that lead from an operation to an output, from the deepest
        on; of one depth, as they are met on the way back from the outputs. So the weights of a
        model are those of Keras' model in order.
        """
        sources = [symbol.node for symbol in self.inputs if symbol.node is not None]
        # An input that is an output of another graph stands for data, not for its operation.
        nodes = [*(node for node in sources if not node.inputs), *self.nodes]
        depths: dict[int, int] = {}  # of nodes
        found: dict[int, int] = {}  # of operations
        for node in reversed(nodes):
            key = id(node.operation)
            found[key] = depth = max(depths.get(id(node), 0), found.get(key, 0))
            for symbol in node.inputs:
                if symbol.node is not None:
                    depths[id(symbol.node)] = max(depth + 1, depths.get(id(symbol.node), 0))
        places = self._places()
        operations = {id(node.operation): node.operation for node in nodes}
        # An input that no output needs comes before what it stands beside.
        return sorted(operations.values(), key=lambda o: (-found[id(o)], places.get(id(o), -1)))

    def _places(self) -> dict[int, int]:
        """Return the place of each operation on the way back from the outputs, by its id."""
        given = {symbol_key(symbol) for symbol in self.inputs}
        places: dict[int, int] = {}
        done: set[int] = set()
        waiting = list(reversed(self.outputs))
        while waiting:
            symbol = waiting.pop()
            node = symbol.node
            if node is None or id(node) in done or (node.inputs and symbol_key(symbol) in given):
                continue
            done.add(id(node))
            places.setdefault(id(node.operation), len(places))
            waiting += reversed(node.inputs)
        return places


class _Place:
    """The position of a symbol in the flat list of a graph's inputs and outputs of nodes."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


def _at_places(symbols: list[Symbol], structure: Any) -> Any:
    """Return a structure with symbols in place of their positions."""
    return map_structure(lambda x: symbols[x.position] if isinstance(x, _Place) else x, structure)


def _without_sources(symbol: Symbol) -> Symbol:
    """Return an input as it is, or apart from the calls that it depends on in another graph."""
    if symbol.node is None or not symbol.node.inputs:
        return symbol
    return Symbol(symbol.shape, symbol.dtype, name=symbol.name)


def _unique_names(symbols: list[Symbol]) -> tuple[str, ...]:
    return tuple(numbered(s.name if s.node is None else s.node.name for s in symbols))


def _check_symbols(argument: str, symbols: list[Any]) -> None:
    if not symbols:
        raise ValueError(f"{argument} must contain at least one symbol, received none.")
    for symbol in symbols:
        if not isinstance(symbol, Symbol):
            raise TypeError(
                f"{argument} must be symbols, received {type(symbol).__name__}: start with "
                "x = Input(shape) and pass what layers return when called on x."
            )


def symbol_key(symbol: Symbol) -> tuple[int, int]:
    """Return what identifies a symbol: its node and index, or itself if it has no node."""
    return (id(symbol.node), symbol.index) if symbol.node is not None else (id(symbol), 0)


def is_symbolic(args: Iterable[Any], kwargs: dict[str, Any]) -> bool:
    """Return whether a symbol is among the arguments of a call, lists of symbols included."""
    for item in args:
        if isinstance(item, Symbol):
            return True
        if isinstance(item, list | tuple | dict) and symbols_in(item):
            return True
    return bool(kwargs) and bool(symbols_in(list(kwargs.values())))


def _with_symbols(function: Callable[[Symbol], Any], structure: Any) -> Any:
    """Return a structure with ``function(symbol)`` in place of each symbol."""
    return map_structure(lambda x: function(x) if isinstance(x, Symbol) else x, structure)


def symbols_in(structure: Any) -> list[Symbol]:
    """Return the symbols in a nested structure, in order."""
    return [item for item in flatten(structure) if isinstance(item, Symbol)]


def record(
    operation: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    outputs: Any = None,
) -> Any:
    """Record a call on symbols; return the symbols of its outputs.

    Arguments:
        operation: a layer, a model or a function.
        args, kwargs: of the call.
        outputs: what it would return: objects with shape and dtype, in a nested structure; by
            default found by calling it on zeros.
    """
    node = Node(operation, args, kwargs)
    if outputs is None:
        outputs = infer(operation, args, kwargs)
    leaves = flatten(outputs)
    node.structure = pack(outputs, range(len(leaves)))
    node.shapes, node.dtypes = [x.shape for x in leaves], [x.dtype for x in leaves]
    return pack(outputs, node.symbols())


def infer(operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return symbols, without a node, like the outputs of a call on symbols.

    The operation is called on zeros twice, with different sizes for those that are not known: sizes
    of the outputs that differ are not known either.
    """
    error: Exception | None = None
    for sizes in _TRIALS:
        try:
            first, second = (_call_on_zeros(operation, args, kwargs, size) for size in sizes)
        except (TypeError, ValueError) as problem:
            error = error or problem
            continue
        pairs = zip(flatten(first), flatten(second), strict=True)
        return pack(first, [_common(one, other) for one, other in pairs])
    assert error is not None
    raise error


def _call_on_zeros(
    operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], size: int
) -> Any:
    def zeros(symbol: Symbol) -> Any:
        shape = [size if s is None else s for s in symbol.shape]
        return array_module().zeros(shape, symbol.dtype)

    new_args, new_kwargs = _with_symbols(zeros, (args, kwargs))
    return operation(*new_args, **new_kwargs)


def _common(one: Any, other: Any) -> Symbol:
    sizes = zip(one.shape, other.shape, strict=True)
    return Symbol(tuple(a if a == b else None for a, b in sizes), one.dtype)
