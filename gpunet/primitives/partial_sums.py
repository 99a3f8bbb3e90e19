"""Gradients of weights as partial sums, which a later launch adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

__all__ = ["Parts", "leaving_parts", "parts_are_left"]

Array = Any

_left: ContextVar[bool] = ContextVar("parts_left", default=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """A gradient as its partial sums, one of each block that computed it.

    Attributes:
        buffer: flat array that holds them, and those of other gradients.
        first: the element with which the first part begins.
        stride: elements from the beginning of a part to that of the next.
        count: how many parts there are.
        shape: of the gradient; a part has its elements in this order.
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
        """Return the gradient in `dtype`: these parts if they have it, else the converted sum."""
        return self if dtype == self.dtype else self.total().astype(dtype, copy=copy)

    def total(self) -> Array:
        """Return the gradient."""
        return self.add_up(self)


@contextmanager
def leaving_parts() -> Iterator[None]:
    """Let CUDA twins return the gradients of weights as `Parts` inside the block, if in parts."""
    token = _left.set(True)
    try:
        yield
    finally:
        _left.reset(token)


def parts_are_left() -> bool:
    """Return whether gradients of weights may be returned as `Parts`."""
    return _left.get()
