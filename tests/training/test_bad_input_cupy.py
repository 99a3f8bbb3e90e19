"""Bad input on a GPU, fake on the CPU: a clear error each, and the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, functions, losses, metrics, primitives
from gpunet.backend import GpuUnavailableError
from gpunet.layers import Conv2D, Dense, Flatten, Input
from gpunet.models import Sequential
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch.cupy import DeviceMemoryError, KernelCompileError
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, fake_gpu, install

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 6, 6, 1)).astype("float32")
Y = np.eye(3, dtype="float32")[rng.integers(0, 3, 20)]
MIXED = "Expected arrays of one library, received NumPy and CuPy"


def model(optimizer: Any = "adam") -> Sequential:
    made = Sequential([Input((6, 6, 1)), Conv2D(2, 3), Flatten(), Dense(3, activation="softmax")])
    made.compile(optimizer, "categorical_crossentropy", ["accuracy"])
    return made


def test_no_device() -> None:
    with install(Gpu(devices=0)):
        assert backend.active_backend() == "numpy"
        for ask in (gpunet.require_gpu, lambda: gpunet.use_backend("cupy")):
            with pytest.raises(GpuUnavailableError, match=r"no device.*Fix: .*nvidia-smi"):
                ask()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_a_dtype_that_no_kernel_has(dtype: str, cupy: Any) -> None:
    x = cupy.ones((2, 3), dtype)
    with pytest.raises(TypeError, match=rf"relu_forward: .*float32.*received {dtype}.*astype"):
        primitives.relu_forward(x)


def test_two_dtypes_in_one_call(cupy: Any) -> None:
    x, kernel = cupy.ones((2, 3), "float32"), cupy.ones((3, 2), "float64")
    with pytest.raises(TypeError, match=r"float32.*float64.*astype"):
        primitives.matmul(x, kernel)
    relu = launcher.Kernel("activation.cu", "activation_forward")
    with pytest.raises(TypeError, match=r"argument 'x': expected an array of float32.*float64"):
        relu(1, 32, 3, 0.0, kernel, x, types={"T": "float32"}, ACTIVATION="RELU", VECTOR=1)


def test_a_view_that_cannot_be_changed_in_place(cupy: Any) -> None:
    gradients, rate = cupy.ones(4, "float32"), cupy.ones(1, "float32")
    parameters = cupy.zeros(8, "float32")[::2]
    with pytest.raises(ValueError, match=r"sgd_update.*parameters.*contiguous.*copy it"):
        primitives.sgd_update(parameters, gradients, None, rate)
    assert not parameters.get().any()


def test_arrays_of_two_devices(cupy: Any) -> None:
    fake_gpu.now().devices = 2
    here = cupy.ones((3, 3), "float32")
    with cupy.cuda.Device(1):
        there = cupy.ones((3, 3), "float32")
    expected = r"expected an array on the current device 0, received one on device 1: .*cupy\.array"
    with pytest.raises(ValueError, match=expected):
        primitives.relu_forward(there)
    with pytest.raises(ValueError, match=expected):
        primitives.matmul(here, there)
    made = model()
    with cupy.cuda.Device(1):
        inputs = cupy.asarray(X)
    assert made.predict(inputs, verbose=0).shape == (20, 3), "inputs are copied to the weights"


def test_numpy_and_cupy_in_one_call(cupy: Any) -> None:
    on_host, on_gpu = np.ones((2, 3), "float32"), cupy.ones((2, 3), "float32")
    tensor = gpunet.Tensor(on_gpu, requires_grad=True)
    for mix in (
        lambda: primitives.matmul(on_gpu, on_host.T),
        lambda: functions.maximum(on_host, on_gpu),
        lambda: functions.dense(tensor, on_host.T),
        lambda: tensor + on_host,
        lambda: on_host - tensor,
        lambda: functions.where(on_host > 0, tensor, 0.0),
        lambda: functions.concatenate([tensor, on_host]),
        lambda: losses.MeanSquaredError()(on_host, tensor),
        lambda: losses.CategoricalCrossentropy()(on_host, functions.softmax(tensor)),
        lambda: metrics.mean_squared_error(on_host, on_gpu),
        lambda: metrics.get("accuracy").update_state(on_host, on_gpu),
        lambda: tensor.backward(on_host),
    ):
        with pytest.raises(TypeError, match=MIXED):
            mix()
    # Lists and numbers have no home yet: they go where the others are.
    assert losses.MeanSquaredError()([[0.0] * 3] * 2, tensor).item() == 1.0
    assert type((tensor + np.float32(1)).value) is cupy.ndarray


def test_weights_of_which_some_are_on_the_cpu(cupy: Any) -> None:
    made = Sequential([Dense(2, input_shape=(3,))])
    with backend.use_backend("numpy"):
        made.add(Dense(1))
    made.compile("sgd", "mse")
    with pytest.raises(TypeError, match=rf"{MIXED}.*array 2 is NumPy float32\(2, 1\)"):
        made.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)


def assert_unchanged(made: Sequential, call: Any, message: str) -> str:
    made.train_on_batch(X[:2], Y[:2])
    before = [*made.get_weights(), *(slot.get() for slot in made.optimizer.state.values())]
    with pytest.raises(DeviceMemoryError, match=message) as caught:
        call()
    after = [*made.get_weights(), *(slot.get() for slot in made.optimizer.state.values())]
    for was, now in zip(before, after, strict=True):
        assert was.tobytes() == now.tobytes()
    assert int(made.optimizer.iterations[0]) == 1
    return str(caught.value)


@pytest.mark.parametrize("method", ["fit", "train_on_batch", "evaluate", "predict"])
def test_memory_that_runs_out_names_the_batch_to_try(method: str, cupy: Any) -> None:
    made, gpu = model(), fake_gpu.now()
    arguments = (X,) if method == "predict" else (X, Y)
    options = {} if method == "train_on_batch" else {"batch_size": 16, "verbose": 0}
    samples = 20 if method == "train_on_batch" else 16

    def call() -> None:
        gpu.memory = gpu.used + 3000  # holds the inputs and not the convolution's output
        try:
            getattr(made, method)(*arguments, **options)
        finally:
            gpu.memory = 1 << 30

    message = assert_unchanged(made, call, r"pool holds .* MiB, .* in use; the device has .* free")
    assert f"This batch has {samples} samples: try batch_size={samples // 2}." in message
    assert message.count("Out of") == 1
    getattr(made, method)(*arguments, **options)


def test_memory_that_runs_out_in_cupy_itself(cupy: Any) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        fake_gpu.now().memory = fake_gpu.now().used
        return functions.mean(functions.square(y_pred - y_true), axis=-1)

    made = model()
    made.train_on_batch(X[:2], Y[:2])
    made.loss = losses.LossFunctionWrapper(loss)
    with pytest.raises(DeviceMemoryError, match=r"Out of memory allocating.*try batch_size=10"):
        made.train_on_batch(X, Y)
    fake_gpu.now().memory = 1 << 30


def test_weights_that_do_not_fit(cupy: Any) -> None:
    made, gpu = model(), fake_gpu.now()
    gpu.memory = gpu.used + 100
    with pytest.raises(DeviceMemoryError, match="the weights, their gradients and the optimizer"):
        made.fit(X, Y, verbose=0)
    gpu.memory = 1 << 30
    made.fit(X, Y, verbose=0)


def test_memory_that_runs_out_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError

    with backend.use_backend("numpy"):
        made = model()
        made.layers[-1].activation = fail
        with pytest.raises(MemoryError, match=r"Out of memory\. This batch has 20 samples: try"):
            made.train_on_batch(X, Y)
        with pytest.raises(MemoryError, match="This batch has 1 sample: the model needs"):
            made.predict_on_batch(X[:1])


def test_a_kernel_that_does_not_compile(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = launcher.full_source("activation.cu")
    line = '#line 7 "activation.cu"\nthis is no C++;\n'
    monkeypatch.setattr(launcher, "full_source", lambda source: text + line)
    monkeypatch.setattr(
        "tests.support.cuda_on_cpu.cpu_executor.full_source", lambda source: text + line
    )
    x = cupy.ones(5, "float32")
    with pytest.raises(KernelCompileError) as caught:
        primitives.tanh_forward(x)
    message = str(caught.value)
    assert "Kernel activation_forward does not compile: kernels/activation.cu, line 7: " in message
    assert "Options: -std=c++17 -DT=float32 -DA=float32 -DACTIVATION=TANH" in message
    assert "Fix: install the CuPy that matches the driver" in message
    monkeypatch.undo()
    primitives.tanh_forward(x)
