"""The tape: recorded calls, where calls are recorded, and backpropagation along them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from gpunet.primitives import add
from gpunet.primitives.partial_sums import Parts

__all__ = ["Node", "backpropagate", "is_recording", "no_grad", "recording", "recording_mode"]

Array: TypeAlias = Any  # a NumPy or CuPy array
Source: TypeAlias = Any  # a Node, or a tensor that stores its gradient

# None: calls are recorded, but not by request of `recording(True)`.
recording_mode: ContextVar[bool | None] = ContextVar("recording_mode", default=None)
_serial = itertools.count()


class Node:
    """A recorded call: the sources of its inputs, and the closure that returns their gradients.

    A node refers to the nodes before it, not to tensors: an intermediate value stays in memory only
    while a closure needs it.
    """

    __slots__ = ("backward", "dtype", "from_variable", "name", "serial", "shape", "sources")

    takes_parts = False

    def __init__(
        self,
        name: str,
        output: Array,
        sources: tuple[Source | None, ...],
        backward: Callable[[Array], Any],
    ) -> None:
        self.name = name
        self.shape, self.dtype = output.shape, output.dtype
        self.sources: tuple[Source | None, ...] | None = sources
        self.backward: Callable[[Array], Any] | None = backward
        self.from_variable = any(s is not None and s.from_variable for s in sources)
        self.serial = next(_serial)  # a node's inputs always have smaller numbers

    def __lt__(self, other: Node) -> bool:
        return self.serial > other.serial  # so that a heap gives the latest call first


def backpropagate(source: Source, output_grad: Array) -> None:
    """Add the gradients of all tensors behind `source` to them, and consume the tape."""
    if not isinstance(source, Node):
        source.accumulate(output_grad)
        return
    pending = {source: output_grad}  # the gradient so far of each call that is still to come
    order = [source]
    while order:
        node = heapq.heappop(order)
        # The gradient is handed over: it can be freed during the call.
        for before, gradient in _input_gradients(node, pending.pop(node)):
            if not isinstance(before, Node):
                before.accumulate(gradient)
            elif before in pending:
                pending[before] = add(pending[before], gradient)
            else:
                pending[before] = gradient
                heapq.heappush(order, before)
            del gradient


def _input_gradients(node: Node, output_grad: Array) -> Iterator[tuple[Source, Array]]:
    """Yield the gradient of each input of `node` that has a source, and free the node."""
    if node.backward is None or node.sources is None:
        raise RuntimeError(
            f"backward() has been through {node.name!r} before and consumed its tape: "
            "compute the value anew for each backward()."
        )
    sources, backward = node.sources, node.backward
    node.sources = node.backward = None
    gradients = backward(output_grad)
    del output_grad, backward
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    pairs = list(itertools.zip_longest(sources, gradients))
    del gradients
    for position in range(len(pairs)):
        before, gradient = pairs[position]
        pairs[position] = (None, None)  # frees what one gradient needed before the next
        if before is None:
            continue
        if callable(gradient):
            gradient = gradient()
        if isinstance(gradient, Parts) and not before.takes_parts:
            gradient = gradient.total()
        shape = getattr(gradient, "shape", None)
        if shape != before.shape:
            raise ValueError(
                f"The closure of {node.name!r} must return a gradient of shape {before.shape} for "
                f"its argument {position}, received {'none' if gradient is None else shape}."
            )
        yield before, gradient.astype(before.dtype, copy=False)


def no_grad() -> AbstractContextManager[None]:
    """Record no calls inside the block: no memory is used for a backward pass."""
    return recording(False)


@contextmanager
def recording(on: bool) -> Iterator[None]:
    """Record calls inside the block, or not, whatever is set around it."""
    token = recording_mode.set(on)
    try:
        yield
    finally:
        recording_mode.reset(token)


def is_recording() -> bool:
    """Return whether calls are recorded here."""
    return recording_mode.get() is not False
