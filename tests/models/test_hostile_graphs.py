"""Graphs that are easily got wrong: names that meet, parts of other graphs, great depth."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import functions
from gpunet.layers import Add, Concatenate, Dense, Input, Layer
from gpunet.models import Model, Sequential

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = [np.ones((4, 1), "float32"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]]


def two(inputs: Callable[..., Any] = lambda a, b: [a, b], loss: Any = "mse") -> Model:
    a, b = Input((3,), name="a"), Input((2,), name="b")
    h = Concatenate()([a, b])
    outputs = [Dense(1, name="y")(h), Dense(2, name="z", activation="softmax")(h)]
    model = Model(inputs(a, b), outputs, name="two")
    model.compile("sgd", loss)
    return model


A, B = X, X[:, :2]


class Halves(Layer):
    def call(self, x: Any) -> Any:
        return x[:, :1], x[:, 1:]


# Names


def test_outputs_of_one_layer_have_names_of_their_own() -> None:
    x, shared = Input((3,)), Dense(1, name="o")
    model = Model(x, [shared(x), shared(x * 2.0)])
    model.compile("sgd", {"o": "mse", "o_1": "mae"}, metrics=[["mae"], ["mae"]])
    history = model.fit(X, [Y[0], Y[0]], verbose=0).history
    assert set(history) == {"loss", "o_loss", "o_1_loss", "o_mae", "o_1_mae"}


def test_outputs_of_layers_without_names_are_named_as_these_are_in_the_model() -> None:
    x = Input((3,))
    model = Model(x, [Dense(1)(x) for _ in range(3)])
    model.compile("sgd", "mse")
    history = model.fit(X, [Y[0]] * 3, verbose=0).history
    assert set(history) == {"loss", "dense_loss", "dense_1_loss", "dense_2_loss"}


def test_one_symbol_may_be_an_output_twice_and_an_input() -> None:
    x = Input((3,), name="x")
    y = Dense(1, name="y")(x)
    model = Model(x, [y, x, y])
    model.compile("sgd", "mse")
    history = model.fit(X, [Y[0], X, Y[0]], verbose=0).history
    assert set(history) == {"loss", "y_loss", "x_loss", "y_1_loss"}
    assert history["x_loss"] == [0.0]


def test_inputs_from_another_graph_have_names_of_their_own_and_bring_no_weights() -> None:
    left, right = Halves(name="halves")(Dense(4, name="before")(Input((3,))))
    model = Model([left, right], Dense(2)(functions.concatenate([left, right], axis=-1)))
    assert [layer.name for layer in model.layers] == ["dense"]
    assert len(model.weights) == 2
    parts = {"halves_1": np.ones((2, 3)), "halves": np.zeros((2, 1))}
    np.testing.assert_array_equal(
        model(parts).numpy(), model([parts["halves"], parts["halves_1"]]).numpy()
    )
    assert copy.deepcopy(model)(parts).shape == (2, 2)


def test_a_second_model_leaves_the_names_of_the_first() -> None:
    x, shared, last, new = Input((3,)), Dense(3), Dense(3), Dense(3)
    first = Model(x, last(shared(x)))
    names = [layer.name for layer in first.layers]
    second = Model(x, shared(new(x)))
    assert [layer.name for layer in first.layers] == names == ["input_layer", "dense", "dense_1"]
    assert [layer.name for layer in second.layers] == ["input_layer", "dense_1", "dense"]


@pytest.mark.parametrize("make", [lambda n: Dense(2, name=n), lambda n: Layer().add_weight(name=n)])
def test_names_that_would_break_paths_are_refused(make: Any) -> None:
    for name in ("a/kernel", 3):
        with pytest.raises(ValueError, match="a name must be a string without '/'"):
            make(name)


def test_paths_are_unique_where_names_are_not() -> None:
    class Three(Layer):
        def build(self, input_shape: Any) -> None:
            self.one, self.two = Dense(2, name="d"), Dense(2, name="d")
            self.weight = self.add_weight((2,), name="d")

        def call(self, x: Any) -> Any:
            return self.one(x) + self.two(x) + self.weight

    x = Input((3,))
    model = Model(x, Three()(x))
    paths = model.weight_paths()
    assert [id(weight) for weight in paths.values()] == [id(weight) for weight in model.weights]
    assert len(paths) == 5


# Inputs and targets


@pytest.mark.parametrize(
    ("inputs", "x"),
    [
        (lambda a, b: [a, b], {"b": B, "more": X, "a": A}),
        (lambda a, b: {"q": b, "p": a}, {"q": B, "p": A}),
        (lambda a, b: {"q": b, "p": a}, {"b": B, "a": A}),
        (lambda a, b: {"q": [b, a]}, {"q": [B, A]}),
        (lambda a, b: [a, [b]], [A, [B]]),
        (lambda a, b: [a, b], [A.tolist(), B.tolist()]),
    ],
)
def test_structures_of_inputs(inputs: Any, x: Any) -> None:
    model, y = two(inputs), {"z": Y[1], "y": Y[0]}
    expected = [y.numpy() for y in model(x)]
    for found, want in zip(model.predict(x, verbose=0), expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5)
    model.fit(x, y, verbose=0)
    model.fit(((x, y) for _ in range(2)), verbose=0)


def test_outputs_in_a_dictionary_that_is_not_sorted() -> None:
    x = Input((3,))
    outputs = {"h": Dense(3)(x), "z": Dense(1)(x), "a": Dense(2)(x)}
    model = Model(x, outputs)
    model.compile("sgd", {"z": "binary_crossentropy", "a": "mse", "h": "mse"})
    model.fit(X, {"a": Y[1], "h": X, "z": Y[0]}, verbose=0)
    shapes = {key: y.shape for key, y in model.predict(X, verbose=0).items()}
    assert shapes == {"h": (4, 3), "z": (4, 1), "a": (4, 2)}


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ({"a": A}, Y, r"'two': there is no input 'b': .* inputs \['a', 'b'\], received \['a'\]"),
        ([B, A], Y, r"shape \(3,\) for the input 'a'.*received \(4, 2\)"),
        ([A, B, B], Y, r"x is a list of 3 arrays, that is 3 inputs; 'two' takes 2"),
        (A, Y, r"takes 2 inputs, \['a', 'b'\], received 1"),
        ([A, B[:3]], Y, r"4 rows of x\[0\] \(shape \(4, 3\)\) and 3 of x\[1\]"),
        ([A, B], [Y[0], Y[1][:2]], r"and 2 of y\[1\] \(shape \(2, 2\)\)"),
        ([A, B], {"y": Y[0], "q": Y[1]}, r"y has a key 'q', .*\['y', 'z'\]"),
        ([A, B], {"y": Y[0]}, "y has no targets for output 'z'"),
        ([A.astype(str), B], Y, r"x\[0\] must be an array of numbers, received dtype <U"),
    ],
)
def test_wrong_data_change_nothing(x: Any, y: Any, message: str) -> None:
    model = two()
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(x, y, verbose=0)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_generator_that_leaves_out_an_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"Batch 1 of the training data: .*no input 'b'"):
        two().fit((({"a": A}, Y) for _ in range(3)), verbose=0)
    with pytest.raises(ValueError, match=r"loss has a key 'q', .*\['y', 'z'\]"):
        two(loss={"q": "mse"})


def test_a_ragged_weight_is_named() -> None:
    model = Sequential([Input((3,)), Dense(2, name="d")])
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Weight 1 \('bias'\) .* Nothing was changed"):
        model.set_weights([np.ones((3, 2)), [[1, 2], [3]]])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


# Calls


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_a_layer_that_raises_while_it_is_recorded_stays_unbuilt(error: Any) -> None:
    class Raises(Layer):
        def build(self, input_shape: Any) -> None:
            self.weight = self.add_weight((3,))

        def call(self, x: Any) -> Any:
            raise error("out of luck")

    layer = Raises()
    with pytest.raises(error, match="out of luck"):
        layer(Input((3,)))
    assert not layer.built and layer.weights == []


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (None, "NoneType"), (X, "ndarray"), ({"a": X}, "dict of ndarray"), (3.0, "float"),
        ([None], "list of NoneType"), ([], "list"), ("x", "str"),
    ],
)  # fmt: skip
def test_a_call_must_return_tensors(output: Any, kind: str) -> None:
    class Returns(Layer):
        def call(self, x: Any) -> Any:
            return output

    for x in (Input((3,)), X):
        with pytest.raises(TypeError, match=f"'returns'.*must return a Tensor, received {kind},"):
            Returns()(x)


def test_symbols_beside_arrays_and_in_keywords() -> None:
    class Mix(Layer):
        def call(self, x: Any, other: Any = None, mask: Any = None) -> Any:
            return (x + other) * functions.astype(mask, "float32")

    x, mask = Input((3,)), Input((3,), dtype="bool")
    mixed = Add()([x, np.ones((1, 3), "float32")])
    model = Model([x, mask], Mix()(x, other=mixed, mask=mask))
    np.testing.assert_allclose(model.predict([X, X > 0], verbose=0), (2 * X + 1) * (X > 0), 1e-5)


def test_a_layer_whose_model_was_dropped_says_so() -> None:
    layer = Dense(2)
    Model(x := Input((3,)), layer(x))
    del x
    with pytest.raises(AttributeError, match=r"'dense' \(Dense\) has no output: it is not part"):
        _ = layer.output


# Copies, depth, threads


def fitted() -> Model:
    a, b, shared = Input((3,), name="a"), Input((3,), name="b"), Dense(2)
    inner = Sequential([Input((2,)), Dense(2)])
    outputs = [functions.tanh(shared(a)), inner(shared(b) * 2.0), a]
    model = Model({"b": b, "a": a}, outputs)
    model.compile("adam", ["mse", "mae", None], metrics=[["mae"], [], []])
    model.fit({"a": X, "b": X}, [Y[1], Y[1], None], verbose=0)
    return model


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_fitted_model_train_on_alike(copied: Callable[[Model], Model]) -> None:
    model = fitted()
    other = copied(model)
    assert other.get_config()["outputs"] is other.output
    assert not set(map(id, other.layers)) & set(map(id, model.layers))
    for each in (model, other):
        each.fit({"a": X, "b": X}, [Y[1], Y[1], None], epochs=2, verbose=0)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [s.name for s in other.inputs] == [s.name for s in model.inputs]


def test_a_model_in_its_own_attributes() -> None:
    model = fitted()
    model.parts = {"self": [model]}
    copied = copy.deepcopy(model)
    assert copied.parts["self"][0] is copied
    assert len(copied.weight_paths()) == len(copied.weights) == 4


def test_a_graph_of_2000_layers() -> None:
    h = x = Input((3,))
    for i in range(2000):
        h = functions.tanh(h) if i % 20 else Dense(3)(h)
    model = Model(x, h)
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    expected = model.predict(X, verbose=0)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copied.predict(X, verbose=0), expected)


def test_a_long_line_of_products_is_run_as_several_chains() -> None:
    model = Sequential([Input((3,)), *(Dense(3, activation="tanh") for _ in range(150))])
    expected = X
    for layer in model.layers:
        expected = layer(expected)
    np.testing.assert_allclose(model(X).numpy(), expected.numpy(), atol=1e-5)


def test_models_are_built_in_threads() -> None:
    shared, failures = Dense(4), []

    def build() -> None:
        try:
            a, b = Input((3,)), Input((3,))
            model = Model([a, b], Dense(1)(Add()([shared(a), shared(b)])))
            assert model.predict([X, X], verbose=0).shape == (4, 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(shared.weights) == 2


# Changes afterwards


def test_a_sequential_within_a_graph_may_change_until_it_does_not_fit() -> None:
    inner = Sequential([Input((3,)), Dense(4)])
    x = Input((3,))
    model = Model(x, Dense(2)(inner(x)))
    model.compile("sgd", "mse")
    model.fit(X, Y[1], verbose=0)
    inner.add(Dense(4))
    assert model.predict(X, verbose=0).shape == (4, 2)
    with pytest.raises(RuntimeError, match="layers were added or removed"):
        model.fit(X, Y[1], verbose=0)
    model.compile("sgd", "mse")
    model.fit(X, Y[1], verbose=0)
    inner.add(Dense(5))
    with pytest.raises(
        ValueError, match=r"'dense' \(Dense\).*\(batch, ..., 4\), received \(4, 5\)"
    ):
        model.predict(X, verbose=0)
    inner.pop()
    assert model.predict(X, verbose=0).shape == (4, 2)


def test_layers_shared_between_two_compiled_models_train_as_each_was_compiled() -> None:
    x, generator, critic = Input((3,)), Dense(3), Dense(1)
    alone = Model(x, critic(x))
    alone.compile("sgd", "mse")
    alone.trainable = False
    both = Model(x, alone(generator(x)))
    both.compile("sgd", "mse")
    for model, changes in ((both, False), (alone, True), (both, False)):
        before = critic.get_weights()[0]
        model.fit(X, Y[0], verbose=0)
        assert (not np.array_equal(critic.get_weights()[0], before)) is changes


def test_a_batch_size_that_was_given_may_differ() -> None:
    x = Input(batch_shape=(4, 3))
    model = Model(x, Dense(2)(x))
    assert model.output_shape == (4, 2)
    assert model.predict(X[:3], verbose=0).shape == (3, 2)
