"""Keras' part, on TensorFlow or on JAX, with XLA or without: what is faster here is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.cases import Case
from benchmarks.programs import batch, keras_network, mnist, one_hot
from benchmarks.workers import Way


class Library:
    """Keras, as a worker uses it, on the backend that KERAS_BACKEND names.

    Arguments:
        threads: how many it has.
    """

    def __init__(self, threads: int) -> None:
        self.backend: Any = TensorFlow(threads) if _on_tensorflow() else Jax()
        keras.utils.set_random_seed(0)
        self.versions = {"Keras": keras.__version__} | self.backend.versions

    def conv(self, case: Case) -> dict[str, Way]:
        x = _random(case.batch, case.size, case.size, case.channels)
        kernel = _random(3, 3, case.channels, case.filters)
        padding = "same" if case.padding else "valid"
        return self.backend.with_gradient(
            lambda a, b: keras.ops.conv(a, b, padding=padding, data_format="channels_last"),
            (x, kernel),
            (0, 1) if case.input_grad else (1,),
        )

    def pool(self, case: Case) -> dict[str, Way]:
        return self.backend.with_gradient(
            lambda a: keras.ops.max_pool(a, 2, 2, data_format="channels_last"),
            (_random(case.batch, case.size, case.size, case.channels),),
        )

    def activation(self, case: Case) -> dict[str, Way]:
        return self.backend.with_gradient(
            keras.ops.relu, (_random(case.batch, case.size, case.size, case.channels),)
        )

    def train(self, case: Case) -> dict[str, Way]:
        x, labels = batch(case.batch)
        y = one_hot(labels)

        def on_batch(model: Any) -> Way:
            return Way(lambda: float(model.train_on_batch(x, y)[0]))

        ways = {f"train_on_batch{name}": on_batch(_model(o)) for name, o in self.backend.ways}
        for name, options in self.backend.ways:
            step = self.backend.step(_model(options), x, y)
            ways[f"fit's compiled step{name}"] = Way(step)
        return ways

    def inference(self, case: Case) -> dict[str, Way]:
        x, _ = batch(case.batch)

        def way(model: Any) -> Way:
            return Way(lambda: model.predict_on_batch(x))

        return {f"predict_on_batch{name}": way(_model(o)) for name, o in self.backend.ways}

    def epoch(self, case: Case) -> dict[str, Way]:
        (x, labels), _ = mnist(case.samples, case.tests)
        y, few = one_hot(labels), 20 * case.batch

        def way(model: Any) -> Way:
            return Way(
                lambda: model.fit(x, y, case.batch, verbose=0),
                lambda: model.fit(x[:few], y[:few], case.batch, verbose=0),
            )

        return {f"fit{name}": way(_model(options)) for name, options in self.backend.ways}

    def mnist(self, case: Case) -> dict[str, Way]:
        train, test = ((x, one_hot(y)) for x, y in mnist(case.samples, case.tests))

        def call() -> float:
            keras.utils.set_random_seed(0)
            model = _model({})
            model.fit(*train, case.batch, case.epochs, verbose=0)
            return model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]

        return {"": Way(call)}


class TensorFlow:
    """What is TensorFlow's own: gradients of an operation, and a step without `tf.data`."""

    ways = ((", XLA", {"jit_compile": True}), (", no XLA", {"jit_compile": False}))

    def __init__(self, threads: int) -> None:
        import tensorflow

        self.tf = tensorflow
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        self.versions = {"TensorFlow": tensorflow.__version__}

    def with_gradient(
        self, function: Callable[..., Any], arrays: tuple[Any, ...], wanted: tuple[int, ...] = (0,)
    ) -> dict[str, Way]:
        """Return the ways to an output and the gradients of the arrays at these positions."""
        tf = self.tf
        inputs = [tf.constant(array) for array in arrays]
        grad = tf.ones_like(function(*inputs))

        def both(grad: Any, *inputs: Any) -> Any:
            targets = [inputs[i] for i in wanted]
            with tf.GradientTape() as tape:
                tape.watch(targets)
                y = function(*inputs)
            return y, tape.gradient(y, targets, grad)

        def way(options: dict[str, bool]) -> Way:
            compiled = tf.function(both, **options)
            return Way(lambda: compiled(grad, *inputs))

        return {name.removeprefix(", "): way(options) for name, options in self.ways}

    def step(self, model: Any, x: Any, y: Any) -> Callable[[], float]:
        """Return the step that `fit` compiles, on tensors that are there already."""
        data = self.tf.constant(x), self.tf.constant(y)
        model.make_train_function()
        return lambda: float(model.train_function(iter([data]))["loss"])


class Jax:
    """What is JAX's own. There XLA is always on."""

    ways = (("", {}),)

    def __init__(self) -> None:
        import jax

        self.jax = jax
        self.versions = {"JAX": jax.__version__}

    def with_gradient(
        self, function: Callable[..., Any], arrays: tuple[Any, ...], wanted: tuple[int, ...] = (0,)
    ) -> dict[str, Way]:
        """Return the way to an output and the gradients of the arrays at these positions."""
        jax = self.jax
        inputs = [jax.numpy.asarray(array) for array in arrays]
        grad = jax.numpy.ones_like(function(*inputs))

        @jax.jit
        def both(grad: Any, *inputs: Any) -> Any:
            def of_wanted(*targets: Any) -> Any:
                given = dict(enumerate(inputs)) | dict(zip(wanted, targets, strict=True))
                return function(*given.values())

            y, pull_back = jax.vjp(of_wanted, *(inputs[i] for i in wanted))
            return y, pull_back(grad)

        return {"": Way(lambda: jax.block_until_ready(both(grad, *inputs)))}

    def step(self, model: Any, x: Any, y: Any) -> Callable[[], float]:
        """Return the step that `fit` compiles, its state kept from one to the next."""
        data = self.jax.numpy.asarray(x), self.jax.numpy.asarray(y)
        model.train_on_batch(x, y)  # makes the variables
        kinds = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        state: Any = tuple([variable.value for variable in variables] for variables in kinds)
        compiled = self.jax.jit(model.train_step, donate_argnums=0)

        def call() -> float:
            nonlocal state
            logs, state = compiled(state, data)
            return float(logs["loss"])

        return call


def _on_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def _model(options: dict[str, Any]) -> Any:
    model = keras_network()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32) - np.float32(0.5)
