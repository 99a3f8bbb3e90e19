"""When layers are built, what a build that fails leaves, and state that is not trained."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from gpunet import functions, random
from gpunet.autograd import no_grad
from gpunet.layers import Dense, Flatten, Input, Layer
from gpunet.layers.layer import collect_updates
from gpunet.models import Model, Sequential

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


def test_build_by_hand_builds_once() -> None:
    layer = Dense(3)
    layer.build((None, 4))
    assert layer.built
    assert layer.input_shape == (None, 4)
    layer.set_weights([np.ones((4, 3)), np.zeros(3)])
    np.testing.assert_allclose(layer(X).numpy(), X.sum(1, keepdims=True).repeat(3, 1), rtol=1e-5)
    layer.build((None, 4))
    assert len(layer.weights) == 2


class Block(Layer):
    """Builds its parts in its own `build`, as Keras asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Dense(5), Dense(2)

    def build(self, input_shape: Any) -> None:
        self.one.build(input_shape)
        self.two.build(self.one.compute_output_shape(input_shape))
        self.built = True

    def call(self, x: Any) -> Any:
        return self.two(self.one(x))


def test_a_composite_that_builds_its_parts_has_each_weight_once() -> None:
    model = Sequential([Input((4,)), Block()])
    assert list(model.weight_paths()) == [
        f"block/{layer}/{weight}" for layer in ("dense", "dense_1") for weight in ("kernel", "bias")
    ]
    assert len(model.weights) == 4


class Deep(Block):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.scale = self.add_weight((), "ones", name="scale")

    def call(self, x: Any) -> Any:
        return super().call(x) * self.scale


def test_build_of_a_subclass_runs_its_base_as_part_of_it() -> None:
    layer = Deep()
    layer(X)
    assert len(layer.weights) == 5


def test_threads_build_a_layer_once() -> None:
    layer = Dense(3)
    threads = [threading.Thread(target=layer, args=(X,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(layer.weights) == 2


def test_a_build_that_fails_leaves_nothing() -> None:
    class Fails(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.fail = Dense(2), True

        def build(self, input_shape: Any) -> None:
            self.part.build(input_shape)
            self.extra = self.add_weight((3,))
            if self.fail:
                raise ValueError("not now")

        def call(self, x: Any) -> Any:
            return self.part(x)

    random.seed(3)
    state, layer = random.get_state(), Fails()
    with pytest.raises(ValueError, match=r"Layer 'fails' \(Fails\): not now"):
        layer(X)
    assert not layer.built and not layer.part.built and not layer.weights
    assert random.get_state() == state
    layer.fail = False
    layer(X)
    assert len(layer.weights) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda layer: layer.add_weight((None, 3)), r"add_weight expects a shape of integers"),
        (lambda layer: layer.add_weight(None), r"add_weight expects a shape of integers"),
        (lambda layer: layer.add_weight((2.5,)), r"add_weight expects a shape of integers"),
        (lambda layer: layer.add_weight((2,), dtype="int32"), r"dtype of .* must be 'float32'"),
        (
            lambda layer: [layer.add_weight((2,), name="w") for _ in range(2)],
            r"name 'w', which another weight",
        ),
    ],
)
def test_bad_weights_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Dense(2))


def test_weights_without_a_name_are_numbered() -> None:
    layer = Flatten()
    names = [layer.add_weight(3).name for _ in range(3)]
    assert names == ["weight", "weight_1", "weight_2"]
    assert layer.weights[0].shape == (3,)


class NoSuper(Layer):
    def __init__(self) -> None:
        self.n = 3

    def call(self, x: Any) -> Any:
        return x


class NoSuperModel(Model):
    def __init__(self) -> None:
        self.dense = Dense(3)

    def call(self, x: Any) -> Any:
        return self.dense(x)


@pytest.mark.parametrize(
    "use",
    [
        lambda: NoSuper()(X),
        lambda: Sequential([NoSuper()]),
        lambda: NoSuperModel().predict(X, verbose=0),
        lambda: NoSuperModel().fit(X, X),
        lambda: NoSuperModel().weights,
    ],
)
def test_a_missing_super_init_is_named(use: Any) -> None:
    with pytest.raises(RuntimeError, match=r"did not call super\(\).__init__\(\)"):
        use()


class Running(Layer):
    """Keeps a running sum of its inputs' means."""

    def build(self, input_shape: Any) -> None:
        self.total = self.add_weight((), "zeros", name="total", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.add_update(self.total, self.total + functions.mean(x))
        return x


def test_updates_are_applied_at_once_outside_of_a_step() -> None:
    layer = Running()
    layer(X, training=True)
    assert layer.total.item() == pytest.approx(X.mean(), rel=1e-5)


def test_updates_are_collected_for_a_step() -> None:
    layer = Running()
    with collect_updates() as updates:
        layer(X, training=True)
    assert layer.total.item() == 0
    ((parameter, value, momentum),) = updates
    assert parameter is layer.total
    assert momentum == 0
    assert float(value) == pytest.approx(X.mean(), rel=1e-5)


def test_building_a_model_changes_no_state() -> None:
    class Eager(Running):
        def call(self, x: Any, training: bool = False) -> Any:
            self.total.value[...] += 1.0  # in place, past add_update
            return super().call(x, training=True)

    model = Sequential([Input((4,)), Eager(), Dense(2)])
    assert model.built
    assert model.layers[0].total.item() == 0
    with no_grad():
        model(X)
    assert model.layers[0].total.item() == pytest.approx(1 + X.mean(), rel=1e-4)


def test_input_dim_stands_for_one_axis() -> None:
    model = Sequential([Dense(8, input_dim=4), Dense(1)])
    assert model.input_shape == (None, 4)


@pytest.mark.parametrize("dtype", ["abc", "bfloat16", "int32", "float16", object])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"dtype of 'dense' must be 'float32' or 'float64'"):
        Dense(2, dtype=dtype)


def test_masks_reach_call_alone() -> None:
    class Masked(Layer):
        def call(self, x: Any, mask: Any = None) -> Any:
            return x if mask is None else x * mask[..., None].astype("float32")

    mask = np.array([1, 0, 1, 1, 0, 1], bool)
    np.testing.assert_array_equal(Masked()(X, mask=mask).numpy(), X * mask[:, None])
    with pytest.raises(TypeError, match="takes no mask"):
        Dense(2)(X, mask=mask)


def test_further_inputs_and_options_are_passed_on() -> None:
    class Gate(Layer):
        def call(self, x: Any, gate: Any, power: float = 1.0) -> Any:
            return x * gate**power

    y = np.abs(X)
    np.testing.assert_allclose(Gate()(X, y, power=2.0).numpy(), X * y**2, rtol=1e-5)
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Gate()(a, b, power=2.0))
    np.testing.assert_allclose(model([X, y]).numpy(), X * y**2, rtol=1e-5)
