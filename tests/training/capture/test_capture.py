"""Steps captured on a fake GPU: the same bits as steps by themselves, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet
from examples.mnist_cnn import build_model
from gpunet import backend, functions, losses, optimizers
from gpunet.callbacks import Callback, LambdaCallback
from gpunet.layers import Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D, Rescaling
from gpunet.models import NonFiniteLossError, Sequential
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Launch
from gpunet.primitives.launch.cupy import CupyExecutor
from gpunet.training.capture.steps import CaptureError
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, fake_gpu, install

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
X = rng.normal(size=(22, 6, 6, 2)).astype("float32")
LABELS = rng.integers(0, 3, len(X))
Y = np.eye(3, dtype="float32")[LABELS]


def network(*before: Layer) -> Sequential:
    return Sequential(
        [
            Input((6, 6, 2)),
            *before,
            Conv2D(4, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.25, seed=3),
            Dense(5, activation="tanh"),
            Dropout(0.5),
            Dense(3, activation="softmax"),
        ]
    )


class Halve(Callback):
    """A schedule of the learning rate: half of it after each epoch, or each batch."""

    def __init__(self, each: str = "epoch") -> None:
        self.seen: list[dict[str, float]] = []
        setattr(self, f"on_{'train_batch' if each == 'batch' else each}_end", self.halve)

    def halve(self, number: int, logs: Any = None) -> None:
        self.seen.append(dict(logs))
        self.model.optimizer.learning_rate *= 0.5


def trained(
    capture: bool | str,
    x: Any = X,
    y: Any = Y,
    make: Callable[[], Sequential] = network,
    optimizer: Callable[[], Any] = lambda: optimizers.Adam(0.01),
    loss: Any = "categorical_crossentropy",
    metrics: Any = ("accuracy",),
    callback: Callable[[], Callback] = Halve,
    **options: Any,
) -> tuple[dict[str, Any], Any]:
    """Return all that training leaves as bytes and numbers, and the model."""
    gpunet.random.seed(1)
    model, listener = make(), callback()
    model.compile(optimizer(), loss, list(metrics), capture=capture)
    options = {"epochs": 3, "batch_size": 4, "verbose": 0} | options
    history = model.fit(x, y, callbacks=[listener], **options).history
    left = {
        **history,
        "seen": getattr(listener, "seen", None),
        "weights": [weight.tobytes() for weight in model.get_weights()],
        "slots": [backend.to_numpy(slot).tobytes() for slot in model.optimizer.state.values()],
        "steps": int(model.optimizer.iterations[0]),
        "random": gpunet.random.get_state(),
    }
    return left, model


def graphs() -> int:
    return fake_gpu.now().launched.count("graph")


@pytest.mark.parametrize("where", ["host", "device"])
def test_captured_steps_leave_the_same_bits(where: str, cupy: Any) -> None:
    """Over epochs with a short last batch, a schedule of the learning rate, and dropout."""
    convert = cupy.asarray if where == "device" else np.asarray
    x, y = convert(X), convert(Y)
    eager, _ = trained(False, x, y)
    assert graphs() == 0
    captured, _ = trained(True, x, y)
    assert captured == eager
    # In each epoch 5 steps of 4 samples and one of 2; the first of each kind went by itself.
    assert graphs() == 3 * 6 - 2


def test_many_steps_are_one_graph(cupy: Any) -> None:
    x, y = cupy.asarray(np.tile(X, (4, 1, 1, 1))), cupy.asarray(np.tile(Y, (4, 1)))  # 88 samples
    eager, _ = trained(False, x, y, epochs=2)
    captured, _ = trained(True, x, y, epochs=2)
    assert captured == eager
    # First epoch: one step by itself, 16 in two graphs and 5 in one each; then 16 and 6.
    assert graphs() == 2 + 5 + 2 + 6


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": lambda: optimizers.SGD(0.1, momentum=0.9)},
        {"loss": losses.CategoricalCrossentropy(label_smoothing=0.1), "metrics": ("mae", "acc")},
        {"loss": "mse", "metrics": ("mae",)},
        {"loss": "sparse_categorical_crossentropy", "y": LABELS},
        {"metrics": ()},
        {"callback": lambda: Halve("batch")},
        {"validation_split": 0.2},
        {"shuffle": False},
        {"steps_per_epoch": 4},
        {"x": (X * 50).astype("int8"), "make": lambda: network(Rescaling(0.02))},
        {"x": X.astype("float64"), "y": Y.astype("float64")},
    ],
)
def test_whatever_is_trained(options: dict[str, Any], cupy: Any) -> None:
    eager, _ = trained(False, **options)
    captured, _ = trained(True, **options)
    assert captured == eager
    assert graphs() > 5


class SignSGD(optimizers.Optimizer):
    slots = ("mean",)

    def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
        slots["mean"] += 0.1 * (gradients - slots["mean"])
        parameters -= self.learning_rate * np.sign(slots["mean"])


class Decayed(optimizers.Adam):
    """Adam with a rule of its own beside."""

    def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
        super().update(parameters, gradients, slots)
        parameters *= 0.999


@pytest.mark.parametrize("optimizer", [lambda: SignSGD(0.01), lambda: Decayed(0.01)])
def test_rules_of_ones_own(optimizer: Any, cupy: Any) -> None:
    eager, _ = trained(False, optimizer=optimizer)
    captured, _ = trained(True, optimizer=optimizer)
    assert captured == eager


def test_large_data_come_batch_by_batch(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there, _ = trained(True)
    monkeypatch.setattr("gpunet.training.capture.device_data._MOST_SHARE", 0)
    before = graphs()
    streamed, model = trained(True)
    assert streamed == there
    assert model._device_steps()._resident is None
    # Two places for batches of each size, each of which is used once by itself.
    assert graphs() - before == 3 * 6 - 2 * 2


def test_batches_of_an_iterable(cupy: Any) -> None:
    batches = [(X[start : start + 4], Y[start : start + 4]) for start in range(0, len(X), 4)]

    def run(capture: bool, convert: Any) -> dict[str, Any]:
        given = [(convert(x), convert(y)) for x, y in batches]
        return trained(capture, given, None, batch_size=None)[0]

    expected = run(False, np.asarray)
    for convert in (np.asarray, cupy.asarray):
        assert run(True, convert) == expected


@pytest.mark.parametrize("batch", [32, 100])
def test_the_launches_of_a_step_of_the_program(batch: int, cupy: Any) -> None:
    """All that one step of the program launches, CuPy's own kernels and copies counted in."""
    x = np.zeros((2 * batch, 28, 28, 1), "float32")
    y = np.eye(10, dtype="float32")[np.arange(2 * batch) % 10]
    model = build_model()
    model.fit(x, y, batch_size=batch, verbose=0)
    (graph,) = model._device_steps()._graphs.values()
    assert graph.graph.nodes == [
        "gather_batches",
        "conv2d_max_pool_small_forward",
        *["conv2d_max_pool_forward"] * 2,
        "dense_cross_entropy",
        *["conv2d_max_pool_backward_weight", "conv2d_max_pool_backward_input"] * 2,
        "conv2d_max_pool_small_backward_weight",
        "finish_gradients",
        "adam_update",
    ]
    assert len(graph.graph.nodes) == 12


class Noting(CupyExecutor):
    """Notes the launches: their kernels, sizes and numbers, but no arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Any] = []

    def run(self, launch: Launch) -> None:
        numbers = [a for a in launch.arguments if isinstance(a, np.generic)]
        self.noted.append((launch.kernel.name, launch.build, launch.grid, launch.block, numbers))
        super().run(launch)


def test_no_number_that_is_passed_changes_from_step_to_step(cupy: Any) -> None:
    """Of steps that are not captured: a graph would pass those of its first again and again."""
    executor, steps = Noting(), []

    class Mark(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append(executor.noted)
            executor.noted = []
            self.model.optimizer.learning_rate *= 0.5

    with launcher.use_executor(executor):
        trained(False, X[:20], Y[:20], callback=Mark, epochs=2)
    assert len(steps) == 10
    assert all(step == steps[0] for step in steps)


def test_single_batches_are_captured_too(cupy: Any) -> None:
    def run(capture: bool) -> list[Any]:
        gpunet.random.seed(1)
        model = network()
        model.compile("adam", "categorical_crossentropy", ["accuracy"], capture=capture)
        scores = [model.train_on_batch(X[:4], Y[:4]) for _ in range(6)]
        return [scores, [weight.tobytes() for weight in model.get_weights()]]

    expected = run(False)
    assert run(True) == expected
    assert graphs() == 6 - 2  # two places for batches, each of which is used once by itself


def test_a_second_fit_goes_on_with_the_graphs(cupy: Any) -> None:
    x, y = cupy.asarray(X[:20]), cupy.asarray(Y[:20])
    _, model = trained(True, x, y, epochs=1)
    steps = model._device_steps()
    captured = dict(steps._graphs)
    model.fit(x, y, batch_size=4, verbose=0)
    assert steps is model._device_steps()
    assert steps._graphs == captured
    other = cupy.asarray(X[:20])
    model.fit(other, y, batch_size=4, verbose=0)
    assert not set(steps._graphs) & set(captured), "they read the data of before"


def test_single_batches_between_epochs(cupy: Any) -> None:
    """They move the place in the order that an epoch goes on from, where it is not yet through."""

    class Between(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.train_on_batch(X[:4], Y[:4])

    options: dict[str, Any] = {"callback": Between, "steps_per_epoch": 3}
    assert trained(True, **options)[0] == trained(False, **options)[0]


def test_host_data_that_changed_are_copied_again(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        x = X.copy()
        gpunet.random.seed(1)
        model = network()
        model.compile("sgd", "categorical_crossentropy", capture=capture)
        model.fit(x, Y, verbose=0, batch_size=4)
        x *= 0.5
        model.fit(x, Y, verbose=0, batch_size=4)
        return [weight.tobytes() for weight in model.get_weights()]

    assert run(True) == run(False)


def test_settings_that_change_are_captured_anew(cupy: Any) -> None:
    def lower(model: Any) -> Callback:
        def change(epoch: int, logs: Any) -> None:
            model.layers[3].rate, model.optimizer.beta_1 = 0.1, 0.5

        return LambdaCallback(on_epoch_end=change)

    def run(capture: bool) -> Any:
        gpunet.random.seed(1)
        model = network()
        model.compile("adam", "categorical_crossentropy", capture=capture)
        model.fit(X, Y, verbose=0, batch_size=4, epochs=2, callbacks=[lower(model)])
        return [weight.tobytes() for weight in model.get_weights()]

    assert run(True) == run(False)


def test_compiling_again_goes_on_counting(cupy: Any) -> None:
    def run(capture: bool) -> Any:
        gpunet.random.seed(1)
        model = network()
        optimizer = optimizers.Adam(0.01)
        for _ in range(2):
            model.compile(optimizer, "categorical_crossentropy", capture=capture)
            model.fit(X, Y, verbose=0, batch_size=4)
        model.train_on_batch(X, Y)
        optimizer.step(model._parameters.values, model._parameters.gradients)
        return [weight.tobytes() for weight in model.get_weights()], int(optimizer.iterations[0])

    assert run(True) == run(False)
    assert run(True)[1] == 2 * 6 + 2


def test_a_copy_of_a_model_trains_by_itself(cupy: Any) -> None:
    _, model = trained(True)
    copied = copy.deepcopy(model)
    before = [weight.tobytes() for weight in model.get_weights()]
    assert [weight.tobytes() for weight in copied.get_weights()] == before
    gpunet.random.seed(2)
    copied.fit(X, Y, verbose=0, batch_size=4)
    assert [weight.tobytes() for weight in model.get_weights()] == before
    gpunet.random.seed(2)
    model.fit(X, Y, verbose=0, batch_size=4)
    for one, other in zip(model.get_weights(), copied.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# What is refused


class Peeking(Layer):
    """Reads from the device in each step."""

    def call(self, x: Any) -> Any:
        return x * (1.0 if float(x.value.sum()) > 0 else 2.0)


class Copying(Layer):
    """Copies from the host in each step."""

    def call(self, x: Any) -> Any:
        return x * backend.asarray(np.full(1, 1.0, "float32"), like=x.value)


class Drawing(Layer):
    """Draws random numbers on the host."""

    def call(self, x: Any) -> Any:
        return x * float(gpunet.random.uniform(1)[0])


@pytest.mark.parametrize(
    ("layer", "problem"),
    [(Peeking, "not permitted"), (Copying, r"copied to the GPU.*build\(\)"), (Drawing, "")],
)
def test_what_cannot_be_captured(layer: Any, problem: str, cupy: Any) -> None:
    def make() -> Sequential:
        return network(layer(name="mine"))

    eager, _ = trained(False, make=make)
    where = rf"layer 'mine': test_capture\.py, line \d+: .*{problem}"
    with pytest.warns(UserWarning, match=f"one kernel at a time: {where}") as told:
        found, model = trained("auto", make=make)
    assert len(told) == 1
    assert found == eager
    model.fit(X, Y, verbose=0)  # says no more
    with pytest.raises(CaptureError, match=where):
        trained(True, make=make)


def test_after_an_error_the_model_is_whole(cupy: Any) -> None:
    gpunet.random.seed(1)
    model = network(Peeking())
    model.compile("sgd", "categorical_crossentropy", capture=True)
    with pytest.raises(CaptureError):
        model.fit(X, Y, verbose=0, batch_size=4)
    assert int(model.optimizer.iterations[0]) == 1
    model.compile("sgd", "categorical_crossentropy")
    with pytest.warns(UserWarning, match="one kernel at a time"):
        model.fit(X, Y, verbose=0, batch_size=4)


def test_on_the_cpu_there_is_nothing_to_capture() -> None:
    model = network()
    model.compile("sgd", "categorical_crossentropy", capture=True)
    with pytest.raises(CaptureError, match=r"'sequential.*' is on the CPU"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="capture must be 'auto', True or False, received 'yes'"):
        model.compile("sgd", "mse", capture="yes")


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("optimizer", [lambda: optimizers.Adam(0.01), lambda: SignSGD(0.1)])
def test_a_loss_that_is_not_finite_leaves_the_weights(
    capture: bool, optimizer: Any, cupy: Any
) -> None:
    """Batch 4 gives a NaN that no check before the training can find."""
    x = np.abs(X.reshape(22, -1)) + 0.1
    x[13, 0] = -1.0

    def model_of(count: int) -> Any:
        gpunet.random.seed(1)
        model = Sequential([Input((72,)), Root(), Dense(3, activation="softmax")])
        model.compile(optimizer(), "categorical_crossentropy", ["accuracy"], capture=capture)
        model.fit(x[:count], Y[:count], batch_size=4, shuffle=False, verbose=0)
        return model

    expected = model_of(12)
    with pytest.raises(NonFiniteLossError, match=r"Epoch 1, batch 4: the loss is nan\.") as caught:
        model_of(22)
    assert caught.value.batch == 4
    gpunet.random.seed(1)
    model = Sequential([Input((72,)), Root(), Dense(3, activation="softmax")])
    model.compile(optimizer(), "categorical_crossentropy", capture=capture)
    with pytest.raises(NonFiniteLossError):
        model.fit(x, Y, batch_size=4, shuffle=False, verbose=0)
    for found, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert int(model.optimizer.iterations[0]) == 3
    for name, slot in model.optimizer.state.items():
        np.testing.assert_array_equal(slot.get(), expected.optimizer.state[name].get())


class Root(Layer):
    def call(self, x: Any) -> Any:
        return functions.sqrt(x)


def test_a_gradient_that_is_not_finite_is_told_too(cupy: Any) -> None:
    model = Sequential([Input((2,)), Root(), Dense(1)])
    model.compile("sgd", lambda y, p: functions.mean(functions.sqrt(p * 0)))
    with pytest.raises(NonFiniteLossError, match="Epoch 1, batch 1: a gradient is nan"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)


def test_orders_of_threads_give_the_same_bits() -> None:
    ends = []
    for order in ("forward", "reverse", "shuffled"):
        with install(Gpu(order=order)), backend.use_backend("cupy"):
            ends.append(trained(True)[0])
    assert ends[0] == ends[1] == ends[2]
