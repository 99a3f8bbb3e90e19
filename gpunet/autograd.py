"""Tensors, parameters, and functions whose calls on them are recorded."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from gpunet import backend
from gpunet.primitives.partial_sums import Parts, parts_are_left
from gpunet.symbolic import Symbol, record
from gpunet.tape import (
    Array,
    Node,
    Source,
    backpropagate,
    is_recording,
    no_grad,
    recording,
    recording_mode,
)
from gpunet.variable import Assignable

__all__ = [
    "Parameter", "Result", "Tensor", "differentiable", "is_recording", "no_grad", "on_symbols",
    "recording",
]  # fmt: skip

Result: TypeAlias = tuple[Array, Callable[[Array], Any]]  # of a differentiable function's body


def _on_values(compare: Callable[[Any, Any], Any]) -> Any:
    """Return a method that compares values."""
    return lambda self, other: compare(self.value, _value(other))


class Tensor:
    """An array with the calls that computed it, so that it can be differentiated.

    NumPy's functions without a gradient, such as `np.argmax`, and `np.asarray` take its value. They
    raise `TypeError` where that would lose a gradient: inside `recording(True)` (as in a training
    step, `grad` and `value_and_grad`), and where the value depends on a tensor other than a
    `Parameter` that requires a gradient. `numpy()` and `detach()` return the value in any case.

    Arguments:
        value: a NumPy or CuPy array, or anything that makes one on the active backend.
        requires_grad: whether `backward` stores this tensor's gradient in `grad`.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = (
        "__weakref__", "activation", "grad", "logits", "mask", "node", "requires_grad", "value",
    )  # fmt: skip
    __array_priority__ = 1000  # array + tensor is the tensor's business
    from_variable = True  # the user may differentiate by it
    takes_parts = False  # whether `accumulate` takes a gradient in partial sums

    # Operators and array methods: gpunet.functions.operators defines them and puts them here.
    __add__: Callable[..., Tensor]
    __radd__: Callable[..., Tensor]
    __sub__: Callable[..., Tensor]
    __rsub__: Callable[..., Tensor]
    __mul__: Callable[..., Tensor]
    __rmul__: Callable[..., Tensor]
    __truediv__: Callable[..., Tensor]
    __rtruediv__: Callable[..., Tensor]
    __pow__: Callable[..., Tensor]
    __rpow__: Callable[..., Tensor]
    __matmul__: Callable[..., Tensor]
    __rmatmul__: Callable[..., Tensor]
    __neg__: Callable[..., Tensor]
    __abs__: Callable[..., Tensor]
    __getitem__: Callable[..., Tensor]
    sum: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    max: Callable[..., Tensor]
    min: Callable[..., Tensor]
    reshape: Callable[..., Tensor]
    astype: Callable[..., Tensor]
    transpose: Callable[..., Tensor]
    T: Any

    def __init__(self, value: Any, requires_grad: bool = False) -> None:
        if isinstance(value, Tensor):
            value = value.value
        if not hasattr(value, "dtype"):  # a list or a Python number, not yet an array
            value = backend.asarray(value)
        elif isinstance(value, np.generic):  # what NumPy makes of an array of no dimensions
            value = np.asarray(value)
        if requires_grad and value.dtype.kind != "f":
            raise TypeError(
                f"Only floating-point tensors have gradients, received dtype {value.dtype}: "
                "give the values as float32 or float64."
            )
        self.value: Array = value
        self.grad: Array | None = None
        self.node: Node | None = None
        # Set by softmax and sigmoid: their name and their input.
        self.activation: str | None = None
        self.logits: Tensor | None = None
        self.mask: Array | None = None  # bool (batch, ...), False where a step is padding
        self.requires_grad = requires_grad

    # Read without a Python call: a step reads them many times.
    shape: Any = property(operator.attrgetter("value.shape"))
    dtype: Any = property(operator.attrgetter("value.dtype"))
    ndim: Any = property(operator.attrgetter("value.ndim"))
    size: Any = property(operator.attrgetter("value.size"))

    def numpy(self) -> np.ndarray:
        """Return the value as a NumPy array."""
        return backend.to_numpy(self.value)

    def detach(self) -> Tensor:
        """Return a tensor of the same value, without the calls that computed it."""
        return Tensor(self.value)

    def item(self) -> float:
        """Return the only element as a Python number."""
        return self.value.item()

    def backward(self, output_grad: Array | None = None) -> None:
        """Add d(self)/d(tensor) to the `grad` of every tensor that requires it.

        The tape is consumed: a second call through the same calls is an error.

        Arguments:
            output_grad: gradient of this tensor, of its shape; by default 1, for a tensor of one
                element.

        Raises:
            ValueError: `output_grad` is missing or has another shape.
            RuntimeError: nothing was recorded, or the tape was consumed before.
        """
        if output_grad is None:
            if self.size != 1:
                raise ValueError(
                    f"backward() starts from one number, this tensor has shape {self.shape}: "
                    "reduce it first (such as .sum()), or pass output_grad."
                )
            output_grad = backend.get_array_module(self.value).ones_like(self.value)
        else:
            backend.get_array_module(self.value, output_grad)  # raises where they cannot be mixed
            if output_grad.shape != self.shape:
                raise ValueError(
                    f"backward() expected output_grad of the tensor's shape {self.shape}, "
                    f"received {output_grad.shape}."
                )
        source = _source(self)
        if source is None:
            raise RuntimeError(
                "backward() found nothing to differentiate: no tensor that went into this value "
                "has requires_grad=True, or it was computed under no_grad()."
            )
        backpropagate(source, output_grad.astype(self.dtype, copy=False))

    def accumulate(self, grad: Array) -> None:
        """Add to `grad`; the given array is copied."""
        self.grad = grad.copy() if self.grad is None else self.grad + grad

    def __repr__(self) -> str:
        wants = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({self.value!r}{wants})"

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.is_differentiated():
            raise TypeError(
                "Making a NumPy array of a Tensor would lose its gradient: use gpunet.functions "
                "(such as stack for several of them), or tensor.numpy() for the value alone."
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def is_differentiated(self) -> bool:
        """Return whether `np.asarray` would lose a gradient; see the class."""
        source, mode = _source(self), recording_mode.get()
        return source is not None and mode is not False and (mode or source.from_variable)

    # Comparisons have no gradient: they give plain arrays.
    __eq__, __ne__ = _on_values(operator.eq), _on_values(operator.ne)
    __lt__, __le__ = _on_values(operator.lt), _on_values(operator.le)
    __gt__, __ge__ = _on_values(operator.gt), _on_values(operator.ge)
    __hash__ = object.__hash__


class Parameter(Assignable, Tensor):
    """A weight of a layer.

    A model lays its parameters out in one flat buffer; `value` and `grad` are then views into it.
    It marks gradients of the previous step as `stale`: the next gradient overwrites them. On a GPU
    a gradient may stay in `parts`, partial sums which the model adds up into `grad`.

    Arguments:
        value: the initial value.
        name: for messages and `summary()`.
        trainable: False for a weight that no optimizer changes.

    Attributes:
        regularizer: a function of the weight, whose result is added to the loss; or None.
    """

    __slots__ = ("name", "parts", "regularizer", "stale", "trainable")
    from_variable = False
    takes_parts = True

    def __init__(self, value: Any, name: str = "parameter", trainable: bool = True) -> None:
        super().__init__(value, requires_grad=trainable)
        self.name = name
        self.trainable = trainable
        self.stale = False
        self.parts: Parts | None = None
        self.regularizer: Callable[[Parameter], Tensor] | None = None

    def accumulate(self, grad: Array | Parts) -> None:
        """Add to `grad`, in place where it is part of a model's flat buffer."""
        if self.stale and parts_are_left() and _may_be_left(grad, self.grad):
            grad = Parts.of_whole(grad)
        if isinstance(grad, Parts):
            if self.stale:
                self.parts, self.stale = grad, False
                return
            grad = grad.total()
        if self.grad is None:
            self.grad = grad.astype(self.dtype, copy=True)
        elif self.stale:
            self.grad[...] = grad
        else:
            self.sum_parts()
            self.grad += grad
        self.stale = False

    def sum_parts(self) -> None:
        """Write the total of `parts` to `grad`."""
        if self.parts is not None and self.grad is not None:
            self.grad[...] = self.parts.total()
            self.parts = None


def _may_be_left(grad: Any, buffer: Any) -> bool:
    """Return whether a gradient can go to a model's flat buffer along with those in parts."""
    if isinstance(grad, Parts) or buffer is None or type(grad) is not type(buffer):
        return False
    return bool(grad.dtype == buffer.dtype and grad.size and grad.flags.c_contiguous)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Tensor) else x


def _source(x: Any) -> Source | None:
    """Return the target of a gradient for `x`: the call that made it, the leaf itself, or None."""
    if not isinstance(x, Tensor):
        return None
    return x.node or (x if x.requires_grad else None)


def on_symbols(function: Callable[..., Any]) -> Any:
    """Make a function record its call, instead of running, if a symbol is among its arguments."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for x in (*args, *kwargs.values()):
            if isinstance(x, Symbol):
                return record(call, args, kwargs)
        return function(*args, **kwargs)

    return call


def differentiable(function: Callable[..., Result]) -> Any:
    """Make a differentiable function of one that returns its value and a closure.

    `function` takes arrays by position and settings by keyword. It returns ``(value, backward)``,
    where ``backward(output_grad)`` returns the gradient for each array argument: one array, or a
    tuple with one entry per argument. An entry may be a function of no arguments; it is called only
    if that gradient is needed. A closure never writes into `output_grad`.

    The result takes tensors and arrays, and as its first argument lists and numbers too. It returns
    a `Tensor`, or a symbol if a symbol is among its arguments.

    >>> @differentiable
    ... def cube(x):
    ...     return x**3, lambda output_grad: 3 * x**2 * output_grad
    >>> x = Tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> float(x.grad)
    12.0
    """
    signature = inspect.signature(function)

    @on_symbols
    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Tensor:
        if any(isinstance(value, Tensor) for value in kwargs.values()):
            bound = signature.bind(*args, **kwargs)
            args, kwargs = bound.args, bound.kwargs
        values = [_value(x) for x in args]
        if values and not hasattr(values[0], "dtype"):
            values[0] = _first_as_array(*values)
        try:
            value, backward = function(*values, **kwargs)
        except TypeError:
            backend.get_array_module(*values)  # raises if NumPy and CuPy arrays were mixed
            raise
        except AttributeError:
            _check_arrays(function.__name__, signature, values)
            raise
        output = Tensor(value)
        if recording_mode.get() is not False:
            sources = tuple([_source(x) for x in args])
            if any(source is not None for source in sources):
                output.node = Node(function.__name__, output.value, sources, backward)
        return output

    return recorded


def _check_arrays(name: str, signature: inspect.Signature, values: Sequence[Any]) -> None:
    """Raise `TypeError` if one of these arguments must be an array and is none."""
    for parameter, value in zip(signature.parameters.values(), values, strict=False):
        if parameter.annotation in ("Array", Array) and not hasattr(value, "dtype"):
            raise TypeError(
                f"{name} expects an array or a tensor for {parameter.name}, received "
                f"{type(value).__name__}: make one with gpunet.backend.asarray(x, dtype='float32')."
            ) from None


def _first_as_array(first: Any, *others: Any) -> Any:
    """Return a list as an array, and a number too unless it goes with an array."""
    like = next((x for x in others if hasattr(x, "dtype")), None)
    if isinstance(first, list | tuple) or (isinstance(first, int | float) and like is None):
        return backend.asarray(first, like=like)
    return first
