"""gpunet as a contender: primitives on arrays, and the program of `examples/mnist_cnn.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet
from benchmarks.cases import Case
from benchmarks.programs import batch, mnist, one_hot
from benchmarks.workers import Variant
from examples.mnist_cnn import build_model
from gpunet import backend, primitives
from gpunet.primitives.selection import numpy_twins


class Library:
    """The cases of `benchmarks.cases`, each as a method.

    Arguments:
        threads: set by the environment; not used here.
        numba: whether NumPy arrays must use Numba's kernels (True) or NumPy's (False); None for
            other arrays.

    Raises:
        RuntimeError: other kernels are in use.
    """

    def __init__(self, threads: int, numba: bool | None = None) -> None:
        self.versions = {"gpunet": gpunet.__version__, "NumPy": np.__version__}
        if numba is not None:
            twins = (
                numpy_twins()
            )  # imports Numba now, as other libraries are imported before timing
            if numba != (twins.module is not primitives.reference):
                raise RuntimeError(f"the wrong kernels are in use. {twins.reason}")
            if numba:
                self.versions["Numba"] = sys.modules["numba"].__version__
        gpunet.random.seed(0)

    def conv(self, case: Case) -> dict[str, Variant]:
        shape, padding = (case.batch, case.size, case.size, case.channels), case.padding
        x, kernel = _random(shape), _random((3, 3, case.channels, case.filters))
        grad = backend.asarray(
            np.ones_like(backend.to_numpy(primitives.conv2d_forward(x, kernel, padding=padding)))
        )

        def call() -> Any:
            y = primitives.conv2d_forward(x, kernel, padding=padding)
            kernel_grad, _ = primitives.conv2d_backward_weight(
                grad, x, kernel.shape, padding=padding
            )
            if not case.input_grad:
                return y, kernel_grad
            input_grad = primitives.conv2d_backward_input(grad, kernel, shape, padding=padding)
            return y, kernel_grad, input_grad

        return _variant(call)

    def pool(self, case: Case) -> dict[str, Variant]:
        x = _random((case.batch, case.size, case.size, case.channels))
        half = case.size // 2
        grad = _random((case.batch, half, half, case.channels))

        def call() -> Any:
            y, indices = primitives.max_pool2d_forward(x, pool_size=2)
            return y, primitives.max_pool2d_backward(grad, indices, x.shape, pool_size=2)

        return _variant(call)

    def activation(self, case: Case) -> dict[str, Variant]:
        x = _random((case.batch, case.size, case.size, case.channels))
        grad = _random(x.shape)

        def call() -> Any:
            y = primitives.activate(x, "relu")
            return y, primitives.activate_backward(grad, y, "relu")

        return _variant(call)

    def train(self, case: Case) -> dict[str, Variant]:
        model = build_model()
        x, y = _on_backend(batch(case.batch))

        def call() -> float:
            scores = model.train_on_batch(x, y, return_dict=True)
            return scores["loss"]  # type: ignore[call-overload, index]

        return {"": Variant(call)}

    def inference(self, case: Case) -> dict[str, Variant]:
        model = build_model()
        x, _ = _on_backend(batch(case.batch))
        return {"": Variant(lambda: model.predict_on_batch(x))}

    def epoch(self, case: Case) -> dict[str, Variant]:
        model = build_model()
        train, _ = mnist(case.samples, case.tests)
        x, y = _on_backend(train)

        def fit(count: int) -> None:
            model.fit(x[:count], y[:count], case.batch, verbose=0)
            _wait()

        return {"": Variant(lambda: fit(case.samples), lambda: fit(20 * case.batch))}

    def mnist(self, case: Case) -> dict[str, Variant]:
        train, test = mnist(case.samples, case.tests)

        def run(count: int, epochs: int) -> float:
            gpunet.random.seed(0)
            model, (x, y) = build_model(), _on_backend(train)
            model.fit(x[:count], y[:count], case.batch, epochs, verbose=0)
            x, y = _on_backend(test)
            scores = model.evaluate(x[:count], y[:count], verbose=0, return_dict=True)
            return scores["accuracy"]  # type: ignore[call-overload, index]

        return {
            "": Variant(lambda: run(case.samples, case.epochs), lambda: run(20 * case.batch, 1))
        }


def _random(shape: tuple[int, ...]) -> Any:
    return backend.asarray(np.random.default_rng(0).random(shape, np.float32) - np.float32(0.5))


def _on_backend(images: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
    return backend.asarray(images[0]), backend.asarray(one_hot(images[1]))


def _wait() -> None:
    if backend.active_backend() == "cupy":
        sys.modules["cupy"].cuda.Device().synchronize()


def _variant(call: Callable[[], Any]) -> dict[str, Variant]:
    """Return a call that waits for its results."""
    if backend.active_backend() == "numpy":
        return {"": Variant(call)}

    def wait() -> Any:
        result = call()
        _wait()
        return result

    return {"": Variant(wait)}
