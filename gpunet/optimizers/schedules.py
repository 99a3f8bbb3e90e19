"""Schedules of the learning rate: functions of the number of steps so far, under Keras' names.

They are array expressions, so that a captured step on a GPU evaluates them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpunet.arguments import boolean, check_function, check_number, number
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.configurable import Configurable, Registry

__all__ = [
    "CosineDecay", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "as_schedule", "deserialize", "serialize",
]  # fmt: skip


class LearningRateSchedule(Configurable):
    """Base class of schedules: a subclass writes `__call__`.

    >>> class Halved(LearningRateSchedule):
    ...     def __init__(self, rate):
    ...         self.rate = rate
    ...
    ...     def __call__(self, step):
    ...         return self.rate * 0.5**step
    >>> float(Halved(0.8)(2))
    0.2
    """

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step.

        Arguments:
            step: how many steps there were before, a number or an array of no axes, on a GPU an
                array there.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step).")


class _Decay(LearningRateSchedule):
    """A schedule that starts at `initial_learning_rate`, and is measured in `decay_steps`."""

    def __init__(self, initial_learning_rate: Any, decay_steps: Any) -> None:
        where = type(self).__name__
        self.initial_learning_rate = check_number(
            where, "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = number(decay_steps, "decay_steps", where)
        if self.decay_steps <= 0:
            raise ValueError(f"{where} expects decay_steps above 0, received {decay_steps!r}.")


class ExponentialDecay(_Decay):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Arguments:
        initial_learning_rate: at least 0.
        decay_steps: above 0.
        decay_rate: at least 0.
        staircase: whether ``step / decay_steps`` is rounded down.
        name: the schedule's name.

    >>> float(ExponentialDecay(0.8, decay_steps=10, decay_rate=0.5)(20))
    0.2
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        self.decay_rate = check_number(type(self).__name__, "decay_rate", decay_rate)
        self.staircase = boolean(staircase, "staircase", type(self).__name__)
        self.name = name

    def __call__(self, step: Any) -> Any:
        return self.initial_learning_rate * self.decay_rate ** self._times(step)

    def _times(self, step: Any) -> Any:
        return step // self.decay_steps if self.staircase else step / self.decay_steps


class InverseTimeDecay(ExponentialDecay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Arguments:
        initial_learning_rate, decay_steps, decay_rate, staircase, name: as in `ExponentialDecay`.

    >>> float(InverseTimeDecay(0.8, decay_steps=10, decay_rate=1)(10))
    0.4
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: Any) -> Any:
        return self.initial_learning_rate / (1 + self.decay_rate * self._times(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to and including step ``boundaries[i]``, after all of them the last value.

    Arguments:
        boundaries: steps, in increasing order.
        values: learning rates, one more than boundaries.
        name: the schedule's name.

    >>> [float(PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.25])(step)) for step in (2, 3, 5)]
    [1.0, 0.5, 0.25]
    """

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        where = type(self).__name__
        self.boundaries = [number(boundary, "boundaries", where) for boundary in boundaries]
        self.values = [check_number(where, "values", value) for value in values]
        self.name = name
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"{where} expects one more value than boundaries, received {len(values)} values "
                f"and {len(boundaries)} boundaries."
            )
        if sorted(self.boundaries) != self.boundaries:
            raise ValueError(f"{where} expects increasing boundaries, received {boundaries!r}.")

    def __call__(self, step: Any) -> Any:
        rate: Any = self.values[0] + 0.0 * step
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = get_array_module(step).where(step > boundary, value, rate)
        return rate


class PolynomialDecay(_Decay):
    """From `initial_learning_rate` to `end_learning_rate` in `decay_steps` steps.

    That is ``(initial - end) * (1 - step / decay_steps) ** power + end``.

    Arguments:
        initial_learning_rate: at least 0.
        decay_steps: above 0.
        end_learning_rate: at least 0.
        power: 1 for a line.
        cycle: whether the rate rises again after `decay_steps`, for a longer decay.
        name: the schedule's name.

    >>> float(PolynomialDecay(1.0, decay_steps=4, end_learning_rate=0.5)(2))
    0.75
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        where = type(self).__name__
        self.end_learning_rate = check_number(where, "end_learning_rate", end_learning_rate)
        self.power = number(power, "power", where)
        self.cycle = boolean(cycle, "cycle", where)
        self.name = name

    def __call__(self, step: Any) -> Any:
        xp = get_array_module(step)
        times = step / self.decay_steps
        cycles = xp.maximum(-(-step // self.decay_steps), 1.0)  # rounded up
        share = times / cycles if self.cycle else xp.minimum(times, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1 - share) ** self.power + self.end_learning_rate


class CosineDecay(_Decay):
    """Half a cosine from `initial_learning_rate` to `alpha` times it, after a linear warmup.

    Source: Loshchilov and Hutter, 2016.

    Arguments:
        initial_learning_rate: at least 0.
        decay_steps: how long the decay takes, above 0.
        alpha: the smallest rate, as a share of the largest.
        name: the schedule's name.
        warmup_target: the rate that warmup ends and the decay starts with; None for no warmup.
        warmup_steps: how long the warmup takes.

    >>> schedule = CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=5)
    >>> [round(float(schedule(step)), 6) for step in (0, 5, 10, 15)]
    [0.0, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        where = type(self).__name__
        self.alpha = number(alpha, "alpha", where)
        self.name = name
        self.warmup_steps = check_number(where, "warmup_steps", warmup_steps)
        self.warmup_target = (
            None if warmup_target is None else check_number(where, "warmup_target", warmup_target)
        )

    def __call__(self, step: Any) -> Any:
        if self.warmup_target is None:
            return self._decayed(self.initial_learning_rate, step)
        decayed = self._decayed(self.warmup_target, step - self.warmup_steps)
        rise = self.warmup_target - self.initial_learning_rate
        warm = self.initial_learning_rate + rise * step / max(self.warmup_steps, 1.0)
        return get_array_module(step).where(step < self.warmup_steps, warm, decayed)

    def _decayed(self, start: float, step: Array) -> Array:
        xp = get_array_module(step)
        share = xp.minimum(step / self.decay_steps, 1.0)
        cosine = 0.5 * (1 + xp.cos(math.pi * share))
        return start * ((1 - self.alpha) * cosine + self.alpha)


def as_schedule(value: Any) -> Callable[[Any], Any] | None:
    """Return a schedule, given one, a function of the step or a config; None for anything else.

    Raises:
        TypeError: the function does not take the step.
    """
    if isinstance(value, Mapping):
        return deserialize(value)
    if not callable(value) or isinstance(value, type):
        return None
    check_function(value, ("step",), "learning_rate as a schedule")
    return value


_REGISTRY = Registry(
    "schedule", LearningRateSchedule, globals().values(), function="(step) -> rate"
)
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize
