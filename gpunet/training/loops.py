"""The loops over batches: an epoch of training, an evaluation, a prediction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.autograd import no_grad
from gpunet.backend import asarray
from gpunet.callbacks import CallbackList
from gpunet.losses import LossFunctionWrapper
from gpunet.metrics import MeanMetricWrapper
from gpunet.primitives.precision import use_precision
from gpunet.training.batches import ArrayBatches, Batches
from gpunet.training.logs import Scores
from gpunet.training.memory import memory_for
from gpunet.training.step import NonFiniteLossError, holding_interrupts_back

if TYPE_CHECKING:
    from gpunet.models.model import Model
    from gpunet.training.capture.steps import DeviceSteps

__all__ = ["evaluate", "predict", "train_epoch"]


def train_epoch(
    model: Model, epoch: int | None, batches: Batches, listeners: CallbackList
) -> dict[str, float]:
    """Do the steps of an epoch, or those until a callback stops; return the loss and metrics.

    Arguments:
        model: compiled.
        epoch: its number, for messages; None if there is but one batch.
        batches: of the epoch.
        listeners: what is told.
    """
    scores = Scores(model.metrics)
    steps = model._device_steps()
    train = partial(_train_on_cpu, model) if steps is None else partial(_train_on_gpu, steps)
    with holding_interrupts_back(), use_precision(model.precision):
        try:
            train(batches, listeners, scores)
        except NonFiniteLossError as error:
            if epoch is not None:
                error.args = (f"Epoch {epoch + 1}, batch {error.batch}: {error.args[0]}",)
            raise
    return scores.logs()


def _train_on_cpu(model: Model, batches: Batches, listeners: CallbackList, scores: Scores) -> None:
    tell = listeners.wants_train_batches
    for step, (x, y) in enumerate(batches):
        if tell:
            listeners.on_train_batch_begin(step)
        try:
            model._train_on(x, y, scores)
        except NonFiniteLossError as error:
            error.batch = step + 1
            raise
        if tell:
            listeners.on_train_batch_end(step, scores.logs() | {"size": len(x)})
        if model.stop_training:
            break


def _train_on_gpu(
    steps: DeviceSteps, batches: Batches, listeners: CallbackList, scores: Scores
) -> None:
    tell, step = listeners.wants_train_batches, 0
    with steps.epoch():
        turns = steps.turns(batches, one_by_one=tell)
        while not (step and steps.model.stop_training):
            with steps.running():
                turn = next(turns, None)
            if turn is None:
                break
            if tell:
                listeners.on_train_batch_begin(step)
            with steps.running(), memory_for(turn.size):
                if listeners.wants_each_train_batch:
                    steps.see_settings()
                steps.take(turn, scores)
            step += turn.steps
            if tell:
                steps.read(scores)
                listeners.on_train_batch_end(step - 1, scores.logs() | {"size": turn.size})
        steps.read(scores)


def evaluate(model: Model, batches: Batches, listeners: CallbackList) -> dict[str, float]:
    """Return the loss and the metrics on all batches."""
    assert model.loss is not None
    scores = Scores(model.metrics)
    by_sample = all(_is_by_sample(score) for score in (model.loss, *model.metrics))
    joined = 0 if listeners.wants_each_test_batch or not by_sample else model._samples_at_once()
    tell, step = listeners.wants_test_batches, 0
    listeners.on_test_begin()
    for x, y, sizes in batches.joined(joined):
        if tell:
            listeners.on_test_batch_begin(step)
        with no_grad(), memory_for(len(x)), use_precision(model.precision):
            prediction = model(model._as_input(x), training=False)
            y = asarray(y, like=prediction.value)
            scores.add(y, prediction.value, model.loss(y, prediction).value)
        if tell:
            logs = scores.logs()
            for size in sizes:
                listeners.on_test_batch_end(step, logs | {"size": size})
                step += 1
    listeners.on_test_end(scores.logs())
    return scores.logs()


def _is_by_sample(score: Any) -> bool:
    """Return whether a loss or metric is one of gpunet's, to which it is all one what a batch is.

    Others may compare the samples of a batch with each other.
    """
    if not getattr(score, "averages_samples", True):
        return False
    if type(score) in (LossFunctionWrapper, MeanMetricWrapper):
        return _is_by_sample(score.function)
    return str(getattr(score, "__module__", "")).startswith("gpunet.")


def predict(model: Model, batches: Batches, listeners: CallbackList) -> np.ndarray:
    """Return the outputs for all batches, one row a sample."""
    joined = 0 if listeners.wants_each_predict_batch else model._samples_at_once()
    rows, step = _Rows(batches.samples if isinstance(batches, ArrayBatches) else None), 0
    listeners.on_predict_begin()
    for x, _, sizes in batches.joined(joined):
        listeners.on_predict_batch_begin(step)
        outputs = rows.add(model.predict_on_batch(x), len(x))
        for size in sizes:
            part, outputs = outputs[:size], outputs[size:]
            listeners.on_predict_batch_end(step, {"outputs": part, "size": size})
            step += 1
    listeners.on_predict_end()
    return rows.all()


class _Rows:
    """The outputs of batches below one another: in one array from the start, if that is possible.

    Arguments:
        samples: how many rows there will be, None where that is not known.
    """

    def __init__(self, samples: int | None) -> None:
        self.samples, self.filled = samples, 0
        self.array: np.ndarray | None = None
        self.parts: list[np.ndarray] = []

    def add(self, outputs: np.ndarray, samples: int) -> np.ndarray:
        """Put the outputs for `samples` inputs below the others; return them."""
        if outputs.shape[:1] != (samples,):
            raise ValueError(
                f"predict: expected one row of outputs for each of {samples} samples, received "
                f"outputs of shape {outputs.shape}: for what is no row a sample, call the model "
                "itself, model(x)."
            )
        if self.samples is None:
            self.parts.append(outputs)
            return outputs
        if self.array is None:
            self.array = np.empty((self.samples, *outputs.shape[1:]), outputs.dtype)
        rows = self.array[self.filled : self.filled + samples]
        rows[...] = outputs
        self.filled += samples
        return rows

    def all(self) -> np.ndarray:
        """Return all rows."""
        return np.concatenate(self.parts) if self.array is None else self.array
