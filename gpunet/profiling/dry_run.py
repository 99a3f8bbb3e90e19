"""Training steps that leave no trace, to compile what they need or to measure them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import random
from gpunet.autograd import no_grad
from gpunet.backend import get_array_module
from gpunet.models.model import Model
from gpunet.training.batches import ArrayBatches, Batch
from gpunet.training.capture.steps import DeviceSteps
from gpunet.training.finite import NonFiniteLossError
from gpunet.training.logs import Scores, fresh_metrics
from gpunet.training.loops import add_to_scores
from gpunet.training.state import FlatParameters
from gpunet.training.step import evaluate_batch, step

__all__ = ["DryRun", "unchanged"]


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    """Restore weights, optimizer, metrics and random numbers on exit."""
    weights = [(w, w.value, w.grad, w.requires_grad) for w in model.weights]
    laid_out, optimizer, model._parameters = model._parameters, model.optimizer, None
    capture, captured_steps = model.capture, model._captured_steps
    rewind = random.rewinding(model.generators)
    try:
        with fresh_metrics(model, restore=True):
            yield
    finally:
        for weight, value, grad, requires_grad in weights:
            weight.value, weight.grad, weight.requires_grad = value, grad, requires_grad
        model._parameters, model.optimizer, model.capture = laid_out, optimizer, capture
        model._captured_steps = captured_steps
        rewind()


class DryRun:
    """Steps of training as `fit` does them, none of them captured; within `unchanged`.

    Arguments:
        model: compiled and built; it gets copies of all that the steps change.
        batch: as the model takes it, where the weights are.
        structure: of the inputs, with 0, 1 ... in place of the arrays.
    """

    def __init__(self, model: Model, batch: Batch, structure: Any) -> None:
        assert model.optimizer is not None
        self.model, self.batch, self.structure = model, batch, structure
        self.library: ModuleType = get_array_module(batch.inputs[0])
        model.optimizer, model.capture = copy.copy(model.optimizer), False
        with model._as_compiled():
            parameters = model._parameters = FlatParameters(model)
        model.optimizer.build_buffer(parameters.values, parameters.segments, parameters.trainable)
        self.scores = Scores(model._objective)
        # Two batches, so that they are taken from data as those of an epoch are.
        self._data = batch.map(lambda array: self.library.concatenate([array, array]))
        self._own_steps = model._defines("train_step")
        on_cpu = self.library is np or self._own_steps
        self._on_gpu = None if on_cpu else DeviceSteps(model)

    def evaluate(self) -> None:
        """Compute predictions, loss and metrics of the batch."""
        if not self._own_steps:
            state = self.model._state_for_evaluation(self.structure)
            with no_grad():
                add_to_scores(state, self.scores, evaluate_batch(state, self.batch))

    def step(self) -> None:
        """Do a step, on the first batch of a new order."""
        batches = ArrayBatches(self._data, self.batch.size, shuffle=True, structure=self.structure)
        with suppress(NonFiniteLossError), self.scores.active():  # of numbers that mean nothing
            if self._own_steps:
                self.model.train_step(self.model._data(next(iter(batches)), batches))
            elif self._on_gpu is None:
                state = self.model._state_for_step(None, self.structure)
                step(state, next(iter(batches)), partial(add_to_scores, state, self.scores))
            else:
                with self._on_gpu.epoch(batches), self._on_gpu.running():
                    turns = self._on_gpu.turns(batches, one_by_one=True)
                    self._on_gpu.take(next(turns), self.scores)
