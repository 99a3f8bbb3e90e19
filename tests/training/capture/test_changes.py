"""What changes between captured steps, around them or in their midst, on a fake GPU."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import activations, backend, functions, losses, metrics, optimizers
from gpunet.callbacks import LambdaCallback
from gpunet.layers import Dense, Flatten, Input, Layer
from gpunet.models import Sequential
from gpunet.training.capture.device_data import fits_on_device
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, fake_gpu, install
from tests.training.capture.test_capture import Root, X, Y, graphs, network, trained

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")


def dense(*before: Layer) -> Sequential:
    head = Dense(5, activation="tanh"), Dense(3, activation="softmax")
    return Sequential([Input((6, 6, 2)), *before, Flatten(), *head])


def compiled(
    capture: bool | str, *before: Layer, optimizer: Any = "adam", loss: Any = None, **options: Any
) -> Sequential:
    gpunet.random.seed(1)
    model = dense(*before)
    loss = "categorical_crossentropy" if loss is None else loss
    model.compile(optimizer, loss, capture=capture, **options)
    return model


def fitted(model: Sequential, x: Any = X, y: Any = Y, **options: Any) -> dict[str, Any]:
    return model.fit(x, y, **{"batch_size": 4, "verbose": 0} | options).history


def weights(model: Sequential) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


def check_alike(run: Callable[[bool], Any]) -> None:
    """Expect of a run with captured steps what one without gives."""
    expected = run(False)
    assert run(True) == expected


def check_as_on_the_cpu(run: Callable[[bool], tuple[Sequential, list[float]]]) -> None:
    """Expect of runs on the GPU the weights and the losses of one on the CPU, to rounding."""
    with backend.use_backend("numpy"):
        expected, losses_there = run(False)
    for capture in (False, True):
        model, found = run(capture)
        np.testing.assert_allclose(found, losses_there, rtol=1e-4)
        for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


# Settings


class Weighted(losses.Loss):
    weight = 1.0

    def call(self, y: Any, p: Any) -> Any:
        return functions.mean(functions.square(p - y), axis=-1) * self.weight


def test_a_setting_of_the_loss(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        loss = Weighted()

        def lower(epoch: int, logs: Any) -> None:
            loss.weight /= 2

        model = compiled(capture, loss=loss)
        return fitted(model, epochs=3, callbacks=[LambdaCallback(on_epoch_end=lower)])

    check_alike(run)


class Masked(Layer):
    def build(self, input_shape: Any) -> None:
        self.mask = backend.asarray(np.ones(input_shape[1:], "float32"))

    def call(self, x: Any) -> Any:
        return x * self.mask


@pytest.mark.parametrize("what", ["array", "activation", "metrics", "fuse", "loss", "draws"])
def test_what_is_replaced(what: str, cupy: Any) -> None:
    def replace(model: Any) -> None:
        if what == "array":
            model.layers[0].mask = backend.asarray(np.full((6, 6, 2), 0.5, "float32"))
        elif what == "activation":
            model.layers[2].activation = activations.relu
        elif what == "metrics":
            model.metrics = [metrics.get("accuracy")]
        elif what == "fuse":
            model.fuse = False
        elif what == "loss":
            model.loss = losses.get("mse")
        else:
            model.layers[1].rate = 0.0

    def run(capture: bool) -> Any:
        dropout = gpunet.layers.Dropout(0.5)
        layers = (Masked(), dropout) if what == "draws" else (Masked(),)
        model = compiled(capture, *layers)
        fitted(model)
        replace(model)
        return fitted(model), weights(model)

    check_alike(run)
    assert graphs() > 5


def test_a_setting_that_a_callback_changes_from_batch_to_batch(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        model = compiled(capture, gpunet.layers.Dropout(0.1, seed=1))

        def raise_rate(batch: int, logs: Any) -> None:
            model.layers[0].rate = 0.1 * (1 + batch // 3)

        return fitted(model, callbacks=[LambdaCallback(on_train_batch_end=raise_rate)])

    check_alike(run)
    assert graphs() > 0


class Counting(optimizers.Optimizer):
    """Counts its steps by a number of Python."""

    slots = ("mean",)
    count = 0

    def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
        self.count += 1
        slots["mean"] += 0.1 * (gradients - slots["mean"])
        parameters -= self.learning_rate * slots["mean"] / (1 - 0.9**self.count)


class Running(Layer):
    """Gives its weight a new array in each step."""

    def build(self, input_shape: Any) -> None:
        self.mean = self.add_weight(input_shape[1:], "zeros", name="mean", trainable=False)

    def call(self, x: Any) -> Any:
        self.mean.value = 0.9 * self.mean.value + 0.1 * x.value.mean(axis=0)
        return x - self.mean.value


@pytest.mark.parametrize(
    ("layers", "optimizer", "problem"),
    [((), Counting, "counting.count is set"), ((Running,), optimizers.SGD, "weight 'mean' is set")],
)
def test_what_a_step_sets_is_not_captured(
    layers: Any, optimizer: Any, problem: str, cupy: Any
) -> None:
    def run(capture: Any) -> Any:
        model = compiled(capture, *(layer() for layer in layers), optimizer=optimizer(0.1))
        return fitted(model, epochs=2), weights(model)

    expected = run(False)
    with pytest.warns(UserWarning, match=f"one kernel at a time: .*{problem} in each step"):
        assert run("auto") == expected
    assert graphs() == 0


# Random numbers, scores


def test_random_numbers_that_are_gone_back_to(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        gpunet.random.seed(1)
        model = network()
        model.compile("adam", "categorical_crossentropy", capture=capture)
        for _ in range(5):
            model.train_on_batch(X[:4], Y[:4])
        generators = [*model.generators, gpunet.random.global_generator]
        states = [generator.get_state() for generator in generators]
        model.train_on_batch(X[:7], Y[:7])  # the first of its kind
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        model.train_on_batch(X[:4], Y[:4])
        return weights(model)

    check_alike(run)
    assert graphs() > 2


class Keeping(metrics.Metric):
    """Keeps targets and predictions until the end."""

    def reset_state(self) -> None:
        self.kept: list[Any] = []

    def update_state(self, y: Any, p: Any) -> None:
        self.kept.append((y, p))

    def result(self) -> float:
        return sum(float((y * p).sum()) for y, p in self.kept)


@pytest.mark.parametrize("x", [X, None])
def test_a_metric_may_keep_what_it_gets(x: Any, cupy: Any) -> None:
    def run(capture: bool) -> Any:
        model = compiled(capture, metrics=[Keeping()])
        if x is not None:
            return fitted(model)
        batches = [(X[start : start + 4], Y[start : start + 4]) for start in range(0, 20, 4)]
        return fitted(model, batches, None, batch_size=None)

    check_alike(run)
    with backend.use_backend("numpy"):
        expected = run(False)
    assert run(False)["keeping"] == pytest.approx(expected["keeping"], rel=1e-5)


def test_a_loss_of_another_type_than_the_weights(cupy: Any) -> None:
    def loss(y: Any, p: Any) -> Any:
        return functions.mean(functions.square(p - y)) * np.log(np.float64(2.0))

    check_alike(lambda capture: fitted(compiled(capture, loss=loss)))


def test_a_model_of_which_nothing_is_trained(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        gpunet.random.seed(1)
        model = dense()
        for layer in model.layers:
            layer.trainable = False
        model.compile("sgd", "categorical_crossentropy", ["accuracy"], capture=capture)
        with pytest.warns(UserWarning, match="nothing to train: all its weights are frozen"):
            return fitted(model)

    check_alike(run)


# Training in the midst of training


def test_batches_and_epochs_within_an_epoch(cupy: Any) -> None:
    def run(capture: bool) -> tuple[Sequential, list[float]]:
        model, seen = compiled(capture), []

        def train_too(batch: int, logs: Any) -> None:
            seen.append(logs["loss"])
            if batch == 1:
                model.train_on_batch(X[:4], Y[:4])
            elif batch == 2:  # other data of the same shape, and in another order
                fitted(model, X[::-1].copy(), Y[::-1].copy(), shuffle=False)

        callback = LambdaCallback(on_train_batch_end=train_too)
        return model, fitted(model, epochs=2, callbacks=[callback])["loss"] + seen

    check_as_on_the_cpu(run)


def test_a_generator_that_trains(cupy: Any) -> None:
    def run(capture: bool) -> tuple[Sequential, list[float]]:
        model = compiled(capture)

        def batches() -> Iterator[Any]:
            for start in range(0, 20, 4):
                model.train_on_batch(X[:4], Y[:4])
                yield X[start : start + 4], Y[start : start + 4]

        return model, model.fit(batches(), verbose=0).history["loss"]

    check_as_on_the_cpu(run)


def test_steps_left_out_before_an_interrupt_are_not_counted(cupy: Any) -> None:
    gpunet.random.seed(1)
    model = Sequential([Input((72,)), Root(), Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    x = np.abs(X.reshape(22, -1)) + 0.1

    def batches() -> Iterator[Any]:
        for start in range(0, 20, 4):
            yield x[start : start + 4] * (-1 if start == 4 else 1), Y[start : start + 4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(batches(), verbose=0)
    model.train_on_batch(x[:4], Y[:4])
    assert int(model.optimizer.iterations[0]) == 2


def test_a_callback_that_gives_a_weight_a_new_array(cupy: Any) -> None:
    def run(capture: bool) -> tuple[Sequential, list[float]]:
        model = compiled(capture)

        def halve(batch: int, logs: Any) -> None:
            kernel = model.layers[-1].kernel
            kernel.value = kernel.value * 0.5

        return model, fitted(model, callbacks=[LambdaCallback(on_train_batch_end=halve)])["loss"]

    check_as_on_the_cpu(run)
    assert graphs() > 0


def test_models_that_share_a_layer_keep_their_graphs(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        gpunet.random.seed(1)
        shared = Dense(3, activation="softmax")
        one = Sequential([Input((72,)), Dense(72), shared])
        other = Sequential([Input((72,)), shared])
        for model in (one, other):
            model.compile(optimizers.SGD(0.1), "categorical_crossentropy", capture=capture)
        for _ in range(5):
            for model in (one, other):
                model.train_on_batch(X[:4].reshape(4, -1), Y[:4])
        return weights(one)

    check_alike(run)
    assert graphs() == 2 * (5 - 2)


def test_other_threads_may_copy_while_a_step_is_captured(cupy: Any) -> None:
    done: list[Any] = []

    class Beside(Layer):
        def call(self, x: Any) -> Any:
            thread = threading.Thread(target=lambda: done.append(cupy.asarray(np.ones(3))))
            thread.start()
            thread.join()
            return x

    trained(True, make=lambda: dense(Beside()), epochs=1)
    assert graphs() > 0
    assert len(done) > 2 + 2  # each kind of batch alone and captured, and more on building


# Data


@pytest.mark.parametrize("view", [lambda x: x.transpose(0, 2, 1, 3), lambda x: x[::2]])
def test_views_of_data_that_are_there(view: Any, cupy: Any) -> None:
    x, y = cupy.asarray(X), cupy.asarray(Y)

    def run(capture: bool) -> Any:
        model = compiled(capture)
        seen = view(x)
        fitted(model, x[: len(seen)], y[: len(seen)], shuffle=False)
        fitted(model, seen if capture else seen.copy(), y[: len(seen)], shuffle=False)
        return weights(model)

    check_alike(run)


def test_data_are_measured_in_the_type_they_get(cupy: Any) -> None:
    with install(Gpu(memory=1 << 20)) as small:
        x = np.zeros(200_000, "uint8")
        y = np.zeros(1, "float32")
        assert fits_on_device(small, (x, y), ("uint8", "float32"))
        assert not fits_on_device(small, (x, y), ("float32", "float32"))
        there = small.asarray(x)
        assert fits_on_device(small, (there, y), ("uint8", "float32"))
        assert not fits_on_device(small, (there, y), ("float32", "float32"))


def test_data_go_when_others_come(cupy: Any) -> None:
    """At once, and not only when Python looks for cycles."""
    model, used = compiled(True), []
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            fitted(model, cupy.asarray(X), cupy.asarray(Y))
            used.append(fake_gpu.now().used)
    finally:
        gc.enable()
    assert used[1:] == [used[0]] * 3
