"""Connectionist temporal classification: how probable a sequence of labels is, however aligned."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable
from gpunet.backend import get_array_module

__all__ = ["ctc_loss"]

_NEVER = -1e30  # the logarithm of a probability of 0; some added up are finite in float32


class _Alignment(NamedTuple):
    """The states that a sequence of labels passes through: blank, label, blank, label ... blank.

    Attributes:
        classes: of the states, (batch, states).
        skips: where a state may follow the one before the last: a label after another one.
        ends: which states the sequence may end in.
    """

    classes: Array
    skips: Array
    ends: Array


@differentiable
def ctc_loss(log_probabilities: Array, labels: Array) -> Result:
    """Return the negative logarithm of the probability of each sequence of labels, (batch,).

    The probability of a sequence is the sum of those of all its alignments: each label is repeated
    any number of times, with blanks, class 0, between labels where wanted and between equal ones
    always (Graves et al., 2006).

    Arguments:
        log_probabilities: logarithms of the probabilities of classes, (batch, steps, classes).
        labels: integers (batch, length), in each row filled up with 0.

    Returns:
        Infinity, with gradients of 0, where a sequence does not fit into the steps.

    >>> import numpy as np
    >>> ctc_loss(np.log(np.full((1, 2, 2), 0.5)), np.array([[1]])).numpy().round(4)
    array([0.2877])
    """
    xp = get_array_module(log_probabilities, labels)
    alignment = _alignment(labels, xp)
    batch, steps, _ = log_probabilities.shape
    states = xp.broadcast_to(alignment.classes[:, None], (batch, steps, alignment.skips.shape[1]))
    emitted = xp.take_along_axis(log_probabilities, states, axis=2)
    forward = _forward(emitted, alignment, xp)
    at_end = xp.where(alignment.ends, forward[:, -1], _NEVER)
    total = _log_sum([at_end[:, i] for i in range(at_end.shape[1])], xp)
    possible = total > _NEVER / 2

    def backward(output_grad: Array) -> tuple[Array]:
        visits = forward + _backward(emitted, alignment, xp) - total[:, None, None]
        factors = xp.where(possible, -output_grad, 0)[:, None, None]
        visits = xp.exp(xp.where(possible[:, None, None], visits, _NEVER)) * factors
        is_class = alignment.classes[:, :, None] == xp.arange(log_probabilities.shape[2])
        return (primitives.matmul(visits, is_class.astype(visits.dtype)),)

    return xp.where(possible, -total, np.inf).astype(total.dtype, copy=False), backward


def _alignment(labels: Array, xp: ModuleType) -> _Alignment:
    batch, length = labels.shape
    classes = xp.zeros((batch, 2 * length + 1), "int64")
    classes[:, 1::2] = labels
    skips = xp.zeros(classes.shape, bool)
    skips[:, 2:] = (classes[:, 2:] != 0) & (classes[:, 2:] != classes[:, :-2])
    last = 2 * (labels != 0).sum(axis=1)[:, None]
    state = xp.arange(2 * length + 1)
    return _Alignment(classes, skips, (state == last) | (state == last - 1))


def _forward(emitted: Array, alignment: _Alignment, xp: ModuleType) -> Array:
    """Return the log probability of the steps so far, ending in each state: as `emitted`."""
    batch, steps, states = emitted.shape
    found = xp.empty(emitted.shape, emitted.dtype)
    before = xp.full((batch, states + 2), _NEVER, emitted.dtype)  # with two states before the first
    found[:, 0] = _NEVER
    found[:, 0, :2] = emitted[:, 0, :2]
    for step in range(1, steps):
        before[:, 2:] = found[:, step - 1]
        skipped = xp.where(alignment.skips, before[:, :-2], _NEVER)
        found[:, step] = _log_sum([before[:, 2:], before[:, 1:-1], skipped], xp)
        found[:, step] += emitted[:, step]
    return found


def _backward(emitted: Array, alignment: _Alignment, xp: ModuleType) -> Array:
    """Return the log probability of the steps after each step, from each state: as `emitted`."""
    batch, steps, states = emitted.shape
    found = xp.empty(emitted.shape, emitted.dtype)
    after = xp.full((batch, states + 2), _NEVER, emitted.dtype)  # with two states after the last
    skips = xp.zeros((batch, states), bool)
    skips[:, :-2] = alignment.skips[:, 2:]
    found[:, -1] = xp.where(alignment.ends, 0, _NEVER)
    for step in range(steps - 2, -1, -1):
        after[:, :states] = found[:, step + 1] + emitted[:, step + 1]
        skipped = xp.where(skips, after[:, 2:], _NEVER)
        found[:, step] = _log_sum([after[:, :states], after[:, 1:-1], skipped], xp)
    return found


def _log_sum(logarithms: Iterable[Array], xp: ModuleType) -> Array:
    """Return the logarithm of the sum of numbers that are given by their logarithms."""
    first, *others = logarithms
    largest = first
    for other in others:
        largest = xp.maximum(largest, other)
    total = xp.exp(first - largest)
    for other in others:
        total = total + xp.exp(other - largest)
    return largest + xp.log(total)
