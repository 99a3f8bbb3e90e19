"""gpunet.utils.Dataset, split_dataset and timeseries_dataset_from_array."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import random
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.utils import Dataset, split_dataset, timeseries_dataset_from_array
from gpunet.utils.workers import THREAD_NAME


def numbers(count: int = 7) -> Dataset:
    return Dataset(lambda: iter(range(count)), count)


def pairs(count: int = 6) -> Dataset:
    rows = [(np.full(3, i, np.float32), np.array([i], np.float32)) for i in range(count)]
    return Dataset(lambda: iter(rows), count)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if THREAD_NAME in thread.name]


def test_methods_are_lazy_and_start_anew_in_each_epoch() -> None:
    calls = []

    def double(i: int) -> int:
        calls.append(i)
        return 2 * i

    data = numbers().map(double).skip(1).take(3)
    assert calls == []
    assert list(data) == [2, 4, 6]
    assert list(data) == [2, 4, 6]
    assert len(data) == 3


def test_map_unpacks_pairs_as_tf_data_does() -> None:
    data = pairs(2).map(lambda x, y: (x / 2, y + 1))
    assert [(x.tolist(), y.tolist()) for x, y in data] == [([0] * 3, [1]), ([0.5] * 3, [2])]


@pytest.mark.parametrize("calls", [None, 1, 4, -1])
def test_map_draws_the_same_numbers_in_any_threads(calls: int | None) -> None:
    def run(parallel: int | None) -> list[float]:
        random.seed(5)
        data = numbers(9).map(lambda i: i + float(random.uniform(1)[0]), parallel)
        result = [*data, *data]
        assert random.get_state() == (5, 0)
        return result

    assert run(calls) == run(None)
    assert len(set(run(calls))) == 18


def test_batches_have_the_rest_last_unless_dropped() -> None:
    assert [b.tolist() for b in numbers().batch(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in numbers().batch(3, drop_remainder=True)] == [[0, 1, 2], [3, 4, 5]]
    assert (len(numbers().batch(3)), len(numbers().batch(3, drop_remainder=True))) == (3, 2)
    x, y = next(iter(pairs().batch(4)))
    assert (x.shape, y.shape) == ((4, 3), (4, 1))
    assert [int(y[0]) for _, y in pairs().batch(4).unbatch()] == [0, 1, 2, 3, 4, 5]


def test_a_cache_reads_once_and_only_a_whole_pass_counts() -> None:
    reads = []
    data = numbers(3).map(lambda i: reads.append(i) or i).cache()
    next(iter(data))
    assert list(data) == list(data) == [0, 1, 2]
    assert reads == [0, 0, 1, 2]


def test_prefetch_keeps_order_and_raises_in_place() -> None:
    assert list(numbers(50).prefetch(-1)) == list(range(50))
    assert list(numbers(3).prefetch(0)) == [0, 1, 2]

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("file 2 is damaged")

    items = iter(Dataset(broken).prefetch(5))
    assert next(items) == 1
    with pytest.raises(OSError, match="file 2 is damaged"):
        next(items)


def test_breaking_out_of_prefetch_ends_the_thread() -> None:
    for _ in numbers(1000).prefetch(3):
        break
    items = iter(numbers(1000).map(lambda i: i, 3).prefetch(2))
    next(items)
    items.close()  # type: ignore[attr-defined]


def test_shuffle_by_seed() -> None:
    data = numbers(20).shuffle(20, seed=3)
    first, second = list(data), list(data)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first not in (second, list(range(20)))
    assert list(numbers(20).shuffle(20, seed=3)) == first
    fixed = numbers(20).shuffle(20, seed=3, reshuffle_each_iteration=False)
    assert list(fixed) == list(fixed)
    # An item leaves at the earliest when it has entered the buffer.
    assert all(item < place + 4 for place, item in enumerate(numbers(99).shuffle(4, seed=1)))


def test_shuffle_is_even() -> None:
    """Each of 4 items comes first in a quarter of the orders: 6 sd of a binomial of 4000."""
    data = numbers(4).shuffle(4, seed=0)
    counts = np.bincount([next(iter(data)) for _ in range(4000)], minlength=4)
    assert np.abs(counts - 1000).max() < 6 * np.sqrt(4000 * 0.25 * 0.75)


def test_repeat_and_lengths() -> None:
    assert list(numbers(2).repeat(2)) == [0, 1, 0, 1]
    assert (len(numbers(2).repeat(3)), numbers(2).cardinality()) == (6, 2)
    endless = numbers(2).repeat()
    assert endless.cardinality() == -2
    with pytest.raises(TypeError, match="not known"):
        len(endless)
    assert list(endless.take(5)) == [0, 1, 0, 1, 0]
    assert list(numbers(2).take(-1).as_numpy_iterator()) == [0, 1]
    assert list(numbers(2).skip(-1)) == []


def test_fit_takes_a_pipeline() -> None:
    data = pairs().cache().shuffle(6, seed=1).batch(2).map(lambda x, y: (x / 6, y)).prefetch(-1)
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    history = model.fit(data, epochs=3, verbose=0, validation_data=data.take(1))
    assert len(history.history["val_loss"]) == 3
    model.fit(pairs().batch(2).repeat(), epochs=2, steps_per_epoch=2, verbose=0)
    assert model.predict(data.map(lambda x, y: x), verbose=0).shape == (6, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.batch(0), ValueError, "batch_size must be a positive integer"),
        (lambda d: d.take(-2), ValueError, "count must be at least -1"),
        (lambda d: d.take(1.5), TypeError, "an integer for count"),
        (lambda d: d.shuffle(0), ValueError, "buffer_size"),
        (lambda d: d.shuffle(3, seed=-1), ValueError, "seed"),
        (lambda d: d.prefetch("2"), TypeError, "an integer for buffer_size"),
    ],
)
def test_bad_arguments_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(numbers())


# split_dataset


SIZES = [
    (0.6, None), (None, 0.3), (3, None), (None, 2), (0.5, 0.25), (4, 3), (0.25, 5), (0.55, None),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SIZES)
def test_sizes_are_those_of_keras(left: Any, right: Any) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("torch")
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    ours = split_dataset((x, y), left, right)
    lengths = [len(part) for part in ours]
    if left is None or right is None or (isinstance(left, float) == isinstance(right, float)):
        try:
            theirs = keras.utils.split_dataset((x, y), left, right)
        except ValueError:  # torch cannot leave samples out
            theirs = None
        if theirs is not None:
            assert lengths == [len(part) for part in theirs]
    assert [int(b) for _, b in ours[0]] == list(range(lengths[0]))
    assert [int(b) for _, b in ours[1]] == list(range(10 - lengths[1], 10))


def test_split_shuffles_by_seed() -> None:
    data = np.arange(100)
    left, right = split_dataset(data, 0.8, shuffle=True, seed=4)
    assert sorted([*left, *right]) == list(range(100))
    assert list(left) != list(range(80))
    again, _ = split_dataset(data, 0.8, shuffle=True, seed=4)
    assert list(again) == list(left)
    assert list(left) == list(left)


def test_split_keeps_the_batches_of_a_data_set() -> None:
    left, right = split_dataset(pairs(6).batch(2), 4)
    assert [x.shape for x, _ in left] == [(2, 3), (2, 3)]
    assert [y[:, 0].tolist() for _, y in right] == [[4, 5]]


def test_split_takes_data_sets_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(5))
    left, right = split_dataset(data, right_size=2)
    assert [int(row[0]) for row in right] == [3, 4]
    assert len(left) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.arange(4),), ValueError, "needs left_size or right_size"),
        ((np.arange(4), 4), ValueError, "left_size must be a count above 0 and below 4"),
        ((np.arange(4), 1.5), ValueError, "a share above 0 and below 1"),
        ((np.arange(4), 0.6, 0.6), ValueError, "more than the 4 samples"),
        ((np.arange(4), 0.01), ValueError, "leave the left part empty"),
        ((np.arange(4), "half"), TypeError, "a number for left_size"),
        ((np.arange(4), True), TypeError, "a number for left_size"),
        (([np.arange(4), np.arange(5)], 0.5), ValueError, r"one length, received \[4, 5\]"),
        (([[1, 2], [3, 4]], 0.5), ValueError, "NumPy arrays, received"),
        (([], 0.5), ValueError, "NumPy arrays, received"),
        ((7, 0.5), TypeError, "an array, a list or tuple of arrays"),
    ],
)
def test_bad_splits_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_dataset(*arguments)


# Windows


def windows_by_hand(times: int, length: int, stride: int, rate: int) -> list[list[int]]:
    starts = range(0, times - (length - 1) * rate, stride)
    return [[start + k * rate for k in range(length)] for start in starts]


def test_windows_of_the_example_in_keras() -> None:
    """Of indexes 0 to 98: [0 2 ... 18], [3 5 ... 21], ..., the last [78 80 ... 96]."""
    data = timeseries_dataset_from_array(np.arange(99), None, 10, 3, 2)
    rows = np.concatenate(list(data))
    assert rows[0].tolist() == list(range(0, 20, 2))
    assert rows[-1].tolist() == list(range(78, 98, 2))
    assert rows.tolist() == windows_by_hand(99, 10, 3, 2)


@pytest.mark.parametrize("seed", range(12))
def test_windows_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = int(rng.integers(12, 40))
    length, stride, rate = (int(rng.integers(1, top)) for top in (5, 4, 3))
    start, end = int(rng.integers(0, 3)), times - int(rng.integers(0, 2))
    series = rng.normal(size=(times, 2))
    targets = rng.normal(size=times)
    data = timeseries_dataset_from_array(
        series, targets, length, stride, rate, batch_size=4, start_index=start, end_index=end
    )
    expected = windows_by_hand(end - start, length, stride, rate)
    found = list(data)
    assert len(data) == len(found) == -(-len(expected) // 4)
    np.testing.assert_array_equal(
        np.concatenate([x for x, _ in found]), series[start + np.array(expected)]
    )
    np.testing.assert_array_equal(
        np.concatenate([y for _, y in found]), targets[[start + row[0] for row in expected]]
    )


def test_windows_are_those_of_keras() -> None:
    pytest.importorskip("grain", reason="needs grain, or TensorFlow, under Keras")
    keras = pytest.importorskip("keras")
    arguments = (np.arange(30.0), np.arange(30), 4, 3, 2, 5)
    theirs = list(keras.utils.timeseries_dataset_from_array(*arguments, format="grain"))
    for (x, y), (x0, y0) in zip(timeseries_dataset_from_array(*arguments), theirs, strict=True):
        np.testing.assert_array_equal(x, np.asarray(x0))
        np.testing.assert_array_equal(y, np.asarray(y0))


def test_few_targets_end_the_windows_and_one_window_may_come_alone() -> None:
    data = timeseries_dataset_from_array(np.arange(10), np.arange(3), 2, batch_size=None)
    assert [(x.tolist(), int(y)) for x, y in data] == [([0, 1], 0), ([1, 2], 1), ([2, 3], 2)]
    assert len(data) == 3


def test_windows_shuffle_by_seed_in_each_epoch() -> None:
    def run() -> list[list[int]]:
        data = timeseries_dataset_from_array(np.arange(40), None, 1, shuffle=True, seed=2)
        return [np.concatenate(list(data))[:, 0].tolist() for _ in range(2)]

    first, second = run()
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert run() == [first, second]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sequence_length": 0}, ValueError, "sequence_length must be a positive integer"),
        ({"sequence_length": 11}, ValueError, "at least 11 times"),
        ({"sequence_stride": 10}, ValueError, "sequence_stride must be below 10"),
        ({"sampling_rate": 0}, ValueError, "sampling_rate must be a positive integer"),
        ({"start_index": 10}, ValueError, "start_index=10"),
        ({"end_index": 11}, ValueError, "end_index=11"),
        ({"start_index": 5, "end_index": 5}, ValueError, "0 <= start_index < end_index"),
        ({"start_index": 1.5}, TypeError, "an integer for start_index"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"format": "numpy"}, ValueError, "format must be one of 'tf', 'grain'"),
    ],
)
def test_bad_windows_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        timeseries_dataset_from_array(np.arange(10), None, **({"sequence_length": 2} | options))
