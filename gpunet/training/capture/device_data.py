"""How batches come to a step on a GPU: from data that are there, or by copies from the host."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.primitives.cuda.batch import gather_batches
from gpunet.training.batches import ArrayBatches, Batches
from gpunet.training.memory import memory_for

__all__ = ["Feed", "Resident", "Streamed", "Turn", "fits_on_device"]

_MOST_SHARE = 0.5  # of the free memory that data may take to be kept on the device


class Feed(Protocol):
    """Where a step reads its batch: at addresses that stay, so that it can be captured."""

    @property
    def key(self) -> Any:
        """What tells feeds apart between which a captured step makes a difference."""

    def batch(self, size: int) -> tuple[Array, Array]:
        """Return the batch, as part of the step."""


class Turn(NamedTuple):
    """Steps that come one after another.

    Attributes:
        feed: where they read.
        size: samples in each.
        steps: how many they are.
    """

    feed: Feed
    size: int
    steps: int


class Resident:
    """Data on the device, of which each step gathers its samples there.

    Arguments:
        batches: of arrays; NumPy's are copied to the device.
        position: int64 (1,) on the device: with which row of the order a batch begins. The steps
            move it on.
        dtypes: of inputs and targets on the device.
    """

    def __init__(self, batches: ArrayBatches, position: Array, dtypes: tuple[Any, Any]) -> None:
        self.xp, self.position = get_array_module(position), position
        self.x, self.y = (
            self.xp.ascontiguousarray(self.xp.asarray(data, dtype=dtype))
            for data, dtype in zip((batches.x, batches.y), dtypes, strict=True)
        )
        self.order = self.xp.arange(len(self.x), dtype=np.int64)
        self._order: np.ndarray | None = None  # whose numbers are in `order`

    @property
    def key(self) -> Any:
        """Itself; kept in an attribute, it would keep the data until Python looks for cycles."""
        return self

    def take(self, batches: ArrayBatches, dtypes: tuple[Any, Any]) -> bool:
        """Let the data be those of other batches, if they can be at the same addresses.

        Arguments:
            batches: of arrays.
            dtypes: of inputs and targets on the device.
        """
        pairs = list(zip((batches.x, batches.y), (self.x, self.y), strict=True))
        if any(
            data.shape != ours.shape or dtype != ours.dtype
            for (data, ours), dtype in zip(pairs, dtypes, strict=True)
        ):
            return False
        if any(
            get_array_module(data) is not np
            and (data.data.ptr != ours.data.ptr or not data.flags.c_contiguous)
            for data, ours in pairs
        ):
            return False
        for data, ours in pairs:
            if get_array_module(data) is np:  # which may have changed
                ours[...] = self.xp.asarray(data, dtype=ours.dtype)
        return True

    def batch(self, size: int) -> tuple[Array, Array]:
        """Return the next samples in the order."""
        x, y = gather_batches((self.x, self.y), self.order, self.position, size)
        return x, y

    def turns(self, batches: ArrayBatches, most: int) -> Iterator[Turn]:
        """Yield the steps of an epoch, up to `most` of one size at a time."""
        self._next = -1  # steps on other data may have moved the position
        for rows, count in batches.runs(most):
            if rows.order is not self._order:
                order = np.arange(len(self.x)) if rows.order is None else rows.order
                self.order[...] = self.xp.asarray(order)
                self._order = rows.order
            if rows.start != self._next:
                self.position.fill(rows.start)
            size = rows.stop - rows.start
            self._next = rows.start + count * size
            yield Turn(self, size, count)


class _Slot:
    """Arrays on the device for one batch, and memory of the host from which copies are fast.

    Arguments:
        key: what tells it from others.
        shapes, dtypes: of inputs and targets.
        xp: CuPy.
    """

    def __init__(self, key: Any, shapes: Any, dtypes: Any, xp: Any) -> None:
        self.key, self.xp = key, xp
        self.arrays: Any = tuple(
            xp.empty(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
        )
        self.pinned = tuple(
            _pinned(xp, shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
        )
        self.copied: Any = None  # the event after the last copy to the device
        # The event after the last step that read the arrays, or had their memory before.
        self.used: Any = xp.cuda.get_current_stream().record()

    def batch(self, size: int) -> tuple[Array, Array]:
        """Return the arrays."""
        return self.arrays

    def fill(self, batch: tuple[Array, Array], copies: Any) -> None:
        """Take in a batch, on the stream `copies`, while others' steps run."""
        if self.copied is not None:
            self.copied.synchronize()  # what was in `pinned` is on the device
        copies.wait_event(self.used)
        for data, pinned, array in zip(batch, self.pinned, self.arrays, strict=True):
            if get_array_module(data) is np:
                np.copyto(pinned, data, casting="unsafe")
                array.set(pinned, stream=copies)
            else:
                copies.wait_event(self.xp.cuda.get_current_stream().record())
                with copies:
                    array[...] = data
        self.copied = copies.record()


def _pinned(xp: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    count = math.prod(shape)
    memory = xp.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)


class Streamed:
    """Batches that are copied to the device one by one: each while the step before it runs.

    Arguments:
        stream: on which steps run.
        dtypes: gives the types of inputs and targets on the device for a batch.
        xp: CuPy.
    """

    def __init__(self, stream: Any, dtypes: Any, xp: Any) -> None:
        self.stream, self.dtypes, self.xp = stream, dtypes, xp
        self.copies = xp.cuda.Stream(non_blocking=True)
        self._slots: dict[Any, Any] = {}

    def turns(self, batches: Batches) -> Iterator[Turn]:
        """Yield a step for each batch."""
        for batch in batches:
            x, y = batch
            assert y is not None
            shapes, dtypes = (x.shape, y.shape), self.dtypes(x, y)
            with memory_for(len(x)):
                slot = self._slot(shapes, dtypes)
                slot.fill((x, y), self.copies)
            self.stream.wait_event(slot.copied)
            yield Turn(slot, len(x), 1)
            slot.used = self.stream.record()

    def _slot(self, shapes: Any, dtypes: Any) -> _Slot:
        """Return one of two slots by turns, so that one can be filled while the other is read."""
        key = shapes, tuple(map(str, dtypes))
        if key not in self._slots:
            pair = [_Slot((*key, number), shapes, dtypes, self.xp) for number in range(2)]
            self._slots[key] = cycle(pair)
        return next(self._slots[key])


def fits_on_device(xp: Any, data: tuple[Array, Array], dtypes: tuple[Any, Any]) -> bool:
    """Return whether data are on the device as they are to be, or small enough to be copied there.

    Arguments:
        xp: CuPy.
        data: inputs and targets.
        dtypes: the types that they are to have there.
    """
    free = xp.cuda.runtime.memGetInfo()[0]
    size = sum(
        array.size * np.dtype(dtype).itemsize
        for array, dtype in zip(data, dtypes, strict=True)
        if get_array_module(array) is np or array.dtype != dtype or not array.flags.c_contiguous
    )
    return size <= _MOST_SHARE * free
