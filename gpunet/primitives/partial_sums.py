"""Gradients of weights as partial sums, which a later launch adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Parts", "leaving_parts", "parts_are_left"]

Array = Any

_left: ContextVar[bool] = ContextVar("parts_left", default=False)


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
    """Allow CUDA twins to return gradients of weights as `Parts` inside the block."""
    token = _left.set(True)
    try:
        yield
    finally:
        _left.reset(token)


def parts_are_left() -> bool:
    """Return whether gradients of weights may be returned as `Parts`."""
    return _left.get()
