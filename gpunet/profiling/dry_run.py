"""Training steps that leave no trace, to compile what they need or to measure them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from gpunet import random
from gpunet.autograd import Array, no_grad
from gpunet.backend import asarray, get_array_module
from gpunet.models.model import Model
from gpunet.training.batches import ArrayBatches, Batch
from gpunet.training.capture.steps import DeviceSteps
from gpunet.training.finite import NonFiniteLossError
from gpunet.training.logs import Scores
from gpunet.training.loops import add_to_scores
from gpunet.training.state import FlatParameters
from gpunet.training.step import step

__all__ = ["DryRun", "dtype_of", "sample_shape", "unchanged"]


def sample_shape(model: Model, x: Any, where: str) -> tuple[int, ...]:
    """Return the shape of one input, once all layers are built for it.

    Arguments:
        model: compiled, of one input and one output.
        x: inputs like those of `fit`, or None.
        where: the function, for messages.

    Raises:
        RuntimeError: the shape is not known.
        ValueError: the model has several inputs or outputs.
    """
    if model._input_count() not in (None, 1) or model._output_count() not in (None, 1):
        raise ValueError(
            f"{where} expects a model of one input and one output, {model.name!r} has "
            f"{model._input_count()} and {model._output_count()}."
        )
    shape: Any = None if x is None else np.shape(x)[1:]
    if shape is None and model.built and model.input_shape is not None:
        shape = model.input_shape[1:]
    if shape is None:
        shape = model.given_input_shape
    if shape is None or None in shape:
        raise RuntimeError(
            f"{where} needs to know the input shape of {model.name!r}, which is "
            f"{'unknown' if shape is None else shape}: give its first layer input_shape= with all "
            f"sizes, or call {where}(model, x=...) with inputs like those of fit."
        )
    model.build((None, *shape))
    model._build_sublayers()
    return shape


def dtype_of(data: Any, model: Model) -> Any:
    """Return the dtype of data, or of the weights if the data have none."""
    return getattr(data, "dtype", model.compute_dtype)


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    """Restore weights, optimizer and random numbers on exit."""
    weights = [(w, w.value, w.grad, w.requires_grad) for w in model.weights]
    laid_out, optimizer, model._parameters = model._parameters, model.optimizer, None
    capture, captured_steps = model.capture, model._captured_steps
    state, generators = random.get_state(), [(g, g.get_state()) for g in model.generators]
    try:
        yield
    finally:
        for weight, value, grad, requires_grad in weights:
            weight.value, weight.grad, weight.requires_grad = value, grad, requires_grad
        model._parameters, model.optimizer, model.capture = laid_out, optimizer, capture
        model._captured_steps = captured_steps
        random.set_state(state)
        for generator, own_state in generators:
            generator.set_state(own_state)


class DryRun:
    """Steps of training as `fit` does them, none of them captured; within `unchanged`.

    Arguments:
        model: compiled and built; it gets copies of all that the steps change.
        x: a batch of inputs, where the weights are.
        y: the targets of the batch; or others like those of `fit`, or None, for zeros.
    """

    def __init__(self, model: Model, x: Array, y: Any) -> None:
        assert model.optimizer is not None
        library = get_array_module(x)
        with no_grad():
            prediction = model(model._as_tensor(x), training=False)
            model._objective.bind(model._output_names(None))
            (loss,) = model._objective.losses
            if y is not None and len(y) == len(x):
                targets = asarray(y, like=x)
            elif y is not None:
                targets = library.zeros((len(x), *np.shape(y)[1:]), dtype_of(y, model))
            elif loss is None:
                targets = library.zeros_like(prediction.value)
            else:
                targets = loss.example_targets(prediction.value)
            model._objective.compute((targets,), [prediction])
        self.model, self.targets = model, targets
        self.scores = Scores(model._objective)
        model.optimizer, model.capture = copy.copy(model.optimizer), False
        with model._as_compiled():
            model._parameters = FlatParameters(model)
        model.optimizer.build_buffer(model._parameters.values, model._parameters.segments)
        # Two batches, so that they are taken from data as those of an epoch are.
        self.data = Batch((x,), (targets,)).map(lambda array: library.concatenate([array, array]))
        self.on_gpu = None if library is np else DeviceSteps(model)

    def step(self) -> None:
        """Do a step, on the first batch of a new order."""
        batches = ArrayBatches(self.data, len(self.targets), shuffle=True)
        with suppress(NonFiniteLossError):  # of numbers that mean nothing
            if self.on_gpu is None:
                state = self.model._state_for_step(None, 0)
                step(state, next(iter(batches)), partial(add_to_scores, state, self.scores))
                return
            with self.on_gpu.epoch(batches), self.on_gpu.running():
                turns = self.on_gpu.turns(batches, one_by_one=True)
                self.on_gpu.take(next(turns), self.scores)
