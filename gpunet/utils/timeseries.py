"""Windows over a time series."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.arguments import boolean, check_choice, integer, positive_integer
from gpunet.backend import to_numpy
from gpunet.utils.dataset import Dataset, ShuffledDataset, seed_of

__all__ = ["timeseries_dataset_from_array"]

_WHERE = "timeseries_dataset_from_array"


class _Windows(ShuffledDataset):
    """Windows, gathered a batch at once."""

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray | None,
        starts: np.ndarray,
        steps: np.ndarray,
        batch_size: int | None,
        seed: int | None,
    ) -> None:
        def gather(chosen: np.ndarray) -> Any:
            windows = data[starts[chosen][..., np.newaxis] + steps]
            return windows if targets is None else (windows, targets[starts[chosen]])

        def read(order: np.ndarray) -> Iterator[Any]:
            return iter(order)

        super().__init__(read, len(starts), batch_size, seed, lambda rows: gather(np.array(rows)))
        self._gather = gather

    def __iter__(self) -> Iterator[Any]:
        items = super().__iter__()
        return map(self._gather, items) if self.batch_size is None else items


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Dataset:
    """Return the data set of windows over a time series, with a target for each.

    Window i holds ``data[s], data[s + sampling_rate], ...`` with ``s = i * sequence_stride``; its
    target is ``targets[s]``. Windows are gathered a batch at a time, not held in memory.

    Arguments:
        data: the series, with time along the first axis.
        targets: the target of the window that begins at each time; None yields windows alone.
        sequence_length: steps of a window.
        sequence_stride: times from the start of a window to that of the next.
        sampling_rate: times from a step of a window to the next.
        batch_size: windows in a batch; None yields windows one by one.
        shuffle: whether the windows come in another order in each epoch, rather than in order.
        seed: an integer for the order; None takes one from `gpunet.random`.
        start_index, end_index: the times to use, the last excluded; None for all.
        format: accepted for Keras' scripts, ``"tf"`` or ``"grain"``; both return the same.

    Raises:
        TypeError, ValueError: an argument is out of its range, or the series is shorter than a
            window.

    >>> windows = timeseries_dataset_from_array(np.arange(6), np.arange(6) + 3, 3, batch_size=2)
    >>> [(x.tolist(), y.tolist()) for x, y in windows]
    [([[0, 1, 2], [1, 2, 3]], [3, 4]), ([[2, 3, 4], [3, 4, 5]], [5, 6])]
    """
    check_choice(format, ("tf", "grain"), "format", _WHERE)
    series = to_numpy(data)
    if series.ndim == 0:
        raise ValueError(f"{_WHERE}: data needs an axis of time, received one number.")
    length = positive_integer(sequence_length, "sequence_length", _WHERE)
    stride = _below(sequence_stride, "sequence_stride", len(series))
    rate = _below(sampling_rate, "sampling_rate", len(series))
    start, end = _range(start_index, end_index, len(series))
    series = series[start:end]
    wanted = None if targets is None else to_numpy(targets)[start:]
    count = len(series) - (length - 1) * rate
    if wanted is not None:
        count = min(count, len(wanted))
    if count <= 0:
        raise ValueError(
            f"{_WHERE}: expected at least {(length - 1) * rate + 1} times for a window, and a "
            f"target, received {len(series)} times"
            + ("." if wanted is None else f" and {len(wanted)} targets.")
        )
    size = None if batch_size is None else positive_integer(batch_size, "batch_size", _WHERE)
    order_seed = seed_of(seed) if boolean(shuffle, "shuffle", _WHERE) else None
    starts, steps = np.arange(0, count, stride), rate * np.arange(length)
    return _Windows(series, wanted, starts, steps, size, order_seed)


def _below(value: Any, argument: str, times: int) -> int:
    found = positive_integer(value, argument, _WHERE)
    if found >= times:
        raise ValueError(
            f"{_WHERE}: {argument} must be below {times}, the times, received {found}."
        )
    return found


def _range(start_index: Any, end_index: Any, times: int) -> tuple[int, int]:
    start = 0 if start_index is None else integer(start_index, "start_index", _WHERE)
    end = times if end_index is None else integer(end_index, "end_index", _WHERE)
    if not 0 <= start < end <= times:
        raise ValueError(
            f"{_WHERE}: expected 0 <= start_index < end_index <= {times}, the times, received "
            f"start_index={start}, end_index={end}."
        )
    return start, end
