"""Gradients of weights as partial sums, which a later launch adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Parts", "defer", "leaving_parts", "parts_are_left", "run_deferred"]

Array = Any

Run = Callable[[list[Any]], None]  # computes the partial sums of several gradients

# Within `leaving_parts`, what has been deferred there: what computes it, and its arguments.
_left: ContextVar[list[tuple[Run, Any]] | None] = ContextVar("parts_left", default=None)


@dataclass(frozen=True, slots=True)
class Parts:
    """A gradient as partial sums, one from each block that computed it.

    Attributes:
        buffer: flat array that holds them, and those of other gradients.
        first: the element at which the first partial sum begins.
        stride: elements from one partial sum to the next.
        count: how many partial sums there are.
        shape: of the gradient, and of each partial sum.
        add_up: computes their sum.
    """

    buffer: Array
    first: int
    stride: int
    count: int
    shape: tuple[int, ...]
    add_up: Callable[[Parts], Array]

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self.buffer.dtype

    def astype(self, dtype: Any, copy: bool = True) -> Parts | Array:
        """Return the gradient in `dtype`: the partial sums, or their converted total."""
        return self if dtype == self.dtype else self.total().astype(dtype, copy=copy)

    def reshape(self, shape: tuple[int, ...]) -> Parts:
        """Return the partial sums of the gradient in another shape."""
        return replace(self, shape=shape)

    def total(self) -> Array:
        """Return the gradient."""
        run_deferred()
        return self.add_up(self)

    @classmethod
    def of_whole(cls, gradient: Array) -> Parts:
        """Return a gradient, contiguous, as its only part."""
        return cls(gradient.reshape(-1), 0, gradient.size, 1, gradient.shape, _only_part)


def _only_part(parts: Parts) -> Array:
    end = parts.first + parts.stride
    return parts.buffer[parts.first : end].reshape(parts.shape)


@contextmanager
def leaving_parts() -> Iterator[None]:
    """Allow CUDA twins to return gradients of weights as `Parts` inside the block.

    They may also defer to compute these until several can be computed by one launch: at the latest
    to the end of the block.
    """
    token = _left.set([])
    try:
        yield
        run_deferred()
    finally:
        _left.reset(token)


def parts_are_left() -> bool:
    """Return whether gradients of weights may be returned as `Parts`."""
    return _left.get() is not None


def defer(run: Run, arguments: Any) -> None:
    """Compute partial sums later, within `leaving_parts`.

    Arguments:
        run: called with the arguments of all that was deferred to it, in order.
        arguments: of these partial sums.
    """
    deferred = _left.get()
    assert deferred is not None
    deferred.append((run, arguments))


def run_deferred() -> None:
    """Compute all partial sums that were deferred."""
    deferred = _left.get()
    if not deferred:
        return
    by_run: dict[Run, list[Any]] = {}
    for run, arguments in deferred:
        by_run.setdefault(run, []).append(arguments)
    deferred.clear()
    for run, listed in by_run.items():
        run(listed)
