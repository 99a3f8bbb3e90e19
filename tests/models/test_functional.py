"""Models as graphs of layers: what can be built, what is refused, and the values."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions, random
from gpunet.autograd import Tensor
from gpunet.layers import (
    Activation,
    Add,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    InputLayer,
    Layer,
    Multiply,
    Rescaling,
)
from gpunet.models import Model, Sequential

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


def two_inputs() -> Model:
    a, b = Input((4,), name="a"), Input((3,), name="b")
    hidden = Concatenate()([Dense(5, activation="relu")(a), b])
    return Model([a, b], Dense(2, name="out")(hidden))


def test_a_model_of_one_input_equals_the_same_sequential() -> None:
    random.seed(1)
    x = Input((4,))
    model = Model(x, Dense(2)(Dense(5, activation="relu")(x)))
    random.seed(1)
    other = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(2)])
    np.testing.assert_array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))
    assert [w.shape for w in model.weights] == [w.shape for w in other.weights]


def test_inputs_come_as_a_list_or_by_name() -> None:
    model, y = two_inputs(), X[:, :3]
    expected = model([X, y]).numpy()
    np.testing.assert_array_equal(model({"a": X, "b": y}).numpy(), expected)
    np.testing.assert_array_equal(model((Tensor(X), Tensor(y))).numpy(), expected)


def test_dictionaries_of_inputs_and_outputs_keep_their_keys() -> None:
    given = {"left": Input((4,)), "right": Input((4,))}
    total = Add()([given["right"], given["left"]])
    model = Model(given, {"sum": total, "double": total * 2})
    result = model({"right": X, "left": X, "ignored": X})
    assert list(result) == ["sum", "double"]
    np.testing.assert_allclose(result["sum"].numpy(), 2 * X)
    np.testing.assert_allclose(result["double"].numpy(), 4 * X)
    with pytest.raises(ValueError, match=r"expected a dictionary with the inputs .*'left'"):
        model({"right": X})


def test_a_single_input_may_stand_in_a_structure() -> None:
    x = Input((4,), name="a")
    layer = Dense(2)
    expected = layer(X).numpy()
    for structure, data in (({"a": x}, {"a": X}), ([x], [X])):
        np.testing.assert_array_equal(Model(structure, layer(x))(data).numpy(), expected)


def test_operators_and_functions_take_symbols() -> None:
    x = Input((4,))
    y = (
        1
        - functions.tanh(x) ** 2
        + functions.sum(x, axis=-1, keepdims=True) @ np.ones((1, 4), "float32")
    )
    z = functions.concatenate([y, -x], axis=-1)[:, 2:6].reshape((-1, 2, 2))
    assert (y.shape, z.shape) == ((None, 4), (None, 2, 2))
    expected = 1 - np.tanh(X) ** 2 + X.sum(-1, keepdims=True)
    found = Model(x, [y, z])(X)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5, atol=1e-6)
    joined = np.concatenate([expected, -X], axis=-1)[:, 2:6].reshape(-1, 2, 2)
    np.testing.assert_allclose(found[1].numpy(), joined, rtol=1e-5, atol=1e-6)


def test_unknown_sizes_stay_unknown() -> None:
    x = Input((None, 3))
    assert Dense(5)(x).shape == (None, None, 5)
    assert functions.mean(x, axis=1).shape == (None, 3)
    assert functions.transpose(x, (0, 2, 1)).shape == (None, 3, None)
    image = Input((None, None, 3))
    assert Conv2D(4, 3)(image).shape == (None, None, None, 4)


def test_a_shared_layer_has_its_weights_once() -> None:
    shared = Dense(3, name="shared")
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Multiply()([shared(a), shared(b)]))
    assert len(model.weights) == 2
    assert list(model.weight_paths()) == ["shared/kernel", "shared/bias"]
    model.compile("sgd", "mse")
    x = Tensor(X)
    model([x, x]).sum().backward()
    once = Tensor(X)
    assert shared.kernel.grad is not None
    expected = 2 * X.T @ (X @ shared.kernel.value)
    np.testing.assert_allclose(shared.kernel.grad, expected, rtol=1e-4, atol=1e-5)
    assert once.node is None


def test_models_nest() -> None:
    inner = two_inputs()
    a, b = Input((4,)), Input((3,))
    outer = Model([a, b], Activation("tanh")(inner([a, b])))
    values = [X, X[:, :3]]
    np.testing.assert_allclose(outer(values).numpy(), np.tanh(inner(values).numpy()), rtol=1e-5)
    assert next(iter(outer.weight_paths())).startswith("model/dense/")


def test_parts_of_a_model_are_models() -> None:
    model = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(2)])
    features = Model(model.inputs, model.layers[0].output)
    np.testing.assert_array_equal(features(X).numpy(), model.layers[0](X).numpy())
    head = Model(model.layers[1].input, model.output)
    np.testing.assert_allclose(head(features(X)).numpy(), model(X).numpy(), rtol=1e-6)


def test_a_subclass_can_be_given_a_graph() -> None:
    class Scaled(Model):
        def __init__(self) -> None:
            x = Input((4,))
            super().__init__(x, Dense(2)(x), name="scaled")

        def call(self, x: Any) -> Any:
            return super().call(x) * 10.0

    model = Scaled()
    np.testing.assert_allclose(model(X).numpy(), 10 * model.layers[1](X).numpy(), rtol=1e-6)


def test_training_differs_from_inference() -> None:
    x = Input((4,))
    always = Model(x, Dropout(0.5)(x, training=True))
    usual = Model(x, Dropout(0.5)(x))
    assert (always(X).numpy() == 0).any()
    np.testing.assert_array_equal(usual(X).numpy(), X)


def test_integers_stay_what_the_input_says() -> None:
    pixels, other = Input((4,), dtype="uint8"), Input((4,))
    model = Model([pixels, other], Add()([Rescaling(1 / 255)(pixels), other]))
    data = np.full((2, 4), 255, "uint8")
    np.testing.assert_allclose(model([data, X[:2]]).numpy(), 1 + X[:2], rtol=1e-6)
    assert model.input_takes_integers(0)
    assert not model.input_takes_integers(1)


def test_get_layer_finds_by_name_and_index() -> None:
    model = two_inputs()
    assert model.get_layer("out") is model.layers[-1]
    assert isinstance(model.get_layer(index=0), InputLayer)
    with pytest.raises(ValueError, match=r"no layer 'oot'"):
        model.get_layer("oot")
    with pytest.raises(ValueError, match="either a name or an index"):
        model.get_layer()


def test_copies_and_pickles_compute_the_same() -> None:
    model = two_inputs()
    expected = model([X, X[:, :3]]).numpy()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other([X, X[:, :3]]).numpy(), expected)
        assert other.weights[0] is not model.weights[0]


def test_a_dropped_model_is_freed_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        model = two_inputs()
        model([X, X[:, :3]])
        kernel = weakref.ref(model.layers[-1].kernel)
        del model
        assert kernel() is None
    finally:
        gc.enable()


class Twice(Layer):
    def call(self, x: Any) -> Any:
        return [x, x * 2]


def test_a_layer_of_several_outputs() -> None:
    x = Input((4,))
    one, two = Twice()(x)
    model = Model(x, two - one)
    np.testing.assert_allclose(model(X).numpy(), X, rtol=1e-6)


def disconnected() -> Any:
    x, y = Input((4,), name="x"), Input((4,), name="y")
    return Model(x, Add()([x, y]))


def same_input_twice() -> Any:
    x = Input((4,))
    return Model([x, x], Add()([x, x]))


def same_names() -> Any:
    x = Input((4,))
    return Model(x, Dense(4, name="d")(Dense(4, name="d")(x)))


def contains_itself() -> Any:
    model = Sequential([Input((4,)), Dense(4)])
    model.add(model)


def contains_itself_deep() -> Any:
    model, inner = Sequential([Input((4,)), Dense(4)]), Sequential()
    inner.add(model)
    model.add(inner)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (disconnected, ValueError, r"outputs depend on 'y'.*not among the inputs"),
        (same_input_twice, ValueError, r"inputs must name each Input once"),
        (same_names, ValueError, r"two layers named 'd'"),
        (contains_itself, ValueError, r"cannot contain itself"),
        (contains_itself_deep, ValueError, r"cannot contain itself"),
        (lambda: Model(Input((4,)), 3), TypeError, r"outputs must be symbols, received int"),
        (lambda: Model(X, Input((4,))), TypeError, r"inputs must be symbols, received ndarray"),
        (lambda: Model(Input((4,)), []), ValueError, r"outputs must contain at least one"),
        (lambda: Model(inputs=Input((4,))), TypeError, r"expects both, received no outputs"),
        (lambda: Dense(3)(Input((4, None))), ValueError, r"'dense'.*known number of features"),
        (lambda: Input(), ValueError, r"either shape.*or batch_shape"),
        (lambda: Input((4,), dtype="complex64"), ValueError, r"dtype must be one of"),
        (lambda: float(Input(())), TypeError, r"has no value yet"),
        (lambda: np.asarray(Input((4,))), TypeError, r"has no value yet"),
        (lambda: list(Input((4,))), TypeError, r"has no value yet"),
    ],
)
def test_bad_graphs_are_refused(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_wrong_inputs_name_what_is_expected() -> None:
    model = two_inputs()
    with pytest.raises(ValueError, match=r"takes 2 inputs, \['a', 'b'\], received 1"):
        model(X)
    with pytest.raises(ValueError, match=r"samples of shape \(3,\) for the input 'b'"):
        model([X, X])
    with pytest.raises(ValueError, match=r"dictionary with the inputs \['a', 'b'\]"):
        model({"a": X})


def test_the_summary_tells_what_is_connected() -> None:
    lines: list[str] = []
    two_inputs().summary(print_fn=lines.append)
    text = lines[0]
    assert "Connected to" in text
    row = next(line for line in text.splitlines() if line.startswith("concatenate"))
    assert row.endswith("dense, b")


def test_summary_of_a_chain_has_three_columns() -> None:
    lines: list[str] = []
    Sequential([Input((4, 4, 1)), Conv2D(2, 3), Flatten(), Dense(1)]).summary(print_fn=lines.append)
    assert "Connected to" not in lines[0]
    assert gpunet.Sequential is Sequential


@pytest.mark.parametrize("names", [("image", "age"), ("age", "image")])
def test_inputs_by_name_come_in_any_order(names: tuple[str, str]) -> None:
    shapes: dict[str, Any] = {"image": (2, 2, 1), "age": (1,)}
    symbols: dict[str, Any] = {}
    for name in names:
        symbols[name] = Input(shapes[name], name=name)
    both = Concatenate()([Flatten()(symbols["image"]), symbols["age"]])
    model = Model(symbols, Dense(1)(both))
    model.compile("sgd", "mse")
    x = {name: np.ones((4, *shapes[name]), "float32") for name in reversed(names)}
    model.fit(x, np.ones((4, 1)), verbose=0)
    expected = model.predict(x, verbose=0)
    assert expected.shape == (4, 1)
    np.testing.assert_array_equal(model({name: x[name] for name in names}).numpy(), expected)


class InTrainingAlone(Layer):
    """A layer that calls one of its layers in training alone: a dry call must build it."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes = Dense(3), Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.always(x)
        return y + self.sometimes(x) if training else y

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], 3)


@pytest.mark.parametrize("named", [False, True])
def test_layers_called_in_training_alone_are_built_for_several_inputs(named: bool) -> None:
    one, other = Input((4,)), Input((5,))
    inputs = {"one": one, "other": other} if named else [one, other]
    model = Model(inputs, InTrainingAlone()(one) + InTrainingAlone()(other))
    model.compile("sgd", "mse")
    arrays = [np.ones((8, 4)), np.ones((8, 5))]
    x = dict(zip(("one", "other"), arrays, strict=True)) if named else arrays
    model.fit(x, np.ones((8, 3)), verbose=0)
    assert len(model.weights) == 8
