"""One step of training: forward, loss, backward, finish, update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpunet.autograd import Array, Tensor, recording
from gpunet.backend import asarray
from gpunet.fusion import FusedLoss, call_with_loss
from gpunet.layers.layer import collect_updates
from gpunet.regularizers import collect_losses
from gpunet.symbolic import flatten, pack
from gpunet.training.batches import Batch
from gpunet.training.interrupts import uninterruptible
from gpunet.training.state import TrainingState, Updates

__all__ = [
    "Outcome",
    "compute_gradients",
    "compute_loss",
    "evaluate_batch",
    "step",
]


class Outcome(NamedTuple):
    """The results of a batch's way through a model.

    Attributes:
        batch: with its targets where the predictions are.
        outputs: the predictions.
        losses: of each sample, or one number, their mean.
        each: the loss of each output, or None.
        correct: uint8, whether each sample was classified right; None where that is not known.
        updates: the new values that layers registered for their state.
        structure: of the outputs, with 0, 1 ... in place of the arrays.
        masks: of the outputs, None for those without one.
    """

    batch: Batch
    outputs: list[Array]
    losses: Array
    each: Sequence[Array | None]
    correct: Array | None
    updates: Updates
    structure: Any
    masks: Sequence[Array | None]


def step(
    state: TrainingState, batch: Batch, scored: Callable[[Outcome], None] | None = None
) -> Outcome:
    """Train on one batch; nothing is read back from a GPU unless the state does.

    Whatever ends the step early, an error or an interrupt, leaves the weights as they were.

    Arguments:
        state: changed.
        batch: its arrays, checked.
        scored: called with the outcome before the weights change, to compute metrics.
    """
    outcome = compute_gradients(state, batch)
    if scored is not None:
        scored(outcome)
    state.finish(outcome.losses, outcome.correct, batch.size)
    with uninterruptible():
        state.update(outcome.updates)
    return outcome


@recording(True)
def compute_gradients(state: TrainingState, batch: Batch) -> Outcome:
    """Leave the gradients of a batch in the state's parameters; return the other results.

    On a GPU, within `primitives.leaving_parts`, they may be left in parts.
    """
    state.parameters.start()
    inputs = state.pack_inputs(batch.inputs)
    batch = _beside(batch, state.parameters.buffer)
    with collect_updates() as updates, collect_losses():
        outputs, fused = _call(state, inputs, batch)
        if fused is None:
            flat = flatten(outputs)
            loss, each = compute_loss(state, inputs, outputs, batch, training=True)
            losses, correct = loss.value.reshape(1), None
            if state.parameters.trainable:
                loss.backward()
        else:
            flat, each = [outputs], ()
            losses, correct = fused.losses, fused.correct
            penalty = state.penalty()
            fused.backward(penalty)
            if penalty is not None:
                losses = losses + penalty.value
    state.parameters.finish()
    values = [output.value for output in flat]
    masks, structure = [output.mask for output in flat], _template(outputs, flat)
    return Outcome(batch, values, losses, each, correct, updates, structure, masks)


def evaluate_batch(state: TrainingState, batch: Batch) -> Outcome:
    """Return the predictions and the loss of a batch, without training."""
    inputs = state.pack_inputs(batch.inputs)
    with collect_losses():
        outputs = state.model(inputs, training=False)
        flat = flatten(outputs)
        batch = _beside(batch, flat[0].value)
        loss, each = compute_loss(state, inputs, outputs, batch, training=False)
    values = [output.value for output in flat]
    losses = loss.value.reshape(1)
    masks, structure = [output.mask for output in flat], _template(outputs, flat)
    return Outcome(batch, values, losses, each, None, (), structure, masks)


def _template(outputs: Any, flat: Sequence[Any]) -> Any:
    return 0 if flat[0] is outputs else pack(outputs, range(len(flat)))


def _beside(batch: Batch, buffer: Array) -> Batch:
    """Return a batch with its targets and weights where the weights of the model are."""
    if not batch.weights and all(type(y) is type(buffer) for y in batch.targets):
        return batch  # most often
    targets = tuple(None if y is None else asarray(y, like=buffer) for y in batch.targets)
    dtype = buffer.dtype
    weights = tuple(
        None if weight is None else asarray(weight, dtype=dtype, like=buffer)
        for weight in batch.weights
    )
    return Batch(batch.inputs, targets, weights)


def _call(state: TrainingState, inputs: Any, batch: Batch) -> tuple[Any, FusedLoss | None]:
    """Return the outputs of the model in training, and their loss where it comes along."""
    model, objective = state.model, state.objective
    is_plain = objective.weights == [1.0] and not batch.weights
    if not is_plain or model._defines("compute_loss"):
        return model(inputs, training=True), None
    return call_with_loss(model, inputs, objective.losses[0], batch.targets[0])


def compute_loss(
    state: TrainingState, inputs: Any, outputs: Any, batch: Batch, *, training: bool
) -> tuple[Tensor, Sequence[Array | None]]:
    """Return the loss of a batch, regularizers included, and that of each output.

    A model may have a method for the first.
    """
    if state.model._defines("compute_loss"):
        x, y, sample_weight = state.packed(inputs, outputs, batch)
        return state.model._own_loss(x, y, outputs, sample_weight, training), ()
    loss, each = state.objective.compute(batch.targets, flatten(outputs), batch.weights)
    penalty = state.penalty()
    loss = loss if penalty is None else loss + penalty
    return loss, [None if value is None else value.value for value in each]
