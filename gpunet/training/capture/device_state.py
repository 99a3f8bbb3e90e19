"""The state of training on a GPU: what changes from step to step is in memory that kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import random
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.primitives import launch as launcher
from gpunet.primitives.cuda.step import Scored, Segment, Update, finish_all, set_updates
from gpunet.primitives.partial_sums import Parts, run_deferred
from gpunet.training.capture.errors import CaptureError
from gpunet.training.state import TrainingState, Updates

__all__ = ["Counters", "DeviceState"]

_MOST_KEYS = 64  # of random numbers, in a step
_STEP, _POSITION, _KEYS = 0, 1, 2  # places in the counters


class Counters:
    """Sums and counts of the steps, on the device.

    Arguments:
        xp: CuPy.
        stream: on which steps run, or are captured.

    Attributes:
        state: int64 (5,): all that is read back after some steps.
        totals: float64 (2,), in `state`: the sums of the losses and of the correct predictions.
        failed: int64 (3,), in `state`: whether a loss, or a gradient, was not finite, and how many
            steps were left out since.
        iterations: int64 (1,), the optimizer's while it steps here.
        position: int64 (1,), the place in the order of the samples.
        drawn: the generators that the step under way has drawn keys from.
    """

    def __init__(self, xp: Any, stream: Any) -> None:
        self.stream = stream
        self.state = xp.zeros(5, np.int64)
        self.totals, self.failed = self.state[:2].view(np.float64), self.state[2:]
        self.values = xp.zeros(_KEYS + 2 * _MOST_KEYS, np.int64)
        self.iterations = self.values[_STEP : _STEP + 1]
        self.position = self.values[_POSITION : _POSITION + 1]
        self.drawn: list[random.Generator] = []

    def key(self, generator: random.Generator) -> Array | None:
        """Return the key of a draw in the memory that a captured step reads; None if it is none.

        Raises:
            CaptureError: the step draws too many keys.
        """
        slot = len(self.drawn)
        self.drawn.append(generator)
        if not self.stream.is_capturing():
            return None
        if slot >= _MOST_KEYS:
            raise CaptureError(f"a step draws more than {_MOST_KEYS} keys of random numbers.")
        start = _KEYS + 2 * slot
        return self.values[start : start + 2].view(np.uint64)

    def set_keys(self, words: Array) -> None:
        """Set the keys of the draws: int64, a seed and a number for each."""
        self.values[_KEYS : _KEYS + len(words)] = words

    def increments(self, size: int) -> list[int]:
        """Return what a step of `size` samples adds to the first of the counters."""
        increments = [1, size]  # of the step and the position; then of each key's seed and draw
        for generator in self.drawn[:_MOST_KEYS]:
            increments += [0, self.drawn.count(generator)]
        return increments


class DeviceState(TrainingState):
    """State whose steps read nothing back: failures are noted on the device, and skip updates."""

    counters: Counters

    def finish(self, losses: Array, correct: Array | None, size: int) -> None:
        """Add up gradients in parts, note what is not finite, add to the totals, and count."""
        run_deferred()
        in_parts: list[tuple[int, Parts]] = []
        others = []
        laid_out, counters = self.parameters, self.counters
        for parameter, segment in zip(laid_out.trainable, laid_out.segments, strict=True):
            if parameter.parts is None:
                others.append(Segment(segment.offset, parameter.size))
            else:
                in_parts.append((segment.offset, parameter.parts))
                parameter.parts = None
        gradients = laid_out.gradients
        increments = np.array(counters.increments(size), np.int64)
        finish_all(
            gradients,
            in_parts,
            others,
            counters.failed,
            Scored(
                losses.astype(gradients.dtype, copy=False),
                size // losses.size,
                correct,
                counters.totals,
                launcher.constant(increments.tobytes()),
                counters.values[: len(increments)],
            ),
        )

    def update(self, updates: Updates) -> None:
        """Change the weights, unless a step has failed; count the updates left out."""
        failed, parameters = self.counters.failed, self.parameters
        self._set(updates)
        if parameters.trainable:
            self.optimizer.step(parameters.values, parameters.gradients, skip=failed, counted=True)
        else:
            failed[2:] += (failed[:2] != 0).any()

    def _set(self, updates: Updates) -> None:
        """Set what layers registered, by one launch unless a weight is among it twice."""
        places = self.parameters.places()
        pending: dict[int, Update] = {}
        for parameter, value, momentum in updates:
            place = places[id(parameter)]
            if place in pending:
                self._launch(pending)
            array = launcher.contiguous(value.astype(parameter.dtype, copy=False))
            if array.shape != parameter.shape:
                array = launcher.contiguous(
                    get_array_module(array).broadcast_to(array, parameter.shape)
                )
            pending[place] = Update(place, array, momentum)
        self._launch(pending)

    def _launch(self, pending: dict[int, Update]) -> None:
        set_updates(self.parameters.buffer, list(pending.values()), self.counters.failed)
        pending.clear()
