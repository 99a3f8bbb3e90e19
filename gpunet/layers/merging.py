"""Layers that make one output of several inputs."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from gpunet import functions
from gpunet.arguments import integer
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.roles import Role, Sum

__all__ = [
    "Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract", "add",
    "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract",
]  # fmt: skip


class _Merge(Layer):
    """A layer of a list of inputs, which are combined from the left, element by element.

    As in Keras, a step of the output counts where that of any input does; the output has no mask
    if one of the inputs has none.
    """

    creates_mask = False

    _takes_two = False  # whether there must be exactly two

    def build(self, input_shape: Any) -> None:
        self.check_input(input_shape)

    def check_input(self, shape: Any) -> None:
        if not isinstance(shape, list):
            raise ValueError(
                f"{type(self).__name__} expects a list of at least 2 inputs, received one input "
                f"of shape {shape}: call it as layer([x, y])."
            )
        self.check_shapes(shape)

    def check_shapes(self, shapes: list[Shape]) -> None:
        """Raise `ValueError` unless the layer can take inputs of these shapes."""
        if len(shapes) < 2 or (self._takes_two and len(shapes) > 2):
            kind, least = type(self).__name__, "" if self._takes_two else "at least "
            raise ValueError(f"{kind} expects a list of {least}2 inputs, received {len(shapes)}.")
        self.compute_output_shape(shapes)

    def combine(self, x: Any, y: Any) -> Any:
        """Return what two inputs make; a subclass writes this."""
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        result = inputs[0]
        for x in inputs[1:]:
            result = self.combine(_of_rank(result, x.ndim), _of_rank(x, result.ndim))
        return result

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        shape = tuple(input_shape[0])
        for other in input_shape[1:]:
            shape = self._broadcast(shape, tuple(other))
        return shape

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        if previous_mask is None or any(mask is None for mask in previous_mask):
            return None
        return functools.reduce(operator.or_, previous_mask)

    def _broadcast(self, one: Shape, other: Shape) -> Shape:
        """Return the shape of two inputs combined; a rank that is missing follows the batch."""
        rank = max(len(one), len(other))
        pairs = [_expanded(shape, rank) for shape in (one, other)]
        sizes: list[int | None] = []
        for a, b in zip(*pairs, strict=True):
            if a != b and 1 not in (a, b) and None not in (a, b):
                raise ValueError(
                    f"{type(self).__name__} expects inputs whose shapes broadcast, received "
                    f"{one} and {other}."
                )
            known = [size for size in (a, b) if size not in (None, 1)]
            sizes.append(known[0] if known else None if None in (a, b) else 1)
        return tuple(sizes)


def _expanded(shape: Shape, rank: int) -> Shape:
    return (*shape[:1], *(1,) * (rank - len(shape)), *shape[1:])


def _of_rank(x: Any, rank: int) -> Any:
    """Return `x` with axes of size 1 after the batch, where it has fewer than `rank`."""
    if x.ndim >= rank:
        return x
    return functions.reshape(x, _expanded(x.shape, rank))


class Add(_Merge):
    """The sum of the inputs.

    >>> import numpy as np
    >>> Add()([np.array([[1.0]]), np.array([[2.0]])]).numpy()
    array([[3.]], dtype=float32)
    """

    def combine(self, x: Any, y: Any) -> Any:
        return x + y

    def fusion_role(self) -> Role | None:
        return Sum()


class Subtract(_Merge):
    """The first of two inputs less the second."""

    _takes_two = True

    def combine(self, x: Any, y: Any) -> Any:
        return x - y


class Multiply(_Merge):
    """The product of the inputs, element by element."""

    def combine(self, x: Any, y: Any) -> Any:
        return x * y


class Average(_Merge):
    """The mean of the inputs, element by element."""

    def combine(self, x: Any, y: Any) -> Any:
        return x + y

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / len(inputs)


class Maximum(_Merge):
    """The largest of the inputs, element by element."""

    def combine(self, x: Any, y: Any) -> Any:
        return functions.maximum(x, y)


class Minimum(_Merge):
    """The smallest of the inputs, element by element."""

    def combine(self, x: Any, y: Any) -> Any:
        return functions.minimum(x, y)


class Concatenate(_Merge):
    """The inputs joined along an axis; all other sizes are equal.

    Masks are joined likewise: an input without one counts everywhere.

    Arguments:
        axis: of the inputs, the batch counted; it must not be the batch's.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> Concatenate()([np.ones((2, 3)), np.ones((2, 4))]).shape
    (2, 7)
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = integer(axis, "axis", "Concatenate")

    creates_mask = False

    def call(self, inputs: Any) -> Any:
        return functions.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        if previous_mask is None:
            return None
        pairs = zip(inputs, previous_mask, strict=True)
        xp = get_array_module(inputs[0].value)
        return xp.concatenate([_wide_mask(x, mask) for x, mask in pairs], self.axis).any(axis=-1)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        first, *others = (tuple(shape) for shape in input_shape)
        axis = self.axis % len(first) if -len(first) <= self.axis < len(first) else 0
        if axis == 0:
            raise ValueError(
                f"Concatenate: axis must be one of 1 to {len(first) - 1}, or count from the end, "
                f"for inputs of shape {first}, received {self.axis}."
            )
        sizes = [first[axis]]
        for shape in others:
            rest = (*first[:axis], *first[axis + 1 :])
            if len(shape) != len(first) or not _agree(rest, (*shape[:axis], *shape[axis + 1 :])):
                raise ValueError(
                    f"Concatenate expects inputs that differ along axis {axis} alone, received "
                    f"shapes {[tuple(s) for s in input_shape]}."
                )
            sizes.append(shape[axis])
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        return (*first[:axis], total, *first[axis + 1 :])


def _wide_mask(x: Any, mask: Any) -> Any:
    """Return a mask in the shape of its input; True where there is none."""
    xp = get_array_module(x.value)
    if mask is None:
        return xp.ones(x.shape, bool)
    return xp.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)


def _agree(one: Shape, other: Shape) -> bool:
    return all(a == b or None in (a, b) for a, b in zip(one, other, strict=True))


class Dot(_Merge):
    """Products of two inputs, summed over one axis of each; samples are multiplied one by one.

    Arguments:
        axes: the axis of both inputs, or one of each, the batch counted.
        normalize: whether both are divided by their length along the axis first, so that the
            result is the cosine of the angle between them.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> Dot(axes=1)([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).numpy()
    array([[11.]], dtype=float32)
    """

    _takes_two = True

    def __init__(self, axes: Any, normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        pair = tuple(axes) if isinstance(axes, list | tuple) else (axes, axes)
        if len(pair) != 2:
            raise ValueError(f"Dot: axes must be an integer or two, received {axes!r}.")
        self.axes = integer(pair[0], "axes", "Dot"), integer(pair[1], "axes", "Dot")
        self.normalize = normalize

    def check_shapes(self, shapes: list[Shape]) -> None:
        super().check_shapes(shapes)
        (x, y), (i, j) = shapes, self._positions(shapes)
        if x[i] != y[j] and None not in (x[i], y[j]):
            raise ValueError(
                f"Dot expects equal sizes along axis {i} of the first and {j} of the second input, "
                f"received shapes {tuple(x)} and {tuple(y)}."
            )

    def _positions(self, shapes: list[Shape]) -> tuple[int, int]:
        found = []
        for shape, axis in zip(shapes, self.axes, strict=True):
            if not (axis % len(shape) > 0 and -len(shape) <= axis < len(shape)):
                raise ValueError(
                    f"Dot: axes must not be the batch's and must be axes of the inputs, received "
                    f"{self.axes} for inputs of shapes {[tuple(s) for s in shapes]}."
                )
            found.append(axis % len(shape))
        return found[0], found[1]

    creates_mask = False

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None

    def call(self, inputs: Any) -> Any:
        x, y = inputs
        i, j = self._positions([x.shape, y.shape])
        if self.normalize:
            x, y = _of_length_1(x, i), _of_length_1(y, j)
        shape = (*x.shape[:i], *x.shape[i + 1 :], *y.shape[1:j], *y.shape[j + 1 :])
        # (batch, others of x, summed) times (batch, summed, others of y)
        left = functions.transpose(x, (*(a for a in range(x.ndim) if a != i), i))
        right = functions.transpose(y, (0, j, *(a for a in range(1, y.ndim) if a != j)))
        product = functions.matmul(
            functions.reshape(left, (len(x), math.prod(left.shape[1:-1]), x.shape[i])),
            functions.reshape(right, (len(y), y.shape[j], math.prod(right.shape[2:]))),
        )
        return functions.reshape(product, shape if len(shape) > 1 else (len(x), 1))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        (x, y), (i, j) = input_shape, self._positions(input_shape)
        shape = (*x[:i], *x[i + 1 :], *y[1:j], *y[j + 1 :])
        return shape if len(shape) > 1 else (*shape, 1)


def _of_length_1(x: Any, axis: int) -> Any:
    length = functions.sqrt(functions.sum(functions.square(x), axis=axis, keepdims=True))
    return x / functions.maximum(length, 1e-6)  # Keras' l2_normalize: at least sqrt(1e-12)


def _as_function(kind: type[_Merge], **defaults: Any) -> Callable[..., Any]:
    """Return the function of Keras' that makes a layer of a class and calls it on the inputs.

    Arguments:
        kind: the class.
        defaults: of the function, for arguments without a default in the class.

    >>> import numpy as np
    >>> concatenate([np.ones((2, 3)), np.ones((2, 4))], axis=-1).shape
    (2, 7)
    """

    def merge(inputs: Any, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, **(options if arguments else defaults | options))(inputs)

    merge.__name__ = merge.__qualname__ = kind.__name__.lower()
    merge.__doc__ = f"""Return the output of a new layer `{kind.__name__}` for a list of inputs.

    Arguments:
        inputs: as the layer takes them.
        arguments, options: of the layer.
    """
    return merge


add = _as_function(Add)
average = _as_function(Average)
concatenate = _as_function(Concatenate)
dot = _as_function(Dot, axes=-1)
maximum = _as_function(Maximum)
minimum = _as_function(Minimum)
multiply = _as_function(Multiply)
subtract = _as_function(Subtract)
