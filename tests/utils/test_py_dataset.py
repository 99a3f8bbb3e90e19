"""gpunet.utils.PyDataset: workers, order, random numbers, errors, epochs, and `fit`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import random, utils
from gpunet.callbacks import Callback
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.utils import PyDataset


def data_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "gpunet data" in thread.name]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert data_threads() == []


class Noise(PyDataset):
    """Batches of random numbers, the first of which take the longest."""

    def __init__(self, batches: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches
        self.asked: list[int] = []
        self.ended = 0

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        time.sleep(0.002 * (self.batches - index))
        x = random.normal((4, 3))
        return np.concatenate([x, random.uniform((4, 3))]), np.full((8, 1), index, np.float32)

    def on_epoch_end(self) -> None:
        assert data_threads() == []
        self.ended += 1


def small_model() -> Sequential:
    random.seed(3)
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    return model


def test_sequence_is_its_older_name() -> None:
    assert utils.Sequence is PyDataset


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}, {"workers": 5}])
def test_workers_keep_order_and_bits_and_the_seed(options: dict[str, Any]) -> None:
    random.seed(7)
    expected = list(Noise(workers=0).read())
    random.seed(7)
    found = list(Noise(**options).read())
    for (x, y), (x0, y0) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, x0, strict=True)
        np.testing.assert_array_equal(y, y0, strict=True)
    assert len({x.tobytes() for x, _ in found}) == 6
    assert random.get_state() == (7, 0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and 3.13
def test_processes_give_the_same_bits() -> None:
    random.seed(7)
    expected = list(Noise(3, workers=0).read())
    random.seed(7)
    found = list(Noise(3, workers=2, use_multiprocessing=True).read())
    for (x, _), (x0, _) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, x0, strict=True)


def test_each_epoch_has_other_numbers_and_a_run_repeats() -> None:
    def epochs() -> list[bytes]:
        random.seed(11)
        data = Noise(2, workers=2)
        return [x.tobytes() for _ in range(2) for x, _ in data.read()]

    first = epochs()
    assert len(set(first)) == 4
    assert epochs() == first


@pytest.mark.parametrize("workers", [1, 3])
def test_fit_shuffles_batches_and_is_the_same_for_any_workers(workers: int) -> None:
    def run(count: int) -> tuple[list[np.ndarray], list[int]]:
        model, data = small_model(), Noise(workers=count, max_queue_size=2)
        model.fit(data, epochs=2, verbose=0)
        assert data.ended == 2
        return model.get_weights(), data.asked

    weights, asked = run(workers)
    reference, order = run(0)
    for ours, theirs in zip(weights, reference, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    assert sorted(asked) == sorted([*range(6), *range(6)])
    if workers == 1:
        assert asked == order
        assert order[:6] not in (list(range(6)), order[6:])


def test_fit_keeps_the_order_without_shuffle_and_in_evaluate_and_predict() -> None:
    model, data = small_model(), Noise()
    model.fit(data, epochs=1, verbose=0, shuffle=False)
    model.evaluate(data, verbose=0)
    model.predict(data, verbose=0)
    assert data.asked == [*range(6)] * 3


def test_validation_data_may_have_workers_too() -> None:
    model = small_model()
    history = model.fit(
        Noise(3, workers=2), validation_data=Noise(2, workers=2), epochs=2, verbose=0
    )
    assert len(history.history["val_loss"]) == 2


class Broken(Noise):
    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise OSError("image_3.png is damaged")
        return super().__getitem__(index)


@pytest.mark.parametrize("options", [{}, {"workers": 3}])
def test_an_error_of_a_worker_is_raised_with_the_index(options: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=r"image_3\.png is damaged") as caught:
        small_model().fit(Broken(**options), epochs=1, verbose=0, shuffle=False)
    assert caught.value.__notes__ == ["Raised by Broken[3]."]
    assert data_threads() == []  # while the error still holds its frames


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and 3.13
def test_an_error_of_a_process_is_raised_with_the_index() -> None:
    with pytest.raises(OSError, match=r"image_3\.png is damaged") as caught:
        list(Broken(workers=1, use_multiprocessing=True).read())
    assert caught.value.__notes__[0] == "Raised by Broken[3]."


class StopAt(Callback):
    def __init__(self, error: type[BaseException] | None) -> None:
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 1:
            if self.error:
                raise self.error
            self.model.stop_training = True


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_stopping_leaves_no_thread(error: type[BaseException] | None) -> None:
    model, data = small_model(), Noise(50, workers=3)
    if error is None:
        model.fit(data, callbacks=[StopAt(error)], verbose=0)
    else:
        with pytest.raises(error):
            model.fit(data, callbacks=[StopAt(error)], verbose=0)
    assert data_threads() == []
    assert len(data.asked) < 50


def test_breaking_out_leaves_no_thread() -> None:
    for _ in Noise(50, workers=3).read():
        break
    assert data_threads() == []


class Endless(PyDataset):
    num_batches = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> Any:
        return np.full((2, 3), index, np.float32), np.zeros((2, 1), np.float32)


@pytest.mark.parametrize("workers", [1, 2])
def test_data_without_end_need_steps(workers: int) -> None:
    model = small_model()
    history = model.fit(Endless(workers=workers), steps_per_epoch=3, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


class WithWeights(PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32), np.ones(4, np.float32)


def test_class_weight_and_weights_of_the_data_exclude_each_other() -> None:
    """As in Keras 3.15, where a PyDataset that yields weights refuses class_weight."""
    model = small_model()
    model.fit(WithWeights(), verbose=0)
    with pytest.raises(ValueError, match=r"class_weight .* cannot be used together"):
        model.fit(WithWeights(), class_weight={0: 2.0}, verbose=0)


def test_class_weight_weighs_the_batches_of_a_py_dataset() -> None:
    class Labelled(PyDataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return np.ones((2, 3), np.float32), np.array([[0.0], [1.0]], np.float32)

    model = small_model()
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    history = model.fit(Labelled(), class_weight={1: 5.0}, verbose=0)
    assert history.history["loss"] == pytest.approx([2.5])  # (0 + 5 * 1) / 2


def test_super_init_may_be_left_out() -> None:
    class Bare(PyDataset):
        def __init__(self) -> None:
            pass

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)

    small_model().fit(Bare(), verbose=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workers": -1}, ValueError, "workers must be an integer of at least 0"),
        ({"workers": 1.5}, ValueError, "workers"),
        ({"max_queue_size": 0}, ValueError, "max_queue_size must be a positive integer"),
        ({"use_multiprocessing": "yes"}, TypeError, "use_multiprocessing as True or False"),
    ],
)
def test_bad_options_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Noise(**options)


def test_missing_methods_are_clear_errors() -> None:
    class Empty(PyDataset):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs __len__"):
        small_model().fit(Empty(), verbose=0)
    with pytest.raises(NotImplementedError, match="Empty needs __getitem__"):
        Empty()[0]


def test_a_data_set_without_batches_is_an_error() -> None:
    with pytest.raises(ValueError, match="yielded no batch"):
        small_model().fit(Noise(0), verbose=0)


class Killed(PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and 3.13
def test_a_killed_process_is_an_error() -> None:
    with pytest.raises(Exception, match="terminated abruptly"):
        list(Killed(workers=1, use_multiprocessing=True).read())
