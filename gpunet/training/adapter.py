"""Convert the data of `fit`, `evaluate` and `predict` to checked batches of arrays."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from numbers import Real
from typing import Any, NamedTuple

from gpunet.arguments import plain, positive_integer
from gpunet.autograd import Array
from gpunet.losses.targets import as_column
from gpunet.symbolic import flatten, flatten_like, pack
from gpunet.training.arrays import as_array, check_lengths, check_numbers, class_weights
from gpunet.training.batches import ArrayBatches, Batch, Batches, IterableBatches

__all__ = ["DataAdapter", "Keys", "Outputs", "check_names", "is_data", "unpack"]


class Keys(tuple[str, ...]):
    """The names of outputs that come in a dictionary."""

    __slots__ = ()


class Outputs(NamedTuple):
    """The outputs of a model."""

    names: tuple[str, ...]  # as in ``loss={"name": ...}``
    shapes: tuple[tuple[int | None, ...], ...]  # the first size, of the batch, is None


def unpack(data: Any, *, with_targets: bool = False) -> tuple[Any, Any, Any]:
    """Return x, y and sample_weight of a batch, None for those that it does not have.

    >>> unpack((1, 2))
    (1, 2, None)
    """
    is_several = isinstance(data, tuple | list)
    if not (is_several or with_targets):
        return data, None, None
    if not is_several or not 1 + with_targets <= len(data) <= 3:
        size = f" of {len(data)}" if hasattr(data, "__len__") else ""
        raise ValueError(
            f"expected a pair (x, y), or (x, y, sample_weight), received {type(data).__name__}"
            f"{size}."
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


class DataAdapter:
    """Convert data to batches for a model.

    Arguments:
        model: a `gpunet.models.Model`; it is built for the first data.
        where: the calling method, for messages.
        role: the words for the data in messages, such as "training data".
        with_targets: False where x comes alone.
        class_weight: the weights of the samples of each class; None for 1.

    Attributes:
        structure: of the last inputs, with 0, 1 ... in place of the arrays.
    """

    def __init__(
        self,
        model: Any,
        where: str,
        role: str = "data",
        *,
        with_targets: bool = True,
        class_weight: dict[int, float] | None = None,
    ) -> None:
        self.model, self.where, self.role, self.with_targets = model, where, role, with_targets
        self.class_weight = class_weight
        self.structure: Any = 0
        self._input_names = ["x"]
        self._target_names: list[str] | None = None  # of targets given as a dictionary
        self._weight_names: list[str] | None = None

    # Batches

    def batches(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        *,
        shuffle: bool = False,
        whole: bool = False,
    ) -> Batches:
        """Return the batches of arrays or of an iterable, checked as far as can be beforehand.

        Arguments:
            x, y, sample_weight: arrays with one row a sample, or nested structures of them; or in
                x an iterable of batches, or all that `split` returned.
            batch_size: samples in a batch, 32 by default; an iterable sets it itself. By default
                evaluations and predictions may join batches.
            steps: batches in an epoch, all by default.
            shuffle: whether the rows of arrays, and the batches of a `PyDataset`, come in a new
                order in each epoch.
            whole: whether arrays are one batch.
        """
        if steps is not None:
            positive_integer(steps, "the number of steps", self.where)
        if not isinstance(x, Batch) and self._is_iterable_of_batches(x, y):
            self._check_alone(batch_size, sample_weight)
            return IterableBatches(x, steps, self, shuffle=shuffle)
        data = x if isinstance(x, Batch) else self.flatten(x, y, sample_weight)
        free = batch_size is None
        size = 32 if free else positive_integer(batch_size, "batch_size", self.where)
        size = data.size if whole else size
        data = self.prepare(data, size)
        return ArrayBatches(
            data, size, shuffle=shuffle, steps=steps, free=free, structure=self.structure
        )

    def batch_of(self, item: Any) -> Batch:
        """Return the batch that an iterable yielded, checked."""
        if self.with_targets:
            return self.prepare(self.flatten(*unpack(item, with_targets=True)))
        if isinstance(item, tuple) or (isinstance(item, list) and _has_arrays(item)):
            item = item[0]  # the targets, where there are any, are not used
        return self.prepare(self.flatten(item))

    def _is_iterable_of_batches(self, x: Any, y: Any) -> bool:
        """Return whether x yields batches, rather than being data of its own."""
        if hasattr(x, "shape") or y is not None or isinstance(x, dict):
            return False
        if not (hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))):
            return False
        # Inputs and rows come in lists too: only without targets must it be a list of batches.
        return self.with_targets or not isinstance(x, list | tuple)

    def _check_alone(self, batch_size: Any, sample_weight: Any) -> None:
        if batch_size is not None:
            raise ValueError(
                f"{self.where}: an iterable of batches sets their size itself, "
                f"received batch_size={batch_size}: leave it out."
            )
        if sample_weight is not None:
            raise ValueError(
                f"{self.where}: an iterable yields its sample weights itself, as "
                "(x, y, sample_weight): leave sample_weight= out."
            )

    def split(
        self, x: Any, y: Any, sample_weight: Any, validation_split: Any
    ) -> tuple[Batch, Batch]:
        """Return the samples to train on, and the last share of them, to validate with."""
        if y is None:
            raise ValueError("validation_split needs arrays x and y: pass validation_data instead.")
        data = self.flatten(x, y, sample_weight)
        self._check_lengths(data)
        share = plain(validation_split)
        if not isinstance(share, Real) or not 0 < float(share) < 1:
            raise ValueError(
                f"validation_split must be a number above 0 and below 1, received "
                f"{validation_split!r}: it is the share of the samples, taken from the end, that "
                "is kept for validation."
            )
        kept = math.floor(data.size * (1 - float(share)))
        if kept in (0, data.size):
            raise ValueError(
                f"validation_split={validation_split} of {data.size} samples leaves none to "
                f"{'train on' if kept == 0 else 'validate with'}."
            )
        held_out = data.map(lambda array: array[kept:])
        if self.class_weight is not None:
            held_out = held_out._replace(weights=())  # these are for training
        return data.map(lambda array: array[:kept]), held_out

    def renamed(self, where: str, role: str) -> DataAdapter:
        """Return an adapter for data of the same structure, such as those of `split`."""
        other = copy.copy(self)
        other.where, other.role = where, role
        return other

    # Flat arrays

    def flatten(self, x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
        """Return the arrays in x, y and sample_weight; they are not checked against the model."""
        if self.with_targets and y is None:
            raise ValueError(
                f"{self.where}: expected targets y beside the inputs x, received none. "
                "Only an iterable of batches (x, y) comes without."
            )
        inputs = self._flat_inputs(x)
        targets: tuple[Array | None, ...] = ()
        if self.with_targets:
            targets, self._target_names = _flat(y, "y", self.model._output_count())
        weights: tuple[Any, ...] = ()
        if sample_weight is not None:
            count = self.model._output_count()
            weights, self._weight_names = _flat(sample_weight, "sample_weight", count)
        if self.class_weight is not None:
            if sample_weight is not None or len(targets) != 1:
                raise ValueError(
                    f"{self.where}: class_weight is for a model of one output, and cannot be used "
                    "together with sample_weight."
                )
            weights = (class_weights(targets[0], self.class_weight),)
        return Batch(inputs, targets, weights)

    def _flat_inputs(self, x: Any) -> tuple[Array, ...]:
        graph, count = self.model.graph, self.model._input_count()
        if isinstance(x, dict):
            return self._named_inputs(x, graph)
        given = None if graph is None else graph.input_structure
        width = len(given) if isinstance(given, list | tuple) else count
        if not (isinstance(x, list | tuple) and (_has_arrays(x) or width == len(x) > 1)):
            return self._arrays(0, {"x": x})
        if width not in (None, len(x)):
            raise ValueError(
                f"x is a {type(x).__name__} of {len(x)} arrays, that is {len(x)} inputs; "
                f"{self.model.name!r} takes {width}: "
                + ("for rows of one input pass numpy.stack(x)." if width == 1 else "pass as many.")
            )
        if count == 1:
            return self._arrays(0, {"x": x[0]})
        if given is None:
            given, leaves = x, flatten(x)
        else:
            leaves = list(x) if isinstance(given, dict) else self._leaves(flatten_like, given, x)
        return self._arrays(given, {f"x[{i}]": leaf for i, leaf in enumerate(leaves)})

    def _arrays(self, structure: Any, named: dict[str, Any]) -> tuple[Array, ...]:
        """Return inputs as arrays; keep their structure, and their names for messages."""
        arrays = tuple(as_array(data, name) for name, data in named.items())
        self.structure = 0 if structure == 0 else pack(structure, range(len(named)))
        self._input_names = list(named)
        return arrays

    def _named_inputs(self, x: dict[str, Any], graph: Any) -> tuple[Array, ...]:
        if not x or (graph is None and self.model._input_count() == 1):
            raise ValueError(
                f"x is a dictionary with keys {list(x)}, expected one array for {self.model.name!r}"
            )
        if graph is None:
            names = sorted(x, key=str)
            leaves, template = [x[name] for name in names], dict.fromkeys(names)
        else:
            template = graph.input_structure
            flat = isinstance(template, dict) and len(template) == len(graph.inputs)
            names = sorted(template, key=str) if flat else graph.input_names
            leaves = self._leaves(graph.named_inputs, x)
        pairs = zip(names, leaves, strict=True)
        return self._arrays(template, {f"x[{name!r}]": leaf for name, leaf in pairs})

    def _leaves(self, flat: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
        """Return ``flat(*arguments)``, with the model in the message of an error."""
        try:
            return flat(*arguments)
        except ValueError as error:
            message = f"x does not fit the inputs of {self.model.name!r}: {error}"
            raise ValueError(message) from None

    # Checks

    def prepare(self, data: Batch, batch_size: int | None = None) -> Batch:
        """Return a batch as the model takes it, after building the model for it if need be.

        One axis of size 1 at the end of inputs, where the model was given their shape, and of
        targets is put in if it is missing.

        Raises:
            ValueError: the data do not fit each other or the model; it is left as it was.
        """
        inputs = tuple(map(self._with_channel, range(len(data.inputs)), data.inputs))
        self._check_lengths(Batch(inputs, data.targets))
        model, dtype = self.model, self.model.compute_dtype
        for i, array in enumerate(inputs):
            check_numbers(
                array, self._input_names[i], dtype, finite=self.with_targets, batch_size=batch_size
            )
        if not self.with_targets:
            model._build_for(self.structure, inputs)
            return Batch(inputs)
        outputs = model._outputs_for(self.structure, inputs)
        targets = _arranged(data.targets, self._target_names, outputs.names, "y")
        pairs = zip(targets, outputs.shapes, strict=True)
        targets = tuple(y if y is None else as_column(y, (len(y), *s[1:])) for y, s in pairs)
        for array in targets:
            if array is not None:
                check_numbers(array, "y", dtype, finite=False, batch_size=batch_size)
        model._objective.check_targets(targets, outputs)
        return Batch(inputs, targets, self._weights_for(data, outputs))

    def _check_lengths(self, data: Batch) -> None:
        named = dict(zip(self._input_names, data.inputs, strict=True))
        many = len(data.targets) > 1
        for i, array in enumerate(data.targets):
            if array is not None:
                named[f"y[{i}]" if many else "y"] = array
        check_lengths(named)

    def _with_channel(self, position: int, array: Array) -> Array:
        """Return images of one channel, and samples of one number, with an axis for it."""
        shapes = self.model._given_shapes()
        if shapes is None or position >= len(shapes) or shapes[position] is None:
            return array
        given = tuple(shapes[position])
        if given[-1:] == (1,) and array.ndim == len(given):
            sizes = zip(given[:-1], array.shape[1:], strict=True)
            if all(expected in (None, size) for expected, size in sizes):
                return array[..., None]
        return array

    def _weights_for(self, data: Batch, outputs: Outputs) -> tuple[Array | None, ...]:
        if not data.weights:
            return ()
        count = len(outputs.names)
        weights = data.weights
        if len(weights) == 1 and self._weight_names is None:
            weights = weights * count
        weights = _arranged(weights, self._weight_names, outputs.names, "sample_weight")
        for array in weights:
            if array is not None:
                check_lengths({"x": data.inputs[0], "sample_weight": array})
                check_numbers(array, "sample_weight", self.model.compute_dtype)
        return weights


def _has_arrays(items: Any) -> bool:
    return any(getattr(item, "ndim", 0) > 0 or isinstance(item, dict) for item in items)


def _flat(
    data: Any, argument: str, count: int | None
) -> tuple[tuple[Array | None, ...], list[str] | None]:
    """Return arrays, and their names if they came in a dictionary."""
    if isinstance(data, dict):
        names = sorted(data, key=str)
        return tuple(_leaf(data[name], f"{argument}[{name!r}]") for name in names), names
    if isinstance(data, list | tuple) and data and (_has_arrays(data) or count == len(data) > 1):
        if len(data) == 1:
            return (as_array(data[0], argument),), None
        return tuple(_leaf(item, f"{argument}[{i}]") for i, item in enumerate(data)), None
    return (as_array(data, argument),), None


def _leaf(data: Any, argument: str) -> Array | None:
    return None if data is None else as_array(data, argument)


def _arranged(
    arrays: tuple[Array | None, ...], given: list[str] | None, names: tuple[str, ...], argument: str
) -> tuple[Array | None, ...]:
    """Return arrays in the order of the outputs."""
    if given is not None:
        check_names(argument, given, names)
        if len(names) == 1:
            return arrays
        by_name = dict(zip(given, arrays, strict=True))
        return tuple(by_name.get(name) for name in names)
    if len(arrays) != len(names):
        hint = "for rows of one output pass numpy.stack(y)." if len(names) == 1 else "give each."
        raise ValueError(
            f"{argument} is a list of {len(arrays)} arrays, and the model has {len(names)} "
            f"output{'s' * (len(names) > 1)}: {hint}"
            if len(arrays) > 1
            else f"{argument} is one array, and the model has {len(names)} outputs, "
            f"{list(names)}: give a list or a dictionary with one for each."
        )
    return arrays


def check_names(argument: str, given: Collection[str], names: Sequence[str]) -> None:
    """Raise `ValueError` unless the keys of a dictionary are names of outputs; one has any name."""
    unknown = [name for name in given if name not in names]
    if (unknown and len(names) > 1) or len(given) > len(names):
        raise ValueError(
            f"{argument} has a key {(unknown or list(given))[0]!r}, expected the names of outputs, "
            f"{list(names)}."
        )


def is_data(validation_data: Any) -> bool:
    """Return whether validation data are ``(x, y)`` or ``(x, y, sample_weight)``.

    Else they are an iterable of such batches; so are lists of pairs of arrays.
    """
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        return False
    if isinstance(validation_data, tuple):
        return True
    return not all(isinstance(part, tuple | list) and _has_arrays(part) for part in validation_data)
