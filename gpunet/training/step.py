"""One step of training: forward, loss, backward, finish, update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray
from gpunet.fusion import loss_left_to
from gpunet.layers.layer import collect_updates
from gpunet.symbolic import flatten, pack
from gpunet.training.batches import Batch
from gpunet.training.state import TrainingState, Updates

__all__ = [
    "Outcome",
    "compute_gradients",
    "compute_loss",
    "evaluate_batch",
    "holding_interrupts_back",
    "step",
    "whole",
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
    """

    batch: Batch
    outputs: list[Array]
    losses: Array
    each: Sequence[Array | None]
    correct: Array | None
    updates: Updates
    structure: Any


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
    with whole():
        state.update(outcome.updates)
    return outcome


def compute_gradients(state: TrainingState, batch: Batch) -> Outcome:
    """Leave the gradients of a batch in the state's parameters; return the other results.

    On a GPU, within `primitives.leaving_parts`, they may be left in parts.
    """
    state.parameters.start()
    inputs = state.pack_inputs(batch.inputs)
    batch = _beside(batch, state.parameters.buffer)
    with collect_updates() as updates:
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
            fused.backward()
    state.parameters.finish()
    values = [output.value for output in flat]
    return Outcome(batch, values, losses, each, correct, updates, _template(outputs, flat))


def evaluate_batch(state: TrainingState, batch: Batch) -> Outcome:
    """Return the predictions and the loss of a batch, without training."""
    inputs = state.pack_inputs(batch.inputs)
    outputs = state.model(inputs, training=False)
    flat = flatten(outputs)
    batch = _beside(batch, flat[0].value)
    loss, each = compute_loss(state, inputs, outputs, batch, training=False)
    values = [output.value for output in flat]
    losses = loss.value.reshape(1)
    return Outcome(batch, values, losses, each, None, (), _template(outputs, flat))


def _template(outputs: Any, flat: Sequence[Any]) -> Any:
    return 0 if flat[0] is outputs else pack(outputs, range(len(flat)))


def _beside(batch: Batch, buffer: Array) -> Batch:
    """Return a batch with its targets and weights where the weights of the model are."""
    targets = tuple(None if y is None else asarray(y, like=buffer) for y in batch.targets)
    dtype = buffer.dtype
    weights = tuple(
        None if weight is None else asarray(weight, dtype=dtype, like=buffer)
        for weight in batch.weights
    )
    return Batch(batch.inputs, targets, weights)


class _Fused(NamedTuple):
    """The loss of a batch that was computed together with the predictions."""

    losses: Array
    correct: Array | None
    backward: Callable[[], None]


def _call(state: TrainingState, inputs: Any, batch: Batch) -> tuple[Any, _Fused | None]:
    """Return the outputs of the model in training, and their loss where it comes along."""
    model, objective = state.model, state.objective
    is_plain = objective.weights == [1.0] and not batch.weights
    if not is_plain or model._defines("compute_loss"):
        return model(inputs, training=True), None
    with loss_left_to(model, objective.losses[0], batch.targets[0]) as left:
        prediction = model(inputs, training=True)
    if left.result is None:
        return prediction, None
    # Where labels are smoothed, the largest may be another.
    correct = None if left.loss.label_smoothing else left.result.hits
    return prediction, _Fused(left.result.losses, correct, left.backward)


def compute_loss(
    state: TrainingState, inputs: Any, outputs: Any, batch: Batch, *, training: bool
) -> tuple[Tensor, Sequence[Array | None]]:
    """Return the loss of a batch, and that of each output; a model may have a method for it."""
    if state.model._defines("compute_loss"):
        x, y, sample_weight = state.packed(inputs, outputs, batch)
        return state.model._own_loss(x, y, outputs, sample_weight, training), ()
    loss, each = state.objective.compute(batch.targets, flatten(outputs), batch.weights)
    return loss, [None if value is None else value.value for value in each]


class _Handler:
    """What an interrupt (Ctrl-C) calls while a model trains: used as a context, it waits inside."""

    def __init__(self, usual: Callable[[int, Any], Any]) -> None:
        self.usual = usual
        self.depth, self.held_back = 0, False

    def __call__(self, number: int, frame: Any) -> None:
        """Note the interrupt within the context, else do what is usual."""
        if self.depth:
            self.held_back = True
        else:
            self.usual(number, frame)

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1
        if self.held_back and not self.depth:
            self.held_back = False
            signal.raise_signal(signal.SIGINT)


class _Here(threading.local):
    handler: _Handler | None = None


_here = _Here()
_nothing = nullcontext()


def whole() -> AbstractContextManager[None]:
    """Return a context that an interrupt waits for, within `holding_interrupts_back`."""
    return _here.handler or _nothing


@contextmanager
def holding_interrupts_back() -> Iterator[None]:
    """Let an interrupt (Ctrl-C) wait for a block of `whole`, so that nothing is half done.

    At any other time it comes at once. A handler that is set meanwhile is left in place.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    usual = signal.getsignal(signal.SIGINT) if on_main_thread else None
    # Only the main thread is interrupted, and only by Python's handlers.
    if not callable(usual) or usual is _here.handler:
        yield
        return
    handler, outer = _Handler(usual), _here.handler
    try:
        with handler:
            signal.signal(signal.SIGINT, handler)
            _here.handler = handler
        yield
    finally:
        with handler:
            _here.handler = outer
            if signal.getsignal(signal.SIGINT) is handler:
                signal.signal(signal.SIGINT, usual)
