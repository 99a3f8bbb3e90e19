"""Keras as a contender, on TensorFlow or JAX, with or without XLA: the fastest variant counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.cases import Case
from benchmarks.programs import batch, keras_network, mnist, one_hot
from benchmarks.workers import Variant


class Library:
    """The cases of `benchmarks.cases`, on the backend that KERAS_BACKEND names.

    Arguments:
        threads: number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.backend: Any = TensorFlow(threads) if _on_tensorflow() else Jax()
        keras.utils.set_random_seed(0)
        self.versions = {"Keras": keras.__version__} | self.backend.versions

    def conv(self, case: Case) -> dict[str, Variant]:
        x = _random(case.batch, case.size, case.size, case.channels)
        kernel = _random(3, 3, case.channels, case.filters)
        padding = "same" if case.padding else "valid"
        return self.backend.with_gradient(
            lambda a, b: keras.ops.conv(a, b, padding=padding, data_format="channels_last"),
            (x, kernel),
            (0, 1) if case.input_grad else (1,),
        )

    def pool(self, case: Case) -> dict[str, Variant]:
        return self.backend.with_gradient(
            lambda a: keras.ops.max_pool(a, 2, 2, data_format="channels_last"),
            (_random(case.batch, case.size, case.size, case.channels),),
        )

    def activation(self, case: Case) -> dict[str, Variant]:
        return self.backend.with_gradient(
            keras.ops.relu, (_random(case.batch, case.size, case.size, case.channels),)
        )

    def train(self, case: Case) -> dict[str, Variant]:
        x, labels = batch(case.batch)
        y = one_hot(labels)

        def on_batch(model: Any) -> Variant:
            return Variant(lambda: float(model.train_on_batch(x, y)[0]))

        variants = {
            f"train_on_batch{name}": on_batch(_model(o)) for name, o in self.backend.variants
        }
        for name, options in self.backend.variants:
            step = self.backend.step(_model(options), x, y)
            variants[f"fit's compiled step{name}"] = Variant(step)
        return variants

    def inference(self, case: Case) -> dict[str, Variant]:
        x, _ = batch(case.batch)

        def variant(model: Any) -> Variant:
            return Variant(lambda: model.predict_on_batch(x))

        return {f"predict_on_batch{name}": variant(_model(o)) for name, o in self.backend.variants}

    def epoch(self, case: Case) -> dict[str, Variant]:
        (x, labels), _ = mnist(case.samples, case.tests)
        y, few = one_hot(labels), 20 * case.batch

        def variant(model: Any) -> Variant:
            return Variant(
                lambda: model.fit(x, y, case.batch, verbose=0),
                lambda: model.fit(x[:few], y[:few], case.batch, verbose=0),
            )

        return {f"fit{name}": variant(_model(options)) for name, options in self.backend.variants}

    def mnist(self, case: Case) -> dict[str, Variant]:
        train, test = ((x, one_hot(y)) for x, y in mnist(case.samples, case.tests))

        def call() -> float:
            keras.utils.set_random_seed(0)
            model = _model({})
            model.fit(*train, case.batch, case.epochs, verbose=0)
            return model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]

        return {"": Variant(call)}


class TensorFlow:
    """TensorFlow's part: gradients of an operation, and a step without `tf.data`."""

    variants = ((", XLA", {"jit_compile": True}), (", no XLA", {"jit_compile": False}))

    def __init__(self, threads: int) -> None:
        import tensorflow

        self.tf = tensorflow
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        self.versions = {"TensorFlow": tensorflow.__version__}

    def with_gradient(
        self, function: Callable[..., Any], arrays: tuple[Any, ...], wanted: tuple[int, ...] = (0,)
    ) -> dict[str, Variant]:
        """Return variants of an output and the gradients of the arrays at `wanted` positions."""
        tf = self.tf
        inputs = [tf.constant(array) for array in arrays]
        grad = tf.ones_like(function(*inputs))

        def both(grad: Any, *inputs: Any) -> Any:
            targets = [inputs[i] for i in wanted]
            with tf.GradientTape() as tape:
                tape.watch(targets)
                y = function(*inputs)
            return y, tape.gradient(y, targets, grad)

        def variant(options: dict[str, bool]) -> Variant:
            compiled = tf.function(both, **options)
            return Variant(lambda: compiled(grad, *inputs))

        return {name.removeprefix(", "): variant(options) for name, options in self.variants}

    def step(self, model: Any, x: Any, y: Any) -> Callable[[], float]:
        """Return the step that `fit` compiles, on existing tensors."""
        data = self.tf.constant(x), self.tf.constant(y)
        model.make_train_function()
        return lambda: float(model.train_function(iter([data]))["loss"])


class Jax:
    """JAX's part. XLA is always on."""

    variants = (("", {}),)

    def __init__(self) -> None:
        import jax

        self.jax = jax
        self.versions = {"JAX": jax.__version__}

    def with_gradient(
        self, function: Callable[..., Any], arrays: tuple[Any, ...], wanted: tuple[int, ...] = (0,)
    ) -> dict[str, Variant]:
        """Return the output and the gradients of the arrays at `wanted` positions."""
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

        return {"": Variant(lambda: jax.block_until_ready(both(grad, *inputs)))}

    def step(self, model: Any, x: Any, y: Any) -> Callable[[], float]:
        """Return the step that `fit` compiles; it carries its state from call to call."""
        data = self.jax.numpy.asarray(x), self.jax.numpy.asarray(y)
        model.train_on_batch(x, y)  # builds the variables
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
