"""The base of optimizers: step count, learning rate, slots, weight decay, skipped steps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from gpunet.arguments import check_number
from gpunet.autograd import Array
from gpunet.backend import get_array_module, to_numpy
from gpunet.configurable import Configurable
from gpunet.naming import snake_case
from gpunet.optimizers.schedules import as_schedule
from gpunet.optimizers.slots import (
    Segment,
    Slots,
    check_flat,
    check_list,
    lay_out,
    new_buffer,
    value_of,
    with_gradients,
)
from gpunet.variable import Variable

__all__ = ["Optimizer", "Segment"]


class Optimizer(Configurable):
    """Base class of optimizers: a subclass names its slots and writes its update rule.

    All parameters are one flat buffer, and so are their gradients and each slot. A *slot* is a
    buffer as long as the parameters, zero at first, such as a running mean of the gradients.

    Arguments:
        learning_rate: at least 0; or a schedule, a function of the number of steps so far.
        weight_decay: share of each weight, times the learning rate, that a step takes away; None
            for none.
        name: the optimizer's name; by default its class name in snake_case.

    Attributes:
        step_count: int64 array of shape (1,), the number of steps. During an update that update is
            counted: the first has 1.

    >>> class SignSGD(Optimizer):
    ...     slots = ("mean",)
    ...
    ...     def update(self, parameters, gradients, slots, segments):
    ...         slots["mean"] += 0.1 * (gradients - slots["mean"])
    ...         parameters -= self.learning_rate * np.sign(slots["mean"])
    >>> weights = [np.zeros(2)]
    >>> optimizer = SignSGD(learning_rate=0.5)
    >>> optimizer.apply([np.array([3.0, -0.2])], weights)
    >>> weights
    [array([-0.5,  0.5])]
    """

    slots: tuple[str, ...] = ()
    _set_by_init = "step_count"

    def __init__(
        self,
        learning_rate: Any = 0.01,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        where = type(self).__name__
        self.name = name or snake_case(where)
        # Arrays from the start: `build` moves them to the parameters' device.
        self._learning_rate: Array = np.zeros(1)
        self._schedule: Callable[[Any], Any] | None = None
        self.step_count: Array = np.zeros(1, np.int64)
        self.weight_decay = (
            None if weight_decay is None else check_number(where, "weight_decay", weight_decay)
        )
        self._spared: tuple[list[Any], list[str]] = ([], [])  # from decay: variables, patterns
        self._slots: Slots | None = None
        self._stepping = False
        self._set_rate(learning_rate)

    # The learning rate and the count

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, within an update that of the step: a `Variable`.

        A number or a schedule can be assigned at any time. A captured step on a GPU reads it
        there.
        """
        return Rate(self._current_rate, self._set_rate)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_rate(value)

    def _set_rate(self, value: Any) -> None:
        schedule = as_schedule(value)
        if schedule is not None:
            self._schedule = schedule
            return
        rate = check_number(type(self).__name__, "learning_rate", value)
        if self._schedule is not None:
            raise TypeError(
                f"The learning rate of {self.name!r} follows the schedule {self._schedule!r} and "
                f"cannot be set to {rate!r}: assign another schedule, or make the optimizer with a "
                "number."
            )
        self._learning_rate[0] = rate

    def _current_rate(self) -> Array:
        """Return the learning rate as an array of no axes, where the parameters live."""
        if self._schedule is None or self._stepping:
            return self._learning_rate.reshape(())
        xp = get_array_module(self.step_count)
        return xp.asarray(self._schedule(self.step_count[0]), self._learning_rate.dtype).reshape(())

    @property
    def iterations(self) -> Any:
        """The number of steps, a `Variable`."""
        return Variable(self.step_count.reshape(()), "iteration")

    def _no_lr(self, *value: Any) -> Any:
        raise AttributeError(
            "optimizers have no attribute 'lr': use learning_rate, as optimizer.learning_rate = "
            "0.01."
        )

    lr = property(_no_lr, _no_lr)

    # The rule, which subclasses write

    def update(
        self,
        parameters: Array,
        gradients: Array,
        slots: Mapping[str, Array],
        segments: Sequence[Segment],
    ) -> None:
        """Change `parameters` and `slots` in place; a subclass writes this.

        So that a step can be captured on a GPU, use the learning rate and `iterations` in array
        expressions, not as Python numbers. A rule that also takes ``skip=`` must leave everything
        as it is where `skip` says so, as the kernels of `gpunet.primitives` do.

        Arguments:
            parameters: array of shape (n,).
            gradients: array of shape (n,).
            slots: an array of shape (n,) for each name in the class' `slots`.
            segments: where each weight is; may be left out of the signature.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no update rule: "
            "define update(self, parameters, gradients, slots, segments)."
        )

    # Flat buffers

    @property
    def built(self) -> bool:
        """True once `build` or `build_buffer` has made the slots."""
        return self._slots is not None

    @property
    def state(self) -> dict[str, Array]:
        """The slots, flat arrays by name; empty before `build`."""
        return {} if self._slots is None else self._slots.arrays

    def build_buffer(
        self,
        parameters: Array,
        segments: Sequence[Segment] | None = None,
        variables: Sequence[Any] = (),
    ) -> None:
        """Make the slots for one flat buffer of parameters.

        Weights known from an earlier call keep their slots, and the optimizer its count. Without
        `variables` the count and the slots start at zero.

        Arguments:
            parameters: float32 or float64 array of shape (n,).
            segments: where each weight is; by default the buffer is one weight.
            variables: the weights, in the order of `segments`.

        Raises:
            ValueError: if the buffer is not flat, or the optimizer was built for other weights;
                nothing is changed.
            TypeError: if the buffer holds no floating-point numbers.
        """
        check_flat(f"{self.name}.build_buffer", parameters)
        if segments is None:
            segments = [Segment("parameters", 0, parameters.size, parameters.shape)]
        count = np.zeros(1, np.int64)
        if self._slots is None or not self._slots.variables or not variables:
            slots = Slots(self.slots, parameters, segments, variables)
        else:
            self._slots.check_known(f"The optimizer {self.name!r}", variables)
            slots, count = self._slots.moved(parameters, segments, variables), self.step_count
        xp = get_array_module(parameters)
        rate = to_numpy(self._learning_rate)
        # New arrays: a copy of the optimizer may share the old ones.
        self._learning_rate = xp.array(rate, dtype=parameters.dtype)
        self.step_count = xp.array(to_numpy(count))
        self._slots = slots

    def step(
        self,
        parameters: Array,
        gradients: Array,
        *,
        skip: Array | None = None,
        counted: bool = False,
    ) -> None:
        """Change a flat buffer of parameters by one step, in place.

        Arguments:
            parameters: array of shape (n,), as given to `build_buffer`.
            gradients: array of the same shape and dtype.
            skip: int64 (3,) or None. Where its first or second element is not 0, nothing is
                changed but its third, which counts the steps that were left out.
            counted: whether `step_count` includes this step already, as in a captured step.

        Raises:
            RuntimeError: before `build_buffer`.
            ValueError: if a buffer has another shape or dtype than the slots; nothing is changed.
        """
        if self._slots is None:
            raise RuntimeError(
                f"{self.name}.step needs the optimizer's slots, which do not exist yet: "
                "call build_buffer(parameters) first."
            )
        shape, dtype = self._slots.shape, self._slots.dtype
        for argument, buffer in (("parameters", parameters), ("gradients", gradients)):
            if buffer.shape != shape or buffer.dtype != dtype:
                raise ValueError(
                    f"{self.name}.step expects {argument} as the optimizer was built for, "
                    f"{dtype}{shape}, received {buffer.dtype}{buffer.shape}: "
                    "call build_buffer(parameters) with the new buffer."
                )
        with self._counted(skip, counted):
            self._step(parameters, gradients, self._slots, skip)

    @contextmanager
    def _counted(self, skip: Array | None = None, counted: bool = False) -> Iterator[None]:
        """Count a step and set its learning rate; a step that fails is not counted."""
        one: Any = 0
        if not counted:  # an array of one element says 0 where the step is skipped
            one = 1 if skip is None else (skip[:2] == 0).all(keepdims=True)
            self.step_count += one
        try:
            if self._schedule is not None:
                self._learning_rate[...] = self._schedule((self.step_count - 1)[0])
            self._stepping = True
            yield
        except BaseException:
            if not counted:
                self.step_count -= one
            raise
        finally:
            self._stepping = False

    def _step(self, parameters: Array, gradients: Array, slots: Slots, skip: Array | None) -> None:
        """Do one step: weight decay, the rule, and the restoration of skipped or failed steps."""
        # A bound method, unless another function was assigned to this optimizer's `update`.
        takes = _parameters_of(getattr(self.update, "__func__", self.update))
        options: dict[str, Any] = {"segments": slots.segments} if "segments" in takes else {}
        if "skip" in takes:  # the rule is a fused kernel, which checks before it writes
            self._decay(parameters, slots, skip)
            self.update(parameters, gradients, slots.arrays, **options | {"skip": skip})
            return
        changed = [parameters, *slots.arrays.values()]
        before = [array.copy() for array in changed]
        try:
            self._decay(parameters, slots, None)
            self.update(parameters, gradients, slots.arrays, **options)
        except BaseException:
            for array, saved in zip(changed, before, strict=True):
                with suppress(Exception):  # refused in a broken capture
                    array[...] = saved
            raise
        if skip is not None:
            failed = (skip[:2] != 0).any()
            xp = get_array_module(parameters)
            for array, saved in zip(changed, before, strict=True):
                array[...] = xp.where(failed, saved, array)
            skip[2:] += failed

    # Weight decay

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Spare weights from decay; call it before the optimizer is built.

        Arguments:
            var_list: weights.
            var_names: regular expressions; a weight is spared if one is found in its path.

        Raises:
            ValueError: if the optimizer is built.
        """
        if self.built:
            raise ValueError(
                f"{self.name}.exclude_from_weight_decay must be called before the optimizer is "
                "built, that is before the first step."
            )
        self._spared = list(var_list or ()), list(var_names or ())

    def _decay(self, parameters: Array, slots: Slots, skip: Array | None) -> None:
        if not self.weight_decay:
            return
        share = self._learning_rate * self.weight_decay
        if skip is not None:
            share = share * (skip[:2] == 0).all()
        for part in slots.parts_without(*self._spared):
            parameters[part] -= parameters[part] * share

    # Keras' calls, on lists of weights

    def build(self, variables: Sequence[Any]) -> None:
        """Make the slots for a list of weights, as `apply` does at its first call.

        Arguments:
            variables: parameters, tensors or arrays, all of one dtype.
        """
        where = f"{self.name}.build"
        expected = "a list of weights, such as model.trainable_weights"
        check_list(where, variables, expected, "build_buffer")
        self.build_buffer(new_buffer(where, variables), lay_out(variables), variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Change weights by one step, in place; the first call builds the optimizer.

        Arguments:
            grads: a gradient for each weight. None leaves a weight as it is, with a warning.
            trainable_variables: parameters, tensors or arrays; by default those of `build`.

        Raises:
            ValueError: if gradients and weights do not fit each other, or the optimizer was built
                for other weights; nothing is changed.
        """
        expected = "a list of gradients and a list of weights"
        check_list(f"{self.name}.apply", grads, expected, "step(parameters, gradients)")
        known = [] if self._slots is None else self._slots.variables
        given = list(known if trainable_variables is None else trainable_variables)
        variables, gradients = with_gradients(f"{self.name}.apply", given, grads)
        if self._slots is None:
            self.build(given)
        assert self._slots is not None
        self._slots.check_known(f"The optimizer {self.name!r}", variables)
        slots = self._slots.only(variables)
        parameters = slots.flat([value_of(variable) for variable in variables])
        with self._counted():
            self._step(parameters, slots.flat(gradients), slots, None)
            slots.spread(parameters)
            if slots is not self._slots:
                self._slots.copy_from(slots)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """Change weights by one step, given pairs of a gradient and a weight; Keras' name."""
        pairs = list(grads_and_vars)
        self.apply([grad for grad, _ in pairs], [variable for _, variable in pairs])
        return self.iterations

    @property
    def variables(self) -> list[Variable]:
        """The step count, the learning rate if it is a number, and each weight's slots."""
        found = [self.iterations]
        if self._schedule is None:
            found.append(self.learning_rate)
        for segment in () if self._slots is None else self._slots.segments:
            for name, slot in self.state.items():
                view = slot[segment.part].reshape(segment.shape)
                found.append(Variable(view, f"{segment.path}_{name}"))
        return found

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an optimizer like this one, with today's learning rate.

        >>> Optimizer(0.5).get_config()
        {'learning_rate': 0.5, 'weight_decay': None, 'name': 'optimizer'}
        """
        rate = float(self._learning_rate[0]) if self._schedule is None else self._schedule
        current = {"learning_rate": rate, "name": self.name}
        return {name: current.get(name, value) for name, value in super().get_config().items()}


class Rate(Variable):
    """An optimizer's learning rate, read and assigned there."""

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


@functools.lru_cache(maxsize=64)
def _parameters_of(rule: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(rule).parameters)
