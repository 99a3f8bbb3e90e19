"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from gpunet import primitives
from gpunet.autograd import Array, Tensor
from gpunet.fusion import loss_left_to
from gpunet.layers.layer import Layer
from gpunet.optimizers import Optimizer
from gpunet.training.logs import Scores
from gpunet.training.state import FlatParameters

__all__ = [
    "NonFiniteLossError",
    "Outcome",
    "check_finite",
    "compute_gradients",
    "holding_interrupts_back",
    "non_finite",
    "train_step",
    "whole",
]


class NonFiniteLossError(FloatingPointError):
    """The loss or a gradient became NaN or infinite; the weights are those of the step before.

    Attributes:
        batch: in which batch that was; the first is 1.
    """

    batch = 1


class Outcome(NamedTuple):
    """What a batch's way through a model gave.

    Attributes:
        prediction: the model's output.
        losses: of each sample, or one number, their mean.
        hits: uint8, whether each sample was classified right; None where that is not known.
    """

    prediction: Array
    losses: Array
    hits: Array | None


def train_step(
    model: Layer,
    loss_function: Callable[[Array, Tensor], Tensor],
    optimizer: Optimizer,
    parameters: FlatParameters,
    scores: Scores,
    x: Tensor,
    y: Array,
) -> None:
    """Update the weights once for a batch, and take its loss and predictions into `scores`.

    Whatever ends the step early, an error or an interrupt, leaves the weights as they were.
    """
    outcome = compute_gradients(model, loss_function, parameters, x, y)
    scores.add(y, *outcome)
    check_finite(outcome.losses, parameters.gradients)
    with whole():
        optimizer.apply(parameters.values, parameters.gradients)


def compute_gradients(
    model: Layer,
    loss_function: Callable[[Array, Tensor], Tensor],
    parameters: FlatParameters,
    x: Tensor,
    y: Array,
) -> Outcome:
    """Leave the gradients of a batch in `parameters`; return what else there is of it.

    On a GPU, within `primitives.leaving_parts`, they may be left in parts.
    """
    parameters.start()
    with loss_left_to(model, loss_function, y) as left:
        prediction = model(x, training=True)
    if left.result is None:
        loss = loss_function(y, prediction)
        loss.backward()
        outcome = Outcome(prediction.value, loss.value.reshape(1), None)
    else:
        left.backward()
        # Where labels are smoothed, the largest may be another.
        hits = None if left.loss.label_smoothing else left.result.hits
        outcome = Outcome(prediction.value, left.result.losses, hits)
    parameters.finish()
    return outcome


def check_finite(losses: Array, gradients: Array) -> None:
    """Raise `NonFiniteLossError` if the loss, a gradient or its square is NaN or infinite."""
    loss = float(losses.mean())
    if not math.isfinite(loss):
        raise non_finite("the loss", loss)
    if not primitives.squares_are_finite(gradients):
        largest = float(abs(gradients).max())
        raise non_finite("the square of the largest gradient", largest * math.inf)


def non_finite(what: str, value: float) -> NonFiniteLossError:
    """Return the error that says of `what` that its value is not finite."""
    return NonFiniteLossError(
        f"{what} is {value}. The weights are still those of the step before. A lower "
        "learning rate, inputs scaled to about [0, 1], or from_logits=True with a last layer "
        "that has no activation often helps."
    )


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
