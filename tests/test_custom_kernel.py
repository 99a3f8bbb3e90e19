"""gpunet.kernel: custom CUDA kernels with their NumPy functions, on the CPU and the fake CuPy."""

from __future__ import annotations

import copy
import pickle
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet
from examples import custom_kernel as example
from gpunet import backend, functions, layers
from gpunet.backend import GpuUnavailableError
from gpunet.custom_kernel import CustomKernel
from gpunet.models import Sequential
from gpunet.primitives import cuda, use_twins
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch.cupy import KernelCompileError
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, compiler

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="needs g++ to run kernels on the CPU"
)

SQUARED_RELU = r"""
#include "common.cuh"
extern "C" __global__ void squared_relu(const int64 count, const T* x, T* y) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        const T positive = x[i] > T(0) ? x[i] : T(0);
        y[i] = positive * positive;
    }
}
"""
SQUARED_RELU_GRADIENT = r"""
#include "common.cuh"
extern "C" __global__ void squared_relu_gradient(
    const int64 count,  // of elements (all of them)
    const T* output_grad, const T* x, T* input_grad
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        input_grad[i] = x[i] > T(0) ? 2 * x[i] * output_grad[i] : T(0);
    }
}
"""
ROW_SUMS = r"""
extern "C" __global__ void row_sums(
    const int columns, const float scale, const float* x, float* y
) {
    float sum = 0;
    for (int i = 0; i < columns; ++i) sum += x[blockIdx.x * columns + i];
    if (threadIdx.x == 0) y[blockIdx.x] = scale * sum;
}
"""
OF_ROWS: dict[str, Any] = {
    "shape": lambda x: x.shape[0], "grid": lambda x: x.shape[0], "block": 32,
    "sizes": lambda x: {"columns": x.shape[1]},
}  # fmt: skip

X = np.random.default_rng(0).normal(size=(7, 33)).astype("float32")


@gpunet.kernel(SQUARED_RELU)
def squared_relu(x: Any) -> Any:
    return np.maximum(x, 0) ** 2


@squared_relu.gradient
@gpunet.kernel(SQUARED_RELU_GRADIENT)
def squared_relu_gradient(output_grad: Any, x: Any) -> Any:
    return output_grad * 2 * np.maximum(x, 0)


@gpunet.kernel(ROW_SUMS, **OF_ROWS)
def row_sums(x: Any, scale: float = 2.0) -> Any:
    return np.float32(scale) * x.sum(axis=1)


def spoiled(source: str, old: str, new: str, function: Any = squared_relu.function) -> CustomKernel:
    """Return a kernel with a mistake in its source."""
    assert old in source
    return gpunet.kernel(source.replace(old, new))(function)


@pytest.mark.parametrize("order", ORDERS)
@needs_compiler
@pytest.mark.parametrize(
    "test",
    [
        squared_relu.test(), squared_relu_gradient.test(),
        row_sums.test(X, (X, 0.5), {"x": X[:0], "scale": 3}),
        example.test_snake, example.test_row_norms,
    ],
    ids=lambda test: test.__name__,
)  # fmt: skip
def test_twins_agree_on_the_cpu(test: Any, order: str) -> None:
    executor = CpuExecutor(order)
    with launcher.use_executor(executor):
        test()
    assert executor.launches


@needs_compiler
def test_twins_agree_on_the_fake_cupy(cupy: Any) -> None:
    for test in (squared_relu.test(), row_sums.test(X), example.test_snake, example.test_row_norms):
        test()


def test_numpy_arrays_and_tensors() -> None:
    y = squared_relu(X)
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, np.maximum(X, 0) ** 2, strict=True)
    np.testing.assert_array_equal(row_sums(X, scale=0.5), 0.5 * X.sum(axis=1), strict=True)
    x = gpunet.Tensor(X, requires_grad=True)
    z = squared_relu(x)
    assert isinstance(z, gpunet.Tensor)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * np.maximum(X, 0))
    gpunet.check_gradients(squared_relu, X)
    assert repr(row_sums).startswith("<kernel row_sums(x: ")


def test_copy_and_pickle_keep_the_function() -> None:
    assert copy.deepcopy(squared_relu) is squared_relu
    assert pickle.loads(pickle.dumps(squared_relu)) is squared_relu


def test_symbols_make_a_model() -> None:
    x = gpunet.Input((33,))
    model = gpunet.Model(x, functions.mean(squared_relu(layers.Dense(3)(x)), axis=1))
    assert model.output_shape == (None,)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(model)).predict(X, verbose=0), model.predict(X, verbose=0)
    )


class Squared(layers.Layer):
    def call(self, x: Any) -> Any:
        return squared_relu(x)


def train(batches: int, **options: Any) -> tuple[list[float], list[np.ndarray]]:
    gpunet.random.seed(0)
    model = Sequential(
        [layers.Input((33,)), layers.Dense(8), Squared(), example.Snake(), layers.Dense(1)]
    )
    model.compile(gpunet.optimizers.SGD(0.01), "mse", **options)
    x = np.tile(X, (batches, 1))
    history = model.fit(x, x[:, :1], batch_size=7, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"], [backend.to_numpy(w) for w in model.get_weights()]


@needs_compiler
def test_a_captured_step_gives_the_bits_of_an_eager_one_and_nearly_numpys(cupy: Any) -> None:
    captured, eager = train(3, capture=True), train(3, capture=False)
    assert captured[0] == eager[0]
    for one, other in zip(captured[1], eager[1], strict=True):
        np.testing.assert_array_equal(one, other)
    with backend.use_backend("numpy"):
        losses, weights = train(3)
    np.testing.assert_allclose(captured[0], losses, rtol=1e-5)
    for one, other in zip(captured[1], weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@needs_compiler
def test_views_are_copied_and_nothing_is_launched_for_no_elements(cupy: Any) -> None:
    x = cupy.asarray(X)
    np.testing.assert_array_equal(squared_relu(x.T).get(), np.maximum(X.T, 0) ** 2)
    assert squared_relu(x[:0]).shape == (0, 33)


@needs_compiler
def test_a_source_that_does_not_compile_names_the_line(cupy: Any) -> None:
    wrong = spoiled(SQUARED_RELU, "positive * positive;", "positive * positve;")
    with pytest.raises(KernelCompileError) as caught:
        wrong(cupy.asarray(X))
    first, line, *_ = str(caught.value).splitlines()
    assert "squared_relu does not compile: the source of squared_relu, line 6: error: " in first
    assert line == "    y[i] = positive * positve;"
    assert "Fix: correct line 6, or set GPUNET_BACKEND=numpy" in str(caught.value)


@needs_compiler
def test_twins_that_disagree_say_where() -> None:
    wrong = spoiled(SQUARED_RELU, "y[i] = positive", "y[i] = i == 40 ? T(9) : positive")
    with launcher.use_executor(CpuExecutor()):
        wrong.check(X[:1])
        match = (
            r"squared_relu: the kernel and the NumPy function differ at \[1, 7\]: the kernel gives "
            r"9\.0, NumPy gives \d\.\d+, allowed difference \d.*; 1 of 231 elements differ\."
        )
        with pytest.raises(AssertionError, match=match):
            wrong.check(X)
        with pytest.raises(AssertionError, match=r"case 1 \(x: float32\(7, 33\)\): squared_relu:"):
            wrong.test(X[:1], X)()
        loose = spoiled(SQUARED_RELU, "y[i] = positive", "y[i] = T(1.01) * positive")
        loose.check(X, rtol=0.02)
        with pytest.raises(AssertionError, match="differ at"):
            loose.check(X)


@needs_compiler
def test_elements_that_are_not_written_are_found() -> None:
    wrong = spoiled(SQUARED_RELU, "y[i] = positive", "if (i != 35) y[i] = positive")
    with (
        launcher.use_executor(CpuExecutor()),
        pytest.raises(
            AssertionError,
            match=r"two runs of the kernel differ at \[1, 2\]: nan and 0\.0\..*written",
        ),
    ):
        wrong.check(X)


def test_a_wrong_gradient_is_found_without_a_device() -> None:
    wrong = spoiled(SQUARED_RELU, "int64 i", "int64  i")
    wrong.gradient(lambda output_grad, x: output_grad * x)
    with pytest.raises(AssertionError, match="squared_relu: The gradient for input 0"):
        wrong.check(X)


def test_without_a_device_checks_say_so() -> None:
    if backend.probe_gpu().usable:
        pytest.skip("there is a GPU")
    with pytest.raises(GpuUnavailableError, match=r"squared_relu\.check\(\) needs the GPU.*Fix: "):
        squared_relu.check(X)
    with pytest.raises(unittest.SkipTest, match="needs the GPU"):
        squared_relu.test()()


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"squared_relu\(x: 'Any'\).*: too many positional arg"):
        squared_relu(X, X)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        squared_relu()
    with pytest.raises(TypeError, match="expects an array for x, received list"):
        squared_relu([1.0, 2.0])
    with pytest.raises(TypeError, match=r"x as float32, .*\(float\), received float64: convert"):
        row_sums(X.astype("float64"))
    with pytest.raises(TypeError, match=r"row_sums has no gradient: .* by @row_sums\.gradient"):
        row_sums(gpunet.Tensor(X, requires_grad=True)).sum().backward()


@needs_compiler
def test_wrong_numbers_and_kinds_of_arrays(cupy: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 'scale': expected a number, received 'two'"):
        row_sums(cupy.asarray(X), "two")
    with pytest.raises(TypeError, match="received NumPy and CuPy arrays in one call"):
        example.snake(cupy.asarray(X), X[0])
    short = gpunet.kernel(ROW_SUMS, **{**OF_ROWS, "sizes": lambda x: {}})(row_sums.function)
    with pytest.raises(ValueError, match="takes the number 'columns', which sizes= does not ret"):
        short(cupy.asarray(X))


def test_a_function_whose_shape_or_dtype_is_not_the_kernels() -> None:
    wide = gpunet.kernel(SQUARED_RELU, name="squared_relu")(lambda x: x.astype("float64"))
    with pytest.raises(
        ValueError, match=r"returns float64\(7, 33\), the kernel gives float32\(7, 33"
    ):
        wide(X)
    with pytest.raises(
        ValueError, match=r"returns float32\(7,\), the kernel gives float32\(7, 33\)"
    ):
        gpunet.kernel(SQUARED_RELU, "squared_relu")(lambda x: x.sum(axis=1))(X)


def unlike(*names: str) -> Any:
    """Return a function of other arguments."""
    return eval(f"lambda {', '.join(names)}: 0")


@pytest.mark.parametrize(
    ("source", "function", "options", "message"),
    [
        (SQUARED_RELU, unlike("x"), {"name": "other"}, "the source of other has no kernel 'other'"),
        (SQUARED_RELU, unlike("z"), {}, "takes the array 'x', which is no argument"),
        (SQUARED_RELU, unlike("x", "*more"), {}, "expected arguments with names"),
        (SQUARED_RELU, unlike("x"), {"block": 2000}, "from 1 to 1024, received 2000"),
        (SQUARED_RELU, unlike("x"), {"shape": unlike("z")}, "shape= takes 'z'; expected some of x"),
        (SQUARED_RELU.replace("const T* x", "T* x"), unlike("x"), {}, "received 0 and 2"),
        (SQUARED_RELU.replace("int64 count", "flaot count"), unlike("x"), {}, "count as flaot"),
        (SQUARED_RELU.replace("int64 count", "long long count"), unlike("x"), {}, "of one word"),
        (SQUARED_RELU.replace("int64 count", "int64 n"), unlike("x"), {}, "takes the number 'n'"),
        ("int main() {}", unlike("x"), {}, "expected CUDA C.. with `extern"),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_once(
    source: str, function: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gpunet.kernel(source, **{"name": "squared_relu", **options})(function)


def test_a_gradient_of_other_arguments_is_refused() -> None:
    with pytest.raises(ValueError, match="gradient takes 'grad'; expected some of output_grad, ou"):
        spoiled(SQUARED_RELU, "int64 i", "int64   i").gradient(lambda grad, x: grad)


def test_a_source_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "squared.cu"
    with pytest.raises(FileNotFoundError, match=r"Kernel squared_relu: there is no source file .*"):
        gpunet.kernel(str(file))(squared_relu.function)
    file.write_text(SQUARED_RELU)
    for path in (file, str(file)):
        np.testing.assert_array_equal(
            gpunet.kernel(path)(squared_relu.function)(X), squared_relu(X)
        )


def test_cases_are_drawn_for_kernels_of_elements_alone() -> None:
    with pytest.raises(ValueError, match=r"row_sums\.test\(\) expects cases"):
        row_sums.test()


@needs_compiler
def test_arrays_that_are_left_out_and_results_of_other_types() -> None:
    @gpunet.kernel(r"""
    #include "common.cuh"
    extern "C" __global__ __launch_bounds__(64)
    void larger(const int64 count, const T* x, const S* limit, const bool or_equal, uint8* y) {
        const int64 i = thread_index();
        if (i >= count) return;
        const T least = limit == nullptr ? T(0) : T(limit[0]);
        y[i] = x[i] > least || (or_equal && x[i] == least);
    }
    """, block=64)  # fmt: skip
    def larger(x: Any, limit: Any = None, or_equal: bool = False) -> Any:
        least = 0 if limit is None else limit[0]
        return ((x > least) | (or_equal & (x == least))).astype("uint8")

    with launcher.use_executor(CpuExecutor()):
        larger.check(X, np.array([1], "int32"))
        larger.check(X, np.array([0], "int64"), or_equal=True)
        with use_twins(cuda), pytest.raises(TypeError, match="no array decides the type S"):
            larger(X)
