"""Gradients of functions, and a check of them against differences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpunet import random
from gpunet.autograd import Array, Parameter, Tensor, no_grad, recording
from gpunet.backend import asarray, get_array_module

__all__ = ["check_gradients", "grad", "value_and_grad"]


def value_and_grad(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Array, Any]]:
    """Return a function that gives `function`'s value and its gradient.

    Arguments:
        function: returns a tensor of one element.
        argnums: the position, or positions, of the arguments to differentiate by. Each is an
            array, or a list, tuple or dict of them; its gradient has the same structure.

    >>> import numpy as np
    >>> value, gradient = value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    """
    positions = (argnums,) if isinstance(argnums, int) else argnums

    @functools.wraps(function)
    def evaluate(*args: Any, **kwargs: Any) -> tuple[Array, Any]:
        inputs = list(args)
        for position in positions:
            inputs[position] = _map(_variable, args[position])
        with recording(True):
            output = function(*inputs, **kwargs)
        if not isinstance(output, Tensor):
            raise TypeError(
                f"The function to differentiate must return a Tensor, received "
                f"{type(output).__name__}: compute with gpunet.functions and operators."
            )
        if output.node is not None or output.requires_grad:  # else it depends on no argument
            output.backward()
        gradients = tuple(_map(_gradient_or_zeros, inputs[position]) for position in positions)
        return output.value, gradients[0] if isinstance(argnums, int) else gradients

    return evaluate


def grad(function: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that gives the gradient alone; see `value_and_grad`.

    >>> import numpy as np
    >>> grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    evaluate = value_and_grad(function, argnums)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return evaluate(*args, **kwargs)[1]

    return gradient


def _map(function: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, dict):
        return {key: _map(function, item) for key, item in structure.items()}
    is_several = isinstance(structure, list | tuple)
    if is_several and not all(isinstance(item, int | float) for item in structure):
        items = [_map(function, item) for item in structure]
        return structure._make(items) if hasattr(structure, "_make") else type(structure)(items)
    return function(structure)


def _variable(x: Any) -> Tensor:
    if isinstance(x, Tensor) and (x.node is not None or x.requires_grad):
        raise TypeError(
            "grad and value_and_grad take arrays, received a tensor that is itself being "
            "differentiated: gradients of gradients are not supported."
        )
    return Tensor(x, requires_grad=True)


def _gradient_or_zeros(x: Tensor) -> Array:
    return get_array_module(x.value).zeros_like(x.value) if x.grad is None else x.grad


def check_gradients(
    function: Callable[..., Any],
    *inputs: Any,
    projections: int = 2,
    epsilon: float = 1e-6,
    tolerance: float = 1e-5,
    seed: int = 0,
    **settings: Any,
) -> None:
    """Raise `AssertionError` if a gradient of `function` disagrees with central differences.

    The output is projected onto a random direction, which makes it one number f. For each input,
    and for each weight if `function` is a layer or a model, its gradient along a random direction
    d is compared with (f(v + epsilon d) - f(v - epsilon d)) / (2 epsilon). All is computed in
    float64, with the same dropout masks at each evaluation. The weights are left as they were.

    Arguments:
        function: takes tensors and returns one; a layer or a model too.
        inputs: arrays; those of integers are passed on and not differentiated.
        projections: how many directions are tried.
        epsilon: step of the differences. Kinks (as of relu at 0) nearer than this do not pass.
        tolerance: allowed difference relative to the larger of the two, or to f's rounding.
        seed: of the directions.
        settings: keyword arguments passed on to `function`, such as ``training=True``.

    >>> import numpy as np
    >>> from gpunet import functions
    >>> check_gradients(functions.tanh, np.linspace(-2.0, 2.0, 7))
    """
    values = [_as_float64(x, function) for x in inputs]
    if getattr(function, "built", True) is False:
        with no_grad():
            function(*values, **settings)  # makes the weights
    parameters = [p for p in getattr(function, "trainable_weights", ()) if p.size]
    with _in_float64(getattr(function, "weights", ())):
        generator = random.Generator(seed)
        rewind = random.rewinding(getattr(function, "generators", ()))
        try:
            for _ in range(projections):
                probe = _Probe(function, values, parameters, settings, generator, rewind)
                if not probe.variables:
                    raise ValueError(
                        "check_gradients found nothing to differentiate: give at least one input "
                        "of floating-point numbers, or a layer with trainable weights."
                    )
                for variable, where in probe.variables:
                    probe.compare(variable, where, epsilon, tolerance)
        finally:
            rewind()


class _Probe:
    """f, the function's output along a random direction, with its gradients."""

    def __init__(
        self,
        function: Callable[..., Any],
        values: list[Array],
        parameters: list[Parameter],
        settings: dict[str, Any],
        generator: random.Generator,
        rewind: Callable[[], None],
    ) -> None:
        self.function, self.settings, self.rewind = function, settings, rewind
        self.generator = generator
        self.tensors = [Tensor(v, requires_grad=v.dtype.kind == "f") for v in values]
        self.variables: list[tuple[Tensor, str]] = [
            (x, f"input {i}") for i, x in enumerate(self.tensors) if x.requires_grad
        ] + [(p, f"weight {p.name!r}") for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        with recording(True):
            output = self._output()
        if output.dtype != "float64":
            raise TypeError(
                f"check_gradients computes in float64, and the function gave {output.dtype}: pass "
                "a layer or model itself, not a function around it, or give it dtype='float64'."
            )
        self.direction = self._draw(output.value)
        if output.node is not None or output.requires_grad:
            output.backward(self.direction)

    def _output(self) -> Tensor:
        self.rewind()
        return self.function(*self.tensors, **self.settings)

    def _draw(self, like: Array) -> Array:
        numbers = self.generator.uniform(like.shape, -1.0, 1.0, dtype="float64")
        return asarray(numbers, like=like)

    def _evaluate(self) -> float:
        with no_grad():
            return float((self._output().value * self.direction).sum())

    def compare(self, variable: Tensor, where: str, epsilon: float, tolerance: float) -> None:
        direction = self._draw(variable.value)
        grad = 0.0 if variable.grad is None else variable.grad
        expected = float((grad * direction).sum())
        original = variable.value
        variable.value = original + epsilon * direction
        above = self._evaluate()
        variable.value = original - epsilon * direction
        below = self._evaluate()
        variable.value = original
        measured = (above - below) / (2 * epsilon)
        # Each evaluation is rounded to about 1e-16 of its size, which epsilon then divides.
        rounding = 1e-14 * max(abs(above), abs(below), 1.0) / epsilon
        allowed = tolerance * max(abs(expected), abs(measured)) + rounding
        if not abs(expected - measured) <= allowed:
            raise AssertionError(
                f"The gradient for {where}, shape {variable.shape}, is {expected:.10g} along a "
                f"random direction, central differences give {measured:.10g} "
                f"(allowed difference {allowed:.3g}): check the closure that returns it."
            )


def _as_float64(x: Any, function: Any) -> Array:
    """Return an input in float64, where the weights are if `function` is a layer or a model."""
    like = next((weight.value for weight in getattr(function, "weights", ())), None)
    array = asarray(x.value if isinstance(x, Tensor) else x, like=like)
    return array.astype("float64") if array.dtype.kind == "f" else array


@contextmanager
def _in_float64(weights: Any) -> Iterator[None]:
    """Replace weights by float64 copies inside the block."""
    saved = [(weight, weight.value, weight.grad) for weight in weights]
    for weight, value, _ in saved:
        weight.value = value.astype("float64")
    try:
        yield
    finally:
        for weight, value, grad in saved:
            weight.value, weight.grad = value, grad
