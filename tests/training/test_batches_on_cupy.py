"""Batches of arrays on a GPU, gathered there: the very batches of NumPy, for one upload a pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import random
from gpunet.training.batches import ArrayBatches, Batch
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, install

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

X = np.random.default_rng(0).normal(size=(23, 4, 4)).astype(np.float32)
DATA = {
    "labels": (X, np.arange(23)),
    "one-hot": (X, np.eye(23, 10)),
    "bytes": (X.astype(np.uint8), np.arange(23) % 2 == 0),
    "views": (X.transpose(0, 2, 1), np.arange(46, dtype=np.int32)[::2]),
}


def two_epochs(x: Any, y: Any, **options: Any) -> list[tuple[Any, Any]]:
    random.seed(5)
    data = Batch((x,), () if y is None else (y,))
    batches = ArrayBatches(data, 5, **options)
    return [tuple(batch.arrays()) for _ in range(2) for batch in batches]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("name", DATA)
def test_batches_are_those_of_numpy(name: str, shuffle: bool) -> None:
    x, y = DATA[name]
    expected = two_epochs(x, y, shuffle=shuffle)
    with install() as cupy:
        found = two_epochs(_on_gpu(cupy, x), _on_gpu(cupy, y), shuffle=shuffle)
        assert len(found) == len(expected) == 10
        for ours, numpys in zip(found, expected, strict=True):
            for array, oracle in zip(ours, numpys, strict=True):
                assert isinstance(array, cupy.ndarray)
                assert array.dtype == oracle.dtype
                np.testing.assert_array_equal(array.get(), oracle)


def test_inputs_on_the_gpu_and_targets_that_are_not() -> None:
    x, y = DATA["labels"]
    expected = two_epochs(x, y, shuffle=True)
    with install() as cupy:
        for (x_found, y_found), (x_batch, y_batch) in zip(
            two_epochs(cupy.asarray(x), y, shuffle=True), expected, strict=True
        ):
            np.testing.assert_array_equal(x_found.get(), x_batch)
            assert type(y_found) is np.ndarray
            np.testing.assert_array_equal(y_found, y_batch)


def test_inputs_alone_and_epochs_shorter_than_a_pass() -> None:
    expected = two_epochs(X, None, shuffle=True, steps=3)
    with install() as cupy:
        found = two_epochs(cupy.asarray(X), None, shuffle=True, steps=3)
        assert len(found) == 6
        for (x,), (oracle,) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(x.get(), oracle)


def test_the_order_is_uploaded_once_a_pass_and_nothing_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with install(gpu := Gpu()) as cupy:
        x, y = (cupy.asarray(array) for array in DATA["labels"])
        uploads: list[Any] = []
        upload = cupy.asarray
        monkeypatch.setattr(cupy, "asarray", lambda a: uploads.append(a) or upload(a))
        two_epochs(x, y, shuffle=True)
        assert [len(order) for order in uploads] == [23, 23]
        assert gpu.reads == 0


def _on_gpu(cupy: Any, array: np.ndarray) -> Any:
    """Return an array on the GPU that is a view where the one given is."""
    if array.flags.c_contiguous:
        return cupy.asarray(array)
    return cupy.asarray(array.base)[::2] if array.ndim == 1 else cupy.asarray(X).transpose(0, 2, 1)
