"""Sums of products of two arrays, named by their axes, as transposes and one matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from gpunet.autograd import Tensor, on_symbols
from gpunet.functions.linear import matmul
from gpunet.functions.reduction import sum as sum_over
from gpunet.functions.shaping import reshape, transpose

__all__ = ["einsum"]

Axes = tuple[
    str, ...
]  # the name of each axis; of those under an ellipsis "0", "1", ... from the end


class _Terms(NamedTuple):
    """The axes of both operands and of the result."""

    x: Axes
    y: Axes
    result: Axes


@on_symbols
def einsum(equation: str, x: Any, y: Any) -> Tensor:
    """Return the sums of products that an equation names, as `np.einsum` for two arrays.

    Axes of one letter are multiplied together; those that the result does not name are summed.
    Letters of both operands and the result are the batch of a matrix product, those of one operand
    its rows or columns.

    Arguments:
        equation: such as ``"abc,cd->abd"``. An ellipsis, ``...``, stands for any axes, which
            broadcast. Without ``->`` the result has the letters that stand once, in order.
        x, y: arrays or tensors.

    Raises:
        ValueError: the equation is malformed, or does not fit the shapes.

    >>> import numpy as np
    >>> x, y = np.ones((2, 3, 4)), np.ones((4, 5))
    >>> einsum("...i,ij->...j", x, y).shape
    (2, 3, 5)
    """
    x, y = (a if hasattr(a, "shape") else Tensor(a) for a in (x, y))
    terms = _parse(equation, len(x.shape), len(y.shape))
    _check_sizes(equation, terms, x.shape, y.shape)
    x, x_axes = _sum_alone(x, terms.x, (*terms.y, *terms.result))
    y, y_axes = _sum_alone(y, terms.y, (*terms.x, *terms.result))
    shared = [axis for axis in x_axes if axis in y_axes]
    stack = sorted((a for a in shared if a in terms.result), key=terms.result.index)
    summed = [axis for axis in shared if axis not in terms.result]
    rows = sorted((a for a in x_axes if a not in shared), key=terms.result.index)
    columns = sorted((a for a in y_axes if a not in shared), key=terms.result.index)
    left = _arranged(x, x_axes, (stack, rows, summed))
    right = _arranged(y, y_axes, (stack, summed, columns))
    product = matmul(left, right)
    sizes = dict(zip(x_axes, x.shape, strict=True)) | dict(zip(y_axes, y.shape, strict=True))
    found = (*product.shape[:-2], *(sizes[axis] for axis in (*rows, *columns)))
    return _transposed(reshape(product, found), (*stack, *rows, *columns), terms.result)


def _arranged(x: Any, axes: Axes, groups: tuple[list[str], list[str], list[str]]) -> Any:
    """Return an operand as a stack of matrices: (stack, first, second), the last two flattened."""
    stack, first, second = groups
    x = _transposed(x, axes, (*stack, *first, *second))
    sizes, kept = x.shape, len(stack)
    middle = kept + len(first)
    shape = (*sizes[:kept], math.prod(sizes[kept:middle]), math.prod(sizes[middle:]))
    return x if x.shape == shape else reshape(x, shape)


def _transposed(x: Any, axes: Sequence[str], order: Sequence[str]) -> Any:
    places = tuple(list(axes).index(axis) for axis in order)
    return x if places == tuple(range(len(places))) else transpose(x, places)


def _sum_alone(x: Any, axes: Axes, others: Axes) -> tuple[Any, Axes]:
    """Return an operand summed over the axes that nothing else has."""
    alone = tuple(i for i, axis in enumerate(axes) if axis not in others)
    if not alone:
        return x, axes
    return sum_over(x, axis=alone), tuple(a for i, a in enumerate(axes) if i not in alone)


@cache
def _parse(equation: str, x_rank: int, y_rank: int) -> _Terms:
    """Return the axes that an equation names, for operands of these ranks."""
    text = equation.replace(" ", "")
    operands, arrow, result = text.partition("->")
    parts = operands.split(",")
    if len(parts) != 2:
        raise ValueError(
            f"einsum expects an equation of two operands such as 'ab,bc->ac', received "
            f"{equation!r}."
        )
    x, y = (
        _axes_of(part, rank, equation) for part, rank in zip(parts, (x_rank, y_rank), strict=True)
    )
    hidden = tuple(a for a in (x if _hidden(x) >= _hidden(y) else y) if a.isdigit())
    if not arrow:
        letters = sorted(set(parts[0] + parts[1]) - {"."})
        result = "..." * bool(hidden) + "".join(a for a in letters if operands.count(a) == 1)
    named = tuple(result.replace("...", ""))
    before = len(result.partition("...")[0])
    found = (*named[:before], *hidden, *named[before:]) if "..." in result else named
    _check_names(named, equation)
    missing = [axis for axis in (*found, *hidden) if axis not in {*x, *y} or axis not in found]
    if missing:
        raise ValueError(
            f"einsum: the result of {equation!r} must name axes of the operands, and an ellipsis "
            f"if they have axes under one: check {missing[0]!r}."
        )
    return _Terms(x, y, found)


def _axes_of(part: str, rank: int, equation: str) -> Axes:
    """Return the axes of an operand; those under its ellipsis are numbered from the last one."""
    names = tuple(part.replace("...", "", 1))
    hidden = rank - len(names)
    if hidden < 0 or (hidden and "..." not in part):
        raise ValueError(
            f"einsum: {part!r} in {equation!r} names {len(names)} axes, received an array of "
            f"{rank}."
        )
    before = len(part.partition("...")[0]) if "..." in part else len(names)
    _check_names(names, equation)
    return (*names[:before], *(str(i) for i in reversed(range(hidden))), *names[before:])


def _check_names(names: Axes, equation: str) -> None:
    wrong = [name for name in names if not name.isalpha() or names.count(name) > 1]
    if wrong:
        raise ValueError(
            f"einsum expects letters, each once in an operand and in the result, received "
            f"{wrong[0]!r} in {equation!r}."
        )


def _hidden(axes: Axes) -> int:
    return sum(axis.isdigit() for axis in axes)


def _check_sizes(equation: str, terms: _Terms, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Raise `ValueError` unless axes of one name have one size; those under ellipses broadcast."""
    sizes = dict(zip(terms.x, x, strict=True))
    for axis, size in zip(terms.y, y, strict=True):
        known = sizes.get(axis, size)
        if size != known and not (axis.isdigit() and 1 in (size, known)):
            raise ValueError(
                f"einsum: axis {axis!r} of {equation!r} has {known} elements in the first and "
                f"{size} in the second array, of shapes {x} and {y}."
            )
