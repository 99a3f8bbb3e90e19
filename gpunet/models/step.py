"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer
from gpunet.models.flat import FlatParameters
from gpunet.models.fusion import softmax_left_to
from gpunet.models.scores import Scores
from gpunet.optimizers import Optimizer

__all__ = ["NonFiniteLossError", "check_finite", "compute_gradients", "train_step", "whole"]


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
    numbers = [loss.astype("float64"), gradients.sum().astype("float64")]
    # Read at once: that is the one time in a step that the host waits for a GPU.
    loss, gradient_sum = get_array_module(*numbers).stack(numbers).tolist()
    if not math.isfinite(loss + gradient_sum):
        what, value = "the loss", loss
        if math.isfinite(loss):
            what, value = "the sum of the gradients", gradient_sum
        raise NonFiniteLossError(
            f"{what} is {value}. The weights are still those of the step before. A lower "
            "learning rate, inputs scaled to about [0, 1], or from_logits=True with a last layer "
            "that has no activation often helps."
        )


@contextmanager
def whole() -> Iterator[None]:
    """Hold an interrupt (Ctrl-C) back until the block is done, so that nothing is half done."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGINT) if on_main_thread else None
    if previous is None:  # only the main thread is interrupted, and only by Python's handlers
        yield
        return
    held_back: list[Any] = []
    signal.signal(signal.SIGINT, lambda *received: held_back.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held_back:
            signal.raise_signal(signal.SIGINT)
