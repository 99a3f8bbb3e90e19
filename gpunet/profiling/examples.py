"""A batch to measure a model with: of given data, or zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import positive_integer
from gpunet.autograd import Array
from gpunet.backend import array_module, asarray, get_array_module
from gpunet.layers.layer import _map_shapes
from gpunet.losses import Loss
from gpunet.models.model import Model
from gpunet.symbolic import Symbol, flatten, map_structure
from gpunet.training.adapter import DataAdapter
from gpunet.training.batches import Batch

__all__ = ["example_batch"]


def example_batch(model: Model, x: Any, y: Any, size: int, where: str) -> tuple[Batch, Any]:
    """Return a batch as `fit` would train on, where the weights are, and its inputs' structure.

    The model is built for it.

    Arguments:
        model: compiled.
        x: inputs like those of `fit`, repeated or cut to the batch size; None for zeros.
        y: targets likewise; None for zeros of the predictions' shapes.
        size: samples in the batch.
        where: the function, for messages.

    Raises:
        RuntimeError: the model is not compiled; or there is no x, and it does not know its shapes.
        TypeError, ValueError: as from `fit` for data that do not fit; or it is no model.
    """
    if not isinstance(model, Model):
        raise TypeError(f"{where} expects a model, received {type(model).__name__}.")
    positive_integer(size, "batch_size", where)
    model._check_compiled(where)
    adapter = DataAdapter(model, where, with_targets=y is not None)
    data = adapter.flatten(_zeros(model, size, where) if x is None else x, y)
    if x is not None:
        adapter._check_lengths(data)
    # The first rows, repeated where there are fewer.
    batch = adapter.prepare(data.map(lambda array: array[np.arange(size) % len(array)]))
    model._build_sublayers()
    weights = model.weights
    library = get_array_module(weights[0].value) if weights else array_module()
    batch = batch.map(lambda array: asarray(array, like=library.zeros(0)))
    if y is None:
        batch = batch._replace(targets=_targets(model, batch, adapter.structure))
    return batch, adapter.structure


def _zeros(model: Model, size: int, where: str) -> Any:
    """Return zeros for the inputs of a model, in their structure."""
    symbols = _inputs(model)
    shapes = [symbol.shape[1:] for symbol in flatten(symbols) if symbol is not None]
    if not shapes or any(None in shape for shape in shapes):
        known = shapes[0] if len(shapes) == 1 else shapes or "unknown"
        raise RuntimeError(
            f"{where} needs to know the input shape of {model.name!r}, which is {known}: give its "
            f"first layer input_shape= with all sizes, or call {where}(model, x=...) with inputs "
            "like those of fit."
        )

    def zeros(symbol: Symbol) -> Array:
        dtype = symbol.dtype if symbol.dtype.kind in "biu" else model.compute_dtype
        return np.zeros((size, *symbol.shape[1:]), dtype)

    return map_structure(zeros, symbols)


def _inputs(model: Model) -> Any:
    """Return symbols of the inputs of a model, None where their shapes are not known."""
    if model.graph is not None:
        return model.graph.input_structure
    given = model.given_input_shape
    shape = model.input_shape if given is None else (None, *given)
    return None if shape is None else _map_shapes(Symbol, shape)


def _targets(model: Model, batch: Batch, structure: Any) -> tuple[Array, ...]:
    """Return valid targets for each output of a model."""
    outputs, objective = model._outputs_for(structure, batch.inputs), model._objective
    objective.bind(outputs.names)
    xp = get_array_module(batch.inputs[0])
    targets = []
    for loss, shape in zip(objective.losses, outputs.shapes, strict=True):
        predictions = xp.zeros((batch.size, *shape[1:]), model.compute_dtype)
        targets.append((loss or Loss()).example_targets(predictions))
    return tuple(targets)
