"""The loops over batches: an epoch of training, an evaluation, a prediction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from gpunet import losses
from gpunet.autograd import no_grad
from gpunet.backend import to_numpy
from gpunet.callbacks import CallbackList
from gpunet.losses import LossFunctionWrapper
from gpunet.metrics import MeanMetricWrapper
from gpunet.primitives.precision import use_precision
from gpunet.regularizers import collect_losses
from gpunet.symbolic import flatten, pack
from gpunet.training.batches import ArrayBatches, Batch, Batches
from gpunet.training.finite import NonFiniteLossError
from gpunet.training.interrupts import deferred_interrupts
from gpunet.training.logs import Scores, current_scores, fresh_metrics, masked
from gpunet.training.memory import memory_for
from gpunet.training.state import TrainingState
from gpunet.training.step import Outcome, evaluate_batch, step

__all__ = ["add_to_scores", "evaluate", "predict", "predict_batch", "train_epoch"]


def train_epoch(
    model: Any, epoch: int | None, batches: Batches, listeners: CallbackList
) -> dict[str, Any]:
    """Do the steps of an epoch, or those until a callback stops; return the loss and metrics.

    Arguments:
        model: compiled.
        epoch: its number, for messages; None if there is but one batch.
        batches: of the epoch.
        listeners: the callbacks.
    """
    outer = current_scores()
    nested = outer is not None and outer.objective is model._objective
    scores = Scores(model._objective, shared=not nested)
    train: Callable[..., None] = _train_by_own_steps
    steps = None
    if not model._defines("train_step"):
        steps = model._device_steps()
        train = _train_on_cpu if steps is None else _train_on_gpu
    with (
        deferred_interrupts(),
        use_precision(model.precision),
        fresh_metrics(model, restore=nested),
        scores.active(),
        closing(batches),
    ):
        try:
            train(steps or model, batches, listeners, scores)
        except NonFiniteLossError as error:
            if epoch is not None:
                error.args = (f"Epoch {epoch + 1}, batch {error.batch}: {error.args[0]}",)
            raise
    return scores.logs()


def _train_on_cpu(model: Any, batches: Batches, listeners: CallbackList, scores: Scores) -> None:
    tell, state = listeners.wants_train_batches, None
    for number, batch in enumerate(batches):
        if tell:
            listeners.on_train_batch_begin(number)
        state = model._state_for_step(state, batches.structure)
        try:
            _train_on(state, batch, scores)
        except NonFiniteLossError as error:
            error.batch = number + 1
            raise
        if tell:
            listeners.on_train_batch_end(number, scores.logs() | {"size": batch.size})
        if model.stop_training:
            break


def _train_on(state: TrainingState, batch: Batch, scores: Scores) -> None:
    with memory_for(batch.size):
        step(state, batch, partial(add_to_scores, state, scores))


def _train_on_gpu(steps: Any, batches: Batches, listeners: CallbackList, scores: Scores) -> None:
    model, tell, number = steps.model, listeners.wants_train_batches, 0
    with steps.epoch(batches):
        turns = steps.turns(batches, one_by_one=tell)
        while not (number and model.stop_training):
            with steps.running():
                turn = next(turns, None)
            if turn is None:
                break
            if tell:
                listeners.on_train_batch_begin(number)
            with steps.running(), memory_for(turn.size):
                if listeners.wants_each_train_batch:
                    steps.see_changes()
                steps.take(turn, scores)
            number += turn.steps
            if tell:
                steps.read(scores)
                listeners.on_train_batch_end(number - 1, scores.logs() | {"size": turn.size})
        steps.read(scores)


def _train_by_own_steps(
    model: Any, batches: Batches, listeners: CallbackList, scores: Scores
) -> None:
    """Call the `train_step` that a model defines, with each batch."""
    tell = listeners.wants_train_batches
    for number, batch in enumerate(batches):
        if tell:
            listeners.on_train_batch_begin(number)
        with memory_for(batch.size):
            for weight in model.weights:
                weight.stale = True  # the next gradient is written over the last
            scores.custom = _checked_logs(model, "train_step", model._data(batch, batches))
        if tell:
            listeners.on_train_batch_end(number, scores.logs() | {"size": batch.size})
        if model.stop_training:
            break


def _checked_logs(model: Any, method: str, data: Any) -> dict[str, Any]:
    with collect_losses():
        logs = getattr(model, method)(data)
    if not isinstance(logs, dict):
        raise TypeError(
            f"{type(model).__name__}.{method} must return a dictionary of logs, such as "
            f"{{'loss': loss}}, received {type(logs).__name__}."
        )
    return logs


def add_to_scores(state: TrainingState, scores: Scores, outcome: Outcome) -> None:
    """Add the loss of a batch and its metrics, by the model's `compute_metrics` if it has one."""
    batch, model = outcome.batch, state.model
    scores.add_loss(batch.size, outcome.losses, outcome.each)
    if not model._defines("compute_metrics"):
        scores.add_metrics(batch, outcome.outputs, outcome.correct, masks=outcome.masks)
        return
    y_pred = pack(outcome.structure, map(masked, outcome.outputs, outcome.masks))
    x, y, sample_weight = state.packed(pack(state.structure, batch.inputs), y_pred, batch)
    scores.custom = model.compute_metrics(x, y, y_pred, sample_weight)


def evaluate(model: Any, batches: Batches, listeners: CallbackList) -> dict[str, Any]:
    """Return the loss and the metrics on all batches, or those until a callback stops."""
    nested, scores = current_scores() is not None, Scores(model._objective)
    samples = 0
    if not listeners.wants_each_test_batch and _is_by_sample(model):
        samples = model._samples_at_once()
    tell, number = listeners.wants_test_batches, 0
    model.stop_evaluating = False
    listeners.on_test_begin()
    with fresh_metrics(model, restore=nested), scores.active(), closing(batches):
        for batch, sizes in batches.joined(samples):
            if tell:
                listeners.on_test_batch_begin(number)
            with no_grad(), memory_for(batch.size), use_precision(model.precision):
                _evaluate_batch(model, batch, batches, scores)
            if tell:
                logs = scores.logs()
                for size in sizes:
                    listeners.on_test_batch_end(number, logs | {"size": size})
                    number += 1
            if model.stop_evaluating:
                break
    logs = scores.logs()
    listeners.on_test_end(logs)
    return logs


def _evaluate_batch(model: Any, batch: Batch, batches: Batches, scores: Scores) -> None:
    if model._defines("test_step"):
        scores.custom = _checked_logs(model, "test_step", model._data(batch, batches))
        return
    state = model._state_for_evaluation(batches.structure)
    add_to_scores(state, scores, evaluate_batch(state, batch))


def _is_by_sample(model: Any) -> bool:
    """Return whether the scores are the same however the samples are divided into batches.

    That is known of gpunet's own losses and metrics; others may compare samples with each other.
    The mean loss of a batch with a mask is over what counts in it.
    """
    if any(layer.creates_mask and layer.supports_masking for layer in model.with_sublayers()):
        return False
    own = ("test_step", "compute_loss", "compute_metrics")
    if any(model._defines(method) for method in own) or any(
        getattr(layer, "adds_losses", False) for layer in model.with_sublayers()
    ):
        return False
    objective = model._objective
    parts = [loss for loss in objective.losses if loss is not None]
    return all(_is_of_gpunet(part) for part in (*parts, *objective.metrics))


def _is_of_gpunet(part: Any) -> bool:
    if not getattr(part, "averages_samples", True):
        return False
    if type(part) in (LossFunctionWrapper, MeanMetricWrapper):
        if part.options or not losses.get(part.function).averages_samples:
            return False
        part = part.function
    return str(getattr(part, "__module__", "")).startswith("gpunet.")


def predict(model: Any, batches: Batches, listeners: CallbackList) -> Any:
    """Return the outputs for all batches as NumPy arrays, one row a sample."""
    samples = 0 if listeners.wants_each_predict_batch else model._samples_at_once()
    total = batches.samples if isinstance(batches, ArrayBatches) else None
    rows: list[_Rows] = []
    structure, number = None, 0
    model.stop_predicting = False
    listeners.on_predict_begin()
    with closing(batches):
        for batch, sizes in batches.joined(samples):
            listeners.on_predict_batch_begin(number)
            with memory_for(batch.size), use_precision(model.precision):
                outputs = predict_batch(model, batch, batches.structure)
            structure, flat = outputs, flatten(outputs)
            rows = rows or [_Rows(total) for _ in flat]
            parts = [row.add(part, batch.size) for row, part in zip(rows, flat, strict=True)]
            for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
                part = pack(structure, [part[start : start + size] for part in parts])
                listeners.on_predict_batch_end(number, {"outputs": part, "size": size})
                number += 1
            if model.stop_predicting:
                break
    listeners.on_predict_end()
    return pack(structure, [row.all() for row in rows])


def predict_batch(model: Any, batch: Batch, structure: Any) -> Any:
    """Return the outputs for one batch as NumPy arrays, in the model's structure of outputs."""
    with no_grad():
        if model._defines("predict_step"):
            outputs = model.predict_step((pack(structure, batch.inputs),))
        else:
            inputs = model._state_for_evaluation(structure).pack_inputs(batch.inputs)
            outputs = model(inputs, training=False)
    return pack(outputs, [to_numpy(getattr(y, "value", y)) for y in flatten(outputs)])


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
                f"outputs of shape {outputs.shape}: for outputs that are no rows call the model "
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
        return np.concatenate(self.parts) if self.array is None else self.array[: self.filled]
