"""Learning rates as users read and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpunet.arguments import check_function
from gpunet.autograd import Array
from gpunet.optimizers import schedules
from gpunet.variable import Variable

__all__ = ["Rate", "as_schedule"]


class Rate(Variable):
    """An optimizer's learning rate, read and assigned there.

    Arguments:
        read: returns the rate, an array of no axes.
        write: sets it.
    """

    def __init__(self, read: Callable[[], Array], write: Callable[[Any], None]) -> None:
        super().__init__(None, "learning_rate")
        self._read, self._write = read, write

    @property
    def value(self) -> Array:
        """The learning rate of the next step."""
        return self._read()

    def assign(self, value: Any) -> None:
        """Set the learning rate to a number of at least 0."""
        self._write(value)

    def assign_add(self, value: Any) -> None:
        self._write(self + value)

    def assign_sub(self, value: Any) -> None:
        self._write(self - value)


def as_schedule(value: Any) -> Callable[[Any], Any] | None:
    """Return a schedule, given one, a function of the step or a config; None for anything else.

    Raises:
        TypeError: the function does not take the step.
    """
    if isinstance(value, Mapping):
        return schedules.deserialize(value)
    if not callable(value) or isinstance(value, type):
        return None
    check_function(value, ("step",), "learning_rate as a schedule")
    return value
