"""What all optimizers share: step count, learning rate, slots, checks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import get_array_module, to_numpy
from gpunet.naming import check_arguments

__all__ = ["Optimizer", "check_number"]


def check_number(
    where: str, name: str, value: Any, below: float = math.inf, *, or_equal: bool = False
) -> float:
    """Return `value` as a float if it is a number from 0 to `below`, else raise.

    Arguments:
        where: the function that takes the argument, for the message.
        name: the argument's name, for the message.
        value: what was received.
        below: the bound the number must be under.
        or_equal: whether the number may be the bound itself.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is out of range, or NaN.
    """
    is_number = isinstance(value, Real) or getattr(value, "size", 0) == 1
    if isinstance(value, bool) or not is_number:
        raise TypeError(f"{where} expects a number for {name}, received {value!r}.")
    number = float(to_numpy(value).reshape(()))
    if not (0 <= number < below or (or_equal and number == below)):
        bound = f"at least 0 and finite, as {name}=0.01"
        if below < math.inf:
            bound = f"from 0 to {'' if or_equal else 'below '}{below:g}"
        raise ValueError(f"{where} expects {name} {bound}, received {number!r}.")
    return number


class Optimizer:
    """Base class of optimizers: a subclass names its slots and writes its update rule.

    A *slot* is a buffer as long as the parameters, zero at first, such as a running mean of the
    gradients. A subclass keeps the arguments of its ``__init__`` in attributes of the same names.

    Arguments:
        learning_rate: how far a step goes; at least 0.
        name: what the optimizer is called; by default the name of its class in lower case.

    Attributes:
        iterations: int64 array of shape (1,), the number of updates so far. During an update
            that update is counted already: the first has 1.
        state: the slots, a dictionary of flat arrays; empty before `build`.

    >>> class SignSGD(Optimizer):
    ...     slots = ("mean",)
    ...
    ...     def update(self, parameters, gradients, slots):
    ...         slots["mean"] += 0.1 * (gradients - slots["mean"])
    ...         parameters -= self.learning_rate * np.sign(slots["mean"])
    >>> parameters = np.zeros(2)
    >>> optimizer = SignSGD(learning_rate=0.5)
    >>> optimizer.build(parameters)
    >>> optimizer.apply(parameters, np.array([3.0, -0.2]))
    >>> parameters
    array([-0.5,  0.5])
    """

    slots: tuple[str, ...] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Optimizer:
        """Refuse unknown arguments by a message that says which was meant."""
        check_arguments(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(self, learning_rate: float = 0.01, name: str | None = None) -> None:
        self.name = name or type(self).__name__.lower()
        rate = check_number(type(self).__name__, "learning_rate", learning_rate)
        # Arrays from the start: `build` moves them to where the parameters are.
        self._learning_rate: Array = np.array([rate])
        self.iterations: Array = np.zeros(1, np.int64)
        self.state: dict[str, Array] = {}
        self._built_for: tuple[tuple[int, ...], Any] | None = None

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a number, which on a GPU stays there as an array of no dimensions.

        Assigning a number writes it into the array that the updates read.
        """
        return self._learning_rate[0]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        rate = check_number(type(self).__name__, "learning_rate", value)
        self._learning_rate[0] = rate

    @property
    def built(self) -> bool:
        """Whether `build` has made the slots."""
        return self._built_for is not None

    def build(self, parameters: Array) -> None:
        """Make the slots for these parameters, all zero, and start counting steps anew.

        Arguments:
            parameters: float32 or float64 array of shape (n,).

        Raises:
            ValueError: if it is not flat.
            TypeError: if it is not of floating-point numbers.
        """
        if parameters.ndim != 1:
            raise ValueError(
                f"{self.name}.build expects one flat buffer of parameters, shape (n,), received "
                f"shape {parameters.shape}: pass parameters.reshape(-1)."
            )
        if parameters.dtype.kind != "f":
            raise TypeError(
                f"{self.name}.build expects parameters of float32 or float64, received "
                f"{parameters.dtype}: pass parameters.astype('float32')."
            )
        xp = get_array_module(parameters)
        rate = float(to_numpy(self._learning_rate)[0])
        self._learning_rate = xp.full(1, rate, dtype=parameters.dtype)
        self.iterations = xp.zeros(1, dtype=xp.int64)
        self.state = {slot: xp.zeros_like(parameters) for slot in self.slots}
        self._built_for = (parameters.shape, parameters.dtype)

    def apply(self, parameters: Array, gradients: Array) -> None:
        """Change the parameters by one step, in place.

        Arguments:
            parameters: array of shape (n,), as given to `build`.
            gradients: array of the same shape and dtype.

        Raises:
            RuntimeError: before `build`.
            ValueError: if a buffer has another shape or dtype than the slots; nothing is changed.
        """
        if self._built_for is None:
            raise RuntimeError(
                f"{self.name}.apply needs the optimizer's slots, which are not there yet: "
                "call build(parameters) first."
            )
        shape, dtype = self._built_for
        for argument, buffer in (("parameters", parameters), ("gradients", gradients)):
            if buffer.shape != shape or buffer.dtype != dtype:
                raise ValueError(
                    f"{self.name}.apply expects {argument} as the optimizer was built for, "
                    f"{dtype}{shape}, received {buffer.dtype}{buffer.shape}: "
                    "call build(parameters) with the new buffer."
                )
        self.iterations += 1
        try:
            self.update(parameters, gradients, self.state)
        except BaseException:
            self.iterations -= 1
            raise

    def update(self, parameters: Array, gradients: Array, slots: Mapping[str, Array]) -> None:
        """Change `parameters` and `slots` in place; a subclass writes this.

        So that a step can be captured on a GPU, use the learning rate and `iterations` as the
        arrays they are there, and not as Python numbers.

        Arguments:
            parameters: array of shape (n,).
            gradients: array of shape (n,).
            slots: an array of shape (n,) for each name in the class' `slots`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no update rule: "
            "define update(self, parameters, gradients, slots)."
        )

    def update_unless(
        self, failed: Array, parameters: Array, gradients: Array, slots: Mapping[str, Array]
    ) -> None:
        """Do what `update` does, but leave everything as it is where the step has failed.

        That is known on the device alone. This way takes copies; a subclass whose kernels can look
        for themselves has a shorter one.

        Arguments:
            failed: int64 (3,); the step has failed unless the first two are 0, and the third
                counts the steps that were left out.
            parameters, gradients, slots: as in `update`.
        """
        xp = get_array_module(parameters)
        changed = [parameters, *slots.values()]
        before = [array.copy() for array in changed]
        self.update(parameters, gradients, slots)
        bad = (failed[:2] != 0).any()
        for array, kept in zip(changed, before, strict=True):
            array[...] = xp.where(bad, kept, array)
        failed[2:] += bad

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an optimizer like this one.

        >>> Optimizer(0.5).get_config()
        {'learning_rate': 0.5, 'name': 'optimizer'}
        """
        arguments = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names = [argument.name for argument in arguments if argument.kind not in variadic]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise AttributeError(
                f"{type(self).__name__}.get_config expects each argument of __init__ in an "
                f"attribute of its name, found no self.{missing[0]}: set it in __init__."
            )
        config = {name: getattr(self, name) for name in names}
        if "learning_rate" in config:
            config["learning_rate"] = float(config["learning_rate"])
        return config
