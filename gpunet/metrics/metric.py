"""The base of metrics, and their arguments as arrays."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from gpunet.arguments import floating
from gpunet.autograd import Array, Tensor
from gpunet.backend import array_module, asarray, get_array_module
from gpunet.configurable import Configurable
from gpunet.losses.targets import as_column
from gpunet.naming import snake_case
from gpunet.variable import Variable

__all__ = ["Metric", "aligned_weights", "as_array", "as_arrays", "same_shape"]


class Metric(Configurable):
    """Base class of metrics: `update_state` takes in a batch, `result` returns the metric so far.

    Arguments:
        dtype: of the metric's variables, float64 by default.
        name: the key of the metric in logs and in the history; by default the class name in
            snake_case.

    >>> class LargestError(Metric):
    ...     def __init__(self, **options):
    ...         super().__init__(**options)
    ...         self.largest = self.add_variable((), name="largest")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(max(float(self.largest), float(abs(y_pred - y_true).max())))
    ...
    ...     def result(self):
    ...         return float(self.largest)
    >>> metric = LargestError()
    >>> metric(np.array([1.0, 2.0]), np.array([1.5, 4.0]))
    2.0
    """

    _set_by_init = "_variables"

    def __init__(self, dtype: Any = None, name: str | None = None, **unknown: Any) -> None:
        super().__init__(**unknown)
        where = type(self).__name__
        self.name = name or snake_case(where)
        self.dtype = floating(dtype, where)
        self._variables: list[Variable] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in one batch, as `update_state`, and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in one batch, for most metrics ``update_state(y_true, y_pred)``."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot take in a batch: define "
            "update_state(self, y_true, y_pred, sample_weight=None)."
        )

    def result(self) -> Any:
        """Return the metric over all batches since `reset_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no result: define result(self).")

    def reset_state(self) -> None:
        """Forget all batches: set the metric's variables to 0."""
        if not self._variables:
            raise NotImplementedError(
                f"{type(self).__name__} has no variables to reset: make them by add_variable, or "
                "define reset_state(self)."
            )
        for variable in self._variables:
            variable.assign(0)

    def add_variable(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Return a new variable of the metric's state.

        Arguments:
            shape: of the variable.
            initializer: zeros; others cannot be reset to.
            dtype: of the variable, by default the metric's.
            name: the variable's name.
        """
        if getattr(initializer, "__name__", type(initializer).__name__) != "Zeros" and (
            initializer not in (None, "zeros", "Zeros", "zero")
        ):
            raise ValueError(
                f"{self.name}.add_variable expects initializer='zeros', the state that "
                f"reset_state returns to, received {initializer!r}."
            )
        kind = floating(dtype, self.name) or self.dtype or np.dtype(np.float64)
        variable = Variable(array_module().zeros(shape, kind), name or "variable")
        self._variables.append(variable)
        return variable

    add_weight = add_variable

    @property
    def variables(self) -> list[Variable]:
        """The variables made by `add_variable`."""
        return list(self._variables)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a metric with its own state, which shares the functions that it calls."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for value in vars(self).values():
            if callable(value) and not isinstance(value, Metric):
                memo[id(value)] = value
        vars(twin).update({name: copy.deepcopy(item, memo) for name, item in vars(self).items()})
        return twin


def as_array(x: Any, like: Array | None = None) -> Array:
    """Return the array in a tensor, or an array of a list, which then lives where `like` does."""
    if isinstance(x, Tensor):
        return x.value
    return x if hasattr(x, "shape") else asarray(x, like=like)


def as_arrays(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return labels and predictions as arrays of one library."""
    y_pred = as_array(y_pred)
    y_true = as_array(y_true, like=y_pred)
    get_array_module(y_true, y_pred)  # raises where they cannot be compared
    return y_true, y_pred


def aligned_weights(name: str, sample_weight: Any, values: Array) -> Array:
    """Return weights (batch, ...) in the shape of the values, where these are.

    Raises:
        ValueError: their shape is not the first part of that of the values.
    """
    weights = asarray(as_array(sample_weight), like=values)
    shape = weights.shape
    if len(shape) > values.ndim and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > values.ndim or any(
        size not in (1, other) for size, other in zip(shape, values.shape, strict=False)
    ):
        raise ValueError(
            f"{name} expects sample_weight of shape {values.shape[:1]}, received shape "
            f"{weights.shape} for values of shape {values.shape}."
        )
    weights = weights.reshape(shape + (1,) * (values.ndim - len(shape)))
    return get_array_module(values).broadcast_to(weights, values.shape)


def same_shape(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return labels and predictions as arrays of one shape; raise `ValueError` if theirs differ."""
    y_true, y_pred = as_arrays(y_true, y_pred)
    y_true = as_column(y_true, y_pred.shape)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{where} expects y_true of the shape of y_pred, {y_pred.shape}, received "
            f"{y_true.shape}: labels and predictions are compared one by one and never broadcast."
        )
    return y_true, y_pred
