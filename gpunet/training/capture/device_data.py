"""Batches for steps on a GPU: gathered from data on the device, or copied from the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.primitives.cuda.batch import gather_batches
from gpunet.training.batches import ArrayBatches, Batch, Batches
from gpunet.training.memory import memory_for

__all__ = ["DeviceData", "Resident", "Streamed", "Turn", "fits_on_device"]

_MOST_SHARE = 0.5  # of the free memory that data may take to be kept on the device

Types = Sequence[Any]  # the dtypes of a batch's arrays on the device


class DeviceData(Protocol):
    """The source of a step's batch: at fixed addresses, so that the step can be captured."""

    @property
    def key(self) -> Any:
        """Cache key: a graph can be replayed only for data with the same key."""

    def batch(self, size: int) -> Batch:
        """Return the batch, as part of the step."""


class Turn(NamedTuple):
    """Successive steps."""

    data: DeviceData  # where they read
    size: int  # samples in each
    steps: int  # how many they are


class Resident:
    """Data on the device, from which each step gathers its samples there.

    Arguments:
        batches: of arrays; NumPy's are copied to the device.
        position: int64 (1,) on the device: the row of the order with which a batch begins. The
            steps advance it.
        dtypes: of the arrays on the device.
    """

    def __init__(self, batches: ArrayBatches, position: Array, dtypes: Types) -> None:
        self.xp, self.position = get_array_module(position), position
        self.data = batches.data.replaced(
            self.xp.ascontiguousarray(self.xp.asarray(array, dtype=dtype))
            for array, dtype in zip(batches.data.arrays(), dtypes, strict=True)
        )
        self.order = self.xp.arange(self.data.size, dtype=np.int64)
        self._order: np.ndarray | None = None  # the host's array whose numbers are in `order`

    @property
    def key(self) -> Any:
        """Itself; in an attribute, it would keep the data until Python collects cycles."""
        return self

    def take(self, batches: ArrayBatches, dtypes: Types) -> bool:
        """Replace the data by those of other batches, if they can be at the same addresses."""
        theirs, ours = batches.data.arrays(), self.data.arrays()
        if _layout(batches.data) != _layout(self.data) or not all(
            data.shape == own.shape
            and dtype == own.dtype
            and (get_array_module(data) is np or _is_there(data, own))
            for data, own, dtype in zip(theirs, ours, dtypes, strict=True)
        ):
            return False
        for data, own in zip(theirs, ours, strict=True):
            if get_array_module(data) is np:  # which may have changed
                own[...] = self.xp.asarray(data, dtype=own.dtype)
        return True

    def batch(self, size: int) -> Batch:
        """Return the next samples in the order."""
        return self.data.replaced(
            gather_batches(self.data.arrays(), self.order, self.position, size)
        )

    def turns(self, batches: ArrayBatches, most: int) -> Iterator[Turn]:
        """Yield the steps of an epoch, up to `most` of one size at a time."""
        self._next = -1  # steps on other data may have moved the position
        for rows, count in batches.runs(most):
            if rows.order is not self._order:
                order = np.arange(self.data.size) if rows.order is None else rows.order
                self.order[...] = self.xp.asarray(order)
                self._order = rows.order
            if rows.start != self._next:
                self.position.fill(rows.start)
            size = rows.stop - rows.start
            self._next = rows.start + count * size
            yield Turn(self, size, count)


def _is_there(data: Array, own: Array) -> bool:
    return data.data.ptr == own.data.ptr and data.flags.c_contiguous


def _layout(batch: Batch) -> tuple[tuple[bool, ...], ...]:
    """Return where a batch has arrays and where it has none."""
    return tuple(tuple(item is not None for item in part) for part in batch)


class _Slot:
    """Arrays on the device for one batch, and memory of the host from which copies are fast.

    Arguments:
        key: distinguishes it from other slots.
        batch: the first that it is for.
        dtypes: of the arrays on the device.
        xp: CuPy.
    """

    def __init__(self, key: Any, batch: Batch, dtypes: Types, xp: Any) -> None:
        self.key, self.xp = key, xp
        kinds = [(array.shape, dtype) for array, dtype in zip(batch.arrays(), dtypes, strict=True)]
        self.data = batch.replaced(xp.empty(*kind) for kind in kinds)
        self.pinned = [_pinned(xp, *kind) for kind in kinds]
        self.copied: Any = None  # the event after the last copy to the device
        # The event after the last step that read the arrays, or had their memory before.
        self.used: Any = xp.cuda.get_current_stream().record()

    def batch(self, size: int) -> Batch:
        """Return the arrays."""
        return self.data

    def fill(self, batch: Batch, copies: Any) -> None:
        """Copy a batch in, on the stream `copies`, while the steps of other slots run."""
        if self.copied is not None:
            self.copied.synchronize()  # what was in `pinned` is on the device
        copies.wait_event(self.used)
        for data, pinned, array in zip(
            batch.arrays(), self.pinned, self.data.arrays(), strict=True
        ):
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
    """Batches that are copied to the device one by one: each while the step before it runs."""

    def __init__(self, stream: Any, xp: Any) -> None:
        self.stream, self.xp = stream, xp
        self.copies = xp.cuda.Stream(non_blocking=True)
        self._slots: dict[Any, Any] = {}

    def turns(self, batches: Batches, dtypes_of: Callable[[Batch], Types]) -> Iterator[Turn]:
        """Yield a step for each batch; `dtypes_of` a batch are its arrays' on the device."""
        for batch in batches:
            with memory_for(batch.size):
                slot = self._slot(batch, dtypes_of(batch))
                slot.fill(batch, self.copies)
            self.stream.wait_event(slot.copied)
            yield Turn(slot, batch.size, 1)
            slot.used = self.stream.record()

    def _slot(self, batch: Batch, dtypes: Types) -> _Slot:
        """Return one of two slots by turns, so that one can be filled while the other is read."""
        shapes = tuple(array.shape for array in batch.arrays())
        key = _layout(batch), shapes, tuple(map(str, dtypes))
        if key not in self._slots:
            pair = [_Slot((*key, number), batch, dtypes, self.xp) for number in range(2)]
            self._slots[key] = cycle(pair)
        return next(self._slots[key])


def fits_on_device(xp: Any, arrays: Sequence[Array], dtypes: Types) -> bool:
    """Return whether data are on the device as they are to be, or small enough to copy there."""
    free = xp.cuda.runtime.memGetInfo()[0]
    size = sum(
        array.size * np.dtype(dtype).itemsize
        for array, dtype in zip(arrays, dtypes, strict=True)
        if get_array_module(array) is np or array.dtype != dtype or not array.flags.c_contiguous
    )
    return size <= _MOST_SHARE * free
