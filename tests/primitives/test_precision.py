"""The choice of how precise products on a GPU are: who makes it, for whom it holds, who refuses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest

import gpunet
from gpunet.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from gpunet.primitives import precision
from gpunet.primitives.launch import use_executor
from gpunet.primitives.launch.cupy import CupyExecutor
from gpunet.primitives.precision import PRECISIONS, precision_of, use_precision
from tests.support.cuda_on_cpu.builds import RecordingExecutor
from tests.support.doors import reference
from tests.support.fake_cupy import gpu as fake_gpu


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with gpunet.set_precision("fp32"):
        yield


@pytest.fixture
def old_gpu() -> Iterator[RecordingExecutor]:
    executor = RecordingExecutor()
    with (
        mock.patch.object(executor, "compute_capability", return_value=(7, 5)),
        use_executor(executor),
    ):
        yield executor


def test_a_call_stays_and_a_block_ends() -> None:
    assert gpunet.get_precision() == "fp32"
    gpunet.set_precision("tf32")
    with gpunet.set_precision("bf16"):
        assert gpunet.get_precision() == "bf16"
    assert gpunet.get_precision() == "tf32"


def test_a_model_chooses_for_its_own_thread() -> None:
    with ThreadPoolExecutor(1) as thread, use_precision("bf16"):
        assert gpunet.get_precision() == "bf16"
        assert thread.submit(gpunet.get_precision).result() == "fp32"
        gpunet.set_precision("tf32")
        assert thread.submit(gpunet.get_precision).result() == "tf32"
        assert gpunet.get_precision() == "bf16"
        with use_precision(None):
            assert gpunet.get_precision() == "bf16", "None changes nothing"
        with use_precision("fp32"):
            assert gpunet.get_precision() == "fp32"
    assert gpunet.get_precision() == "tf32"


def test_only_float32_is_rounded() -> None:
    with use_executor(RecordingExecutor()), gpunet.set_precision("bf16"):
        assert precision_of(np.float32) == "bf16"
        assert {precision_of(dtype) for dtype in ("float16", "float64")} == {"fp32"}


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tf23", ValueError, r"Unknown precision 'tf23': did you mean 'tf32'\? The known names"),
        (32, TypeError, r"set_precision\(32\): expected 'fp32', 'tf32' or 'bf16', received 32"),
    ],
)
def test_what_is_no_precision_is_refused(name: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gpunet.set_precision(name)
    assert gpunet.get_precision() == "fp32"


def test_an_old_gpu_is_asked_for_no_tensor_cores(old_gpu: RecordingExecutor) -> None:
    with pytest.raises(
        ValueError, match=r"set_precision\('tf32'\): tf32 needs .* 8\.0 .* has 7\.5"
    ):
        gpunet.set_precision("tf32")
    assert gpunet.get_precision() == "fp32"
    gpunet.set_precision("fp32")
    model = gpunet.Sequential([Dense(2)])
    with pytest.raises(ValueError, match=r"compile\(precision='bf16'\): bf16 needs"):
        model.compile("sgd", "mse", precision="bf16")
    assert model.optimizer is None, "compiled as before"


def test_arrays_on_an_old_gpu_beside_a_new_one_are_refused(old_gpu: RecordingExecutor) -> None:
    with use_precision("tf32"), pytest.raises(ValueError, match=r"a product on the GPU: tf32 need"):
        precision_of(np.float32)


def test_compile_keeps_the_choice() -> None:
    model = gpunet.Sequential([Dense(2)])
    assert model.precision is None
    model.compile("sgd", "mse", precision="tf32")
    assert model.precision == "tf32"
    model.compile("sgd", "mse")
    assert model.precision is None
    with pytest.raises(ValueError, match="Unknown precision 'half'"):
        model.compile("sgd", "mse", precision="half")


def test_a_model_computes_as_it_was_compiled(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8, 8, 5)).astype(np.float32), rng.normal(size=(64, 3))
    losses = {}
    for name in PRECISIONS:
        fake_gpu.now().compiled.clear()
        gpunet.random.seed(0)
        layers = [Input((8, 8, 5)), Conv2D(8, 3, activation="relu"), MaxPooling2D(2), Flatten()]
        model = gpunet.Sequential([*layers, Dense(3)])
        model.compile("sgd", "mse", precision=name)
        history = model.fit(x, y, epochs=2, batch_size=32, verbose=0)
        losses[name] = [*history.history["loss"], model.evaluate(x, y, verbose=0)]
        model.predict(x)
        taken = [option for _, options in fake_gpu.now().compiled for option in options]
        chosen = {option for option in taken if "-DPRECISION" in option}
        assert chosen == {f"-DPRECISION={name.upper()}"}
        assert gpunet.get_precision() == "fp32"
    # Factors are off by 2^-11 or 2^-8 at most, each in its own direction.
    np.testing.assert_allclose(losses["tf32"], losses["fp32"], rtol=2**-11)
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=2**-8)
    assert len({tuple(values) for values in losses.values()}) == 3


def test_what_numpy_computes_is_the_same() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 5)), rng.normal(size=(5, 6))
    expected = reference.matmul(a, b)
    with gpunet.set_precision("bf16"):
        np.testing.assert_array_equal(gpunet.primitives.matmul(a, b), expected)


def test_cupy_says_what_the_device_can(cupy: Any) -> None:
    for digits, expected in (("90", (9, 0)), ("75", (7, 5)), ("120", (12, 0))):
        with mock.patch.object(cupy.cuda.Device, "compute_capability", digits):
            assert CupyExecutor().compute_capability() == expected


def test_without_a_gpu_any_precision_can_be_chosen() -> None:
    with mock.patch.object(precision.launch, "compute_capability", return_value=None):
        gpunet.set_precision("bf16")
    assert gpunet.get_precision() == "bf16"
