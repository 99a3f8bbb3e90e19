"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer
from gpunet.models.flat import FlatParameters
from gpunet.models.fusion import softmax_left_to
from gpunet.models.scores import Scores
from gpunet.optimizers import Optimizer

__all__ = [
    "NonFiniteLossError",
    "check_finite",
    "compute_gradients",
    "holding_interrupts_back",
    "train_step",
    "whole",
]


class NonFiniteLossError(FloatingPointError):
    """The loss or a gradient became NaN or infinite; the weights are those of the step before."""


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
    loss = compute_gradients(model, loss_function, parameters, scores, x, y)
    check_finite(loss, parameters.gradients)
    with whole():
        optimizer.apply(parameters.values, parameters.gradients)


def compute_gradients(
    model: Layer,
    loss_function: Callable[[Array, Tensor], Tensor],
    parameters: FlatParameters,
    scores: Scores,
    x: Tensor,
    y: Array,
) -> Array:
    """Leave the gradients of a batch in `parameters`, and return its loss."""
    with softmax_left_to(loss_function, model):
        prediction = model(x, training=True)
    loss = loss_function(y, prediction)
    parameters.gradients.fill(0)
    loss.backward()
    scores.add(y, prediction.value, loss.value)
    return loss.value


def check_finite(loss: Array, gradients: Array) -> None:
    """Raise `NonFiniteLossError` if the loss or a gradient is NaN or infinite."""
    numbers: list[Any] = [loss, gradients.sum()]
    library = get_array_module(gradients)
    if library is not np:
        # Read at once: that is the one time in a step that the host waits for a GPU.
        numbers = library.stack([number.astype("float64") for number in numbers]).tolist()
    loss_value, gradient_sum = map(float, numbers)
    if not math.isfinite(loss_value + gradient_sum):
        what, value = "the loss", loss_value
        if math.isfinite(loss_value):
            what, value = "the sum of the gradients", gradient_sum
        raise NonFiniteLossError(
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
