"""Bad input on a real device: a clear error each, and the device works on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import backend, functions, primitives
from gpunet.layers import Dense, Flatten
from gpunet.models import Sequential
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch.cupy import DeviceMemoryError, KernelCompileError

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy() -> Iterator[Any]:
    """Return the real CuPy, in use as the backend; after the test the device still works."""
    module = importlib.import_module("cupy")
    with backend.use_backend("cupy"):
        yield module
        x = module.asarray([-1.0, 2.0], dtype="float32")
        np.testing.assert_array_equal(primitives.relu_forward(x).get(), [0, 2])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_a_dtype_that_no_kernel_has(dtype: str, cupy: Any) -> None:
    with pytest.raises(TypeError, match=rf"relu_forward: .*float32.*received {dtype}.*astype"):
        primitives.relu_forward(cupy.ones((2, 3), dtype))


def test_two_dtypes_in_one_call(cupy: Any) -> None:
    with pytest.raises(TypeError, match=r"float32.*float64.*astype"):
        primitives.matmul(cupy.ones((2, 3), "float32"), cupy.ones((3, 2), "float64"))


def test_a_view_that_cannot_be_changed_in_place(cupy: Any) -> None:
    gradients, rate = cupy.ones(4, "float32"), cupy.ones(1, "float32")
    parameters = cupy.zeros(8, "float32")[::2]
    with pytest.raises(ValueError, match=r"sgd_update.*parameters.*contiguous.*copy it"):
        primitives.sgd_update(parameters, gradients, None, rate)
    assert not parameters.get().any()


def test_numpy_and_cupy_in_one_call(cupy: Any) -> None:
    on_host, on_gpu = np.ones((2, 3), "float32"), cupy.ones((2, 3), "float32")
    for mix in (
        lambda: primitives.matmul(on_gpu, on_host.T),
        lambda: functions.maximum(on_host, on_gpu),
    ):
        with pytest.raises(TypeError, match="received NumPy and CuPy"):
            mix()


def test_memory_that_runs_out(cupy: Any) -> None:
    _, total = cupy.cuda.runtime.memGetInfo()
    with pytest.raises(DeviceMemoryError, match=r"pool holds .* MiB.*the device has .* free"):
        launcher.empty((1024, total // 1024), "float32")  # four times what there is


def test_memory_that_runs_out_names_the_batch_to_try(cupy: Any) -> None:
    """A layer whose output of 64 samples is twice the memory, and of 1 is not."""
    _, total = cupy.cuda.runtime.memGetInfo()
    units = total // (4 * 32)
    model = Sequential([Flatten(input_shape=(1,)), Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 1)), np.ones((2, 1)))
    before = model.get_weights()
    wide = cupy.ones((1, units), "float32")
    model.layers[-1].activation = lambda y: functions.mean(y @ wide, axis=1, keepdims=True)
    with pytest.raises(MemoryError, match=r"64 samples: try batch_size=32"):
        model.train_on_batch(np.ones((64, 1)), np.ones((64, 1)))
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_arrays_of_two_devices(cupy: Any) -> None:
    devices = cupy.cuda.runtime.getDeviceCount()
    if devices < 2:
        pytest.skip(f"needs two devices: there is {devices}")
    here = cupy.ones((3, 3), "float32")
    with cupy.cuda.Device(1):
        there = cupy.ones((3, 3), "float32")
    for call in (lambda: primitives.relu_forward(there), lambda: primitives.matmul(here, there)):
        with pytest.raises(ValueError, match="current device 0, received one on device 1"):
            call()
    with cupy.cuda.Device(1):
        np.testing.assert_array_equal(primitives.relu_forward(there).get(), np.ones((3, 3)))


def test_a_kernel_that_does_not_compile(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = launcher.full_source("activation.cu") + '#line 7 "activation.cu"\nthis is no C++;\n'
    monkeypatch.setattr(launcher, "full_source", lambda source: text)
    relu = launcher.Kernel("activation.cu", "activation_forward")
    x = cupy.ones(5, "float32")
    with pytest.raises(KernelCompileError, match=r"kernels/activation\.cu, line 7"):
        relu(1, 32, 5, 0.0, x, x, types={"T": "float32"}, ACTIVATION="RELU", VECTOR=1, SPOILED=1)
