"""Where the time of a step goes: all of it is there, work is counted right, the model stays."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions, primitives
from gpunet.layers import Add, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D
from gpunet.models import Model, Sequential
from gpunet.primitives import Network, Stage
from gpunet.primitives.network_operations import Flatten as FlattenRows
from gpunet.primitives.network_operations import Product, Sum
from gpunet.profiling import profile as profiling
from gpunet.profiling.cost import Work
from gpunet.profiling.report import LayerTime, OperationTime, Profile


def network() -> Sequential:
    model = Sequential(
        [
            Input((10, 10, 2)),
            Conv2D(4, 3, activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.5),
            Dense(5, activation="relu"),
            Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    return model


X = np.random.default_rng(0).random((12, 10, 10, 2), np.float32)
Y = np.eye(3, dtype="float32")[np.arange(12) % 3]


def state(model: Any) -> list[Any]:
    optimizer = model.optimizer
    return [
        [weight.tobytes() for weight in model.get_weights()],
        optimizer,
        {name: bytes(gpunet.backend.to_numpy(slot)) for name, slot in optimizer.state.items()},
        int(optimizer.iterations[0]),
        gpunet.random.get_state(),
        model.capture,
    ]


def check(found: Profile, model: Sequential) -> None:
    assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
    assert [layer.output_shape for layer in found.layers][:2] == [(8, 8, 8, 4), (8, 4, 4, 4)]
    assert all(layer.forward > 0 and layer.backward >= 0 for layer in found.layers)
    assert found.step > 0 and all(operation.seconds > 0 for operation in found.operations)
    seconds = [operation.seconds for operation in found.operations]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("trained", [False, True])
def test_on_the_cpu(trained: bool) -> None:
    model = network()
    if trained:
        model.fit(X, Y, verbose=0)
    before = state(model)
    found = gpunet.profile(model, X, Y, batch_size=8, steps=3)
    assert state(model) == before
    check(found, model)
    assert (found.device, found.batch_size) == ("CPU", 8)
    calls = {operation.name: operation.calls for operation in found.operations}
    assert calls["gather_batch"] == 2
    assert calls["adam_update"] == calls["chain_cross_entropy"] == calls["dropout_forward"] == 1
    # What the step carries out is within the step; they are medians of different steps.
    assert sum(operation.seconds for operation in found.operations) < 3 * found.step
    model.fit(X, Y, verbose=0)


def test_on_a_gpu(cupy: Any) -> None:
    model = network()
    model.fit(X, Y, verbose=0)
    before = state(model)
    found = gpunet.profile(model, X, Y, batch_size=8, steps=4)
    assert state(model) == before
    check(found, model)
    assert found.device == "GPU"
    names = [operation.name for operation in found.operations]
    assert {"gather_batches", "dropout", "finish_gradients", "adam_update"} <= set(names)
    convolutions = [operation for operation in found.operations if "conv2d" in operation.name]
    # 8 images, 4 x 4 windows of 4 outputs, 3 x 3 x 2 taps, 4 filters; a gradient is of one output.
    forward = 2 * 8 * 16 * 4 * 18 * 4
    assert {operation.operations for operation in convolutions} == {forward // 4, forward}
    (head,) = [op for op in found.operations if op.name == "dense_cross_entropy"]
    assert head.operations == 3 * 2 * 8 * (64 * 5 + 5 * 3)
    model.fit(X, Y, verbose=0)


class Own(Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def test_a_subclassed_model_is_recorded() -> None:
    model = Own()
    model.compile("sgd", "mse")
    found = gpunet.profile(model, np.zeros((32, 3)), np.zeros((32, 2)), steps=1)
    assert [(layer.name, layer.kind) for layer in found.layers] == [("dense", "Dense")]
    assert "matmul" in [operation.name for operation in found.operations]
    with pytest.raises(AttributeError, match="it is not part of a graph"):
        _ = model.dense.output


def test_a_call_that_needs_values_has_no_layers() -> None:
    class NeedsValues(Own):
        def call(self, x: Any) -> Any:
            return self.dense(x) if float(x.value.sum()) < 1 else self.dense(x * 2)

    model = NeedsValues()
    model.compile("sgd", "mse")
    found = gpunet.profile(model, np.zeros((3, 3)), batch_size=4, steps=1)
    assert found.layers == []
    assert "by itself" not in str(found)


class Halves(Layer):
    def call(self, x: Any) -> Any:
        return x[:, :2], x[:, 2:]


def branches() -> Model:
    """Return a model of two inputs and outputs, with a shared layer, an inner model, functions."""
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(4, activation="relu", name="shared")
    left, right = Halves(name="halves")(shared(a))
    inner = Sequential([Input((2,)), Dense(3, name="first"), Dropout(0.5, name="last")])
    h = functions.tanh(inner(left)) * 2.0
    outputs = {"h": h, "z": Dense(1, name="z")(Add(name="add")([shared(b), a])), "right": right}
    model = Model({"a": a, "b": b}, outputs)
    model.compile("adam", {"h": "mse", "z": "binary_crossentropy"}, metrics={"z": ["mae"]})
    return model


ROWS = {"b": np.ones((12, 4), "float32"), "a": np.zeros((12, 4), "float32")}
TARGETS = {"h": np.ones((12, 3)), "z": np.ones(12)}


@pytest.mark.parametrize("data", [(), (ROWS,), (ROWS, TARGETS)])
@pytest.mark.parametrize("device", ["CPU", "GPU"])
def test_any_graph(data: Any, device: str, request: pytest.FixtureRequest) -> None:
    if device == "GPU":
        request.getfixturevalue("cupy")
    model = branches()
    before = state(model) if data else None
    found = gpunet.profile(model, *data, batch_size=8, steps=2)
    if data:
        assert state(model) == before
    assert found.device == device
    shapes = {(layer.name, layer.kind): layer.output_shape for layer in found.layers}
    assert shapes == {
        ("shared", "Dense"): (8, 4),
        ("halves", "Halves"): [(8, 2), (8, 2)],
        ("first", "Dense"): (8, 3),
        ("last", "Dropout"): (8, 3),
        ("tanh", "function"): (8, 3),
        ("multiply", "function"): (8, 3),
        ("add", "Add"): (8, 4),
        ("z", "Dense"): (8, 1),
    }
    assert [layer.name for layer in found.layers].count("shared") == 2
    assert all(layer.forward > 0 for layer in found.layers)
    model.fit(ROWS, TARGETS | {"right": np.ones((12, 2))}, verbose=0)


def test_a_custom_train_step() -> None:
    class Steps(Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            loss = self.compute_loss(x, y, self(x, training=True))
            loss.backward()
            weights = self.trainable_weights
            self.optimizer.apply([weight.grad for weight in weights], weights)
            return {"loss": loss}

    x = Input((4,))
    h = Dense(2)(x)
    model = Steps(x, [h, Dense(1)(h)])
    model.compile("adam", "mse")
    for _ in range(2):  # before and after the first step
        before = model.get_weights(), int(model.optimizer.iterations)
        found = gpunet.profile(model, batch_size=4, steps=1)
        assert "adam_update" in [operation.name for operation in found.operations]
        for weight, expected in zip(model.get_weights(), before[0], strict=True):
            np.testing.assert_array_equal(weight, expected)
        assert int(model.optimizer.iterations) == before[1]
        model.fit(np.ones((4, 4)), [np.ones((4, 2)), np.ones((4, 1))], verbose=0)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(TypeError, match="profile expects a model, received int"):
        gpunet.profile(3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="profile needs a loss and an optimizer"):
        gpunet.profile(Own())
    model = Own()
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=r"profile needs to know the input shape of 'own.*x="):
        gpunet.profile(model)
    with pytest.raises(ValueError, match=r"12 rows of x .* and 11 of y"):
        gpunet.profile(network(), X, Y[:11])
    with pytest.raises(ValueError, match=r"there is no input 'b'.*\['a', 'b'\], received \['a'\]"):
        gpunet.profile(branches(), {"a": ROWS["a"]})
    with pytest.raises(ValueError, match="profile: steps must be a positive integer, received 0"):
        gpunet.profile(network(), steps=0)


RNG = np.random.default_rng(1)
IMAGES, KERNEL = RNG.random((3, 9, 8, 4)), RNG.random((3, 3, 4, 6))
CONV = 2 * 3 * 7 * 6 * 9 * 4 * 6  # images, positions, taps, channels, filters
POOLED = 2 * 3 * 6 * 6 * 9 * 4 * 6  # of 7 rows one fills no window
DENSE = 2 * 3 * 54 * 5


def works_of(name: str, *arguments: Any, **options: Any) -> list[Work]:
    """Return the work of each twin that a primitive calls."""
    calls: list[tuple[str, float, Work]] = []
    with profiling._timed_primitives(calls):
        getattr(primitives, name)(*arguments, **options)
    assert [call[0] for call in calls] == [name]
    return [work for _, _, work in calls]


@pytest.mark.parametrize(
    ("name", "arguments", "options", "operations"),
    [
        ("matmul", (np.ones((4, 5)), np.ones((5, 6))), {}, 2 * 4 * 5 * 6),
        ("matmul", (np.ones((5, 4)), np.ones((5, 6))), {"transpose_a": True}, 2 * 4 * 5 * 6),
        ("conv2d_forward", (IMAGES, KERNEL), {}, CONV),
        ("conv2d_backward_input", (np.ones((3, 7, 6, 6)), KERNEL, IMAGES.shape), {}, CONV),
        ("conv2d_backward_weight", (np.ones((3, 7, 6, 6)), IMAGES, KERNEL.shape), {}, CONV),
        ("conv2d_forward", (IMAGES, KERNEL[:, :, :2]), {"groups": 2}, CONV // 2),
        ("conv2d_max_pool_forward", (IMAGES, KERNEL), {}, POOLED),
        ("activate", (IMAGES, primitives.RELU), {}, None),
    ],
)  # fmt: skip
def test_work_is_counted(name: str, arguments: Any, options: Any, operations: int | None) -> None:
    (found,) = works_of(name, *arguments, **options)
    result = getattr(primitives, name)(*arguments, **options)
    assert found.operations == operations
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    results = result if isinstance(result, tuple) else (result,)
    moved = sum(a.nbytes for a in (*arrays, *results) if a is not None)
    assert found.bytes == moved


def test_work_of_chains_is_counted() -> None:
    stages = [
        Stage(KERNEL, None, "relu", pool_size=(2, 2)),
        Stage(RNG.random((54, 5)), None, None),
    ]
    labels = np.array([0, 1, 2])
    y, kept = primitives.chain_forward(IMAGES, stages)

    def count(name: str, *arguments: Any, **options: Any) -> int | None:
        return works_of(name, *arguments, **options)[0].operations

    assert count("chain_forward", IMAGES, stages) == POOLED + DENSE
    assert count("chain_backward", y, IMAGES, stages, kept) == POOLED + 2 * DENSE
    whole = count("chain_cross_entropy", IMAGES, stages, labels, with_input_grad=True)
    assert whole == 3 * (POOLED + DENSE)


def test_work_of_networks_is_counted() -> None:
    network = Network([
        Product((0,), KERNEL, None, pool_size=(2, 2)),
        FlattenRows((1,)),
        Product((2,), RNG.random((54, 5)), None),
        Sum((3, 3)),
    ])  # fmt: skip
    found = works_of("network_forward", IMAGES, network)[0]
    assert found.operations == POOLED + DENSE
    assert found.bytes == sum(a.nbytes for a in (IMAGES, *network.arrays)) + 3 * 5 * 8


LAYERS = [
    LayerTime("conv", "Conv2D", (32, 8, 8, 4), 1e-5, 3e-5),
    LayerTime("out", "Dense", (32, 3), 0, 0),
]
OPERATIONS = [
    OperationTime("matmul", 2, 1e-5, 40_000, 1_000_000),
    OperationTime("fill", 1, 2e-6, 800, None),
]
MADE_UP = Profile("net", "GPU", 32, 2e-3, LAYERS, OPERATIONS)


def test_the_table() -> None:
    assert str(MADE_UP).splitlines() == [
        "net: a step of 32 samples on the GPU takes 2,000.0 us",
        "",
        "layer, by itself         output  forward us  backward us  share",
        "---------------------------------------------------------------",
        "conv (Conv2D)     (32, 8, 8, 4)        10.0         30.0   100%",
        "out (Dense)             (32, 3)         0.0          0.0     0%",
        "",
        "kernel, as trained  calls    us  share  GB/s  GFLOP/s",
        "-----------------------------------------------------",
        "matmul                  2  10.0    83%   4.0    100.0",
        "fill                    1   2.0    17%   0.4",
    ]
    as_dict = MADE_UP.to_dict()
    assert as_dict["operations"][1] == {
        "name": "fill", "calls": 1, "seconds": 2e-6, "bytes": 800, "operations": None
    }  # fmt: skip


def test_the_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    figure = MADE_UP.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    twice = Profile("net", "GPU", 32, 2e-3, LAYERS[:1] * 2, OPERATIONS)  # a shared layer
    assert [bar.get_y() for bar in twice.plot().axes[0].patches[:2]] == [-0.4, 0.6]
    layers, operations = figure.axes
    assert [text.get_text() for text in layers.get_yticklabels()] == ["conv", "out"]
    assert [bar.get_width() for bar in operations.patches] == pytest.approx([10.0, 2.0])

    def refuse(name: str, *arguments: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gpunet\[plot\]'"):
        MADE_UP.plot()
