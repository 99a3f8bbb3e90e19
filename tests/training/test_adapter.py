"""What `fit`, `evaluate` and `predict` take: arrays, lists, tensors, frames, several inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import functions
from gpunet.layers import Conv2D, Dense, Flatten
from gpunet.models import Model, Sequential
from gpunet.symbolic import Graph, Symbol, record
from gpunet.training.adapter import DataAdapter

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3)).astype("float32")
Y = rng.normal(size=(20, 1)).astype("float32")


def line(loss: Any = "mse") -> Sequential:
    model = Sequential([Dense(4, activation="relu", input_shape=(3,)), Dense(1)])
    model.compile("sgd", loss, metrics=["mae"])
    return model


class Pair(Model):
    """The weighted sum of two inputs, in a list, or by the names a and b."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Dense(1), Dense(1)

    def call(self, inputs: Any) -> Any:
        a, b = inputs
        return self.left(a) + self.right(b)


def pair() -> Pair:
    model = Pair()
    model.compile("sgd", "mse")
    return model


def test_images_get_the_axis_of_their_one_channel() -> None:
    images, labels = rng.random((6, 8, 8)).astype("float32"), rng.integers(0, 2, 6)
    model = Sequential(
        [Conv2D(2, 3, input_shape=(8, 8, 1)), Flatten(), Dense(1, activation="sigmoid")]
    )
    model.compile("sgd", "binary_crossentropy")
    model.fit(images, labels, verbose=0)
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), model.predict(images[..., None], verbose=0)
    )
    with pytest.raises(ValueError, match="received"):
        model.predict(images[:, :7], verbose=0)


def test_plain_numbers_are_samples_of_one_number() -> None:
    model = Sequential([Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    x = rng.random(10)
    model.fit(x, 2 * x, verbose=0)
    assert model.predict(x, verbose=0).shape == (10, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "bool"])
def test_targets_of_one_axis_are_a_column(dtype: str) -> None:
    y = (Y[:, 0] > 0).astype(dtype)
    seen = []

    def custom(y_true: Any, y_pred: Any) -> Any:
        seen.append((y_true.shape[1:], str(y_true.dtype)))
        return functions.mean(functions.square(y_pred - y_true), axis=-1)

    model = line(custom)
    flat = model.evaluate(X, y, verbose=0)
    assert flat == model.evaluate(X, y[:, None], verbose=0)
    model.fit(X, y, verbose=0)
    assert set(seen) == {((1,), "float32")}


def test_custom_metrics_get_targets_of_the_predictions_dtype() -> None:
    model = line()
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: (y_true - 2).min()])
    assert model.evaluate(X, np.ones(20, "uint8"), verbose=0)[1] == -1


def test_a_list_of_arrays_is_several_inputs() -> None:
    model = pair()
    model.fit([X, 2 * X], Y, epochs=2, batch_size=8, verbose=0)
    whole = model.predict([X, 2 * X], verbose=0)
    assert whole.shape == (20, 1)
    np.testing.assert_allclose(model.predict((X, 2 * X), batch_size=7, verbose=0), whole, atol=1e-6)
    batches = [([X[:10], X[:10]], Y[:10]), ([X[10:], X[10:]], Y[10:])]
    model.fit(batches, validation_data=([X, X], Y), verbose=0)
    with pytest.raises(ValueError, match=r"x\[0\], x\[1\] and y must have one row"):
        model.fit([X, X[:5]], Y, verbose=0)


def test_a_model_of_one_input_refuses_several() -> None:
    with pytest.raises(ValueError, match=r"list of 2 arrays, that is 2 inputs.*numpy\.stack"):
        line().predict([X[0], X[1]], verbose=0)
    with pytest.raises(ValueError, match="list of 2 arrays, and the model has 1 output"):
        line().fit(X, [Y, Y], verbose=0)


def test_lists_of_rows_and_lists_of_one_array() -> None:
    model = line()
    np.testing.assert_array_equal(
        model.predict(X.tolist(), verbose=0), model.predict([X], verbose=0)
    )
    unbuilt = Sequential([Dense(1)])
    unbuilt.compile("sgd", "mse")
    history = unbuilt.fit([X], [Y], batch_size=5, verbose=0)
    assert history.params["steps"] == 4


class Frame:
    """Numbers and bools in columns, as a DataFrame gives them to NumPy."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, dtype=object)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)

    def to_numpy(self) -> np.ndarray:
        return self.values


def test_frames_of_numbers_and_bools() -> None:
    model = line()
    rows = [[1, True, 0.5], [2, False, 1.5]]
    np.testing.assert_array_equal(
        model.predict(Frame(rows), verbose=0), model.predict(np.array(rows, "float32"), verbose=0)
    )
    with pytest.raises(TypeError, match="x must be an array of numbers, received dtype object"):
        model.predict(Frame([[1, "2", 3.0]]), verbose=0)


class LibraryTensor:
    """A tensor of another library, which wants a gradient."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.ndim = array, array.shape, array.ndim

    def detach(self) -> LibraryTensor:
        return self

    def cpu(self) -> np.ndarray:
        return self.array


def test_tensors_of_another_library() -> None:
    model = line()
    np.testing.assert_array_equal(
        model.predict(LibraryTensor(X), verbose=0), model.predict(X, verbose=0)
    )
    batches = [[LibraryTensor(X[:10]), LibraryTensor(Y[:10])], [X[10:], Y[10:]]]
    model.fit(batches, validation_data=batches, verbose=0)
    assert model.predict(iter(batches), verbose=0).shape == (20, 1)


class Sparse:
    shape = (20, 3)

    def toarray(self) -> np.ndarray:
        return X


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (Sparse(), r"x is a sparse matrix.*x\.toarray\(\)"),
        (np.ma.masked_less(X, 0), r"masked array.*x\.filled"),
        (X.astype(object), "received dtype object"),
        (X.astype("U8"), "received dtype <U8"),
    ],
)
def test_what_is_no_array_of_numbers(x: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        line().fit(x, Y, verbose=0)


def test_nan_in_a_row() -> None:
    hole = X.copy()
    hole[7, 1] = np.nan
    model = line()
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in sample 7"):
        model.fit(hole, Y, verbose=0)
    rows = model.predict(hole, verbose=0)
    assert np.isnan(rows[7]).all()
    assert np.isfinite(np.delete(rows, 7, 0)).all()


def test_numbers_beyond_the_models_dtype() -> None:
    large = X.astype("float64")
    large[3, 0] = 1e300
    for call in (line().predict, line().predict_on_batch):
        with pytest.raises(ValueError, match=r"x holds numbers beyond 3\.4e\+38.*sample 3"):
            call(large)
    with pytest.raises(ValueError, match="y holds numbers beyond"):
        line().fit(X, Y.astype("float64") + 1e300, verbose=0)


def test_class_weights_are_sample_weights() -> None:
    from gpunet.training.arrays import class_weights

    labels = np.array([0, 2, 1])
    for y in (labels, labels[:, None], np.eye(3)[labels]):
        np.testing.assert_array_equal(class_weights(y, {2: 5.0, 0: 0.0}), [0, 5, 1])
    with pytest.raises(ValueError, match="together with sample_weight"):
        line().fit(X, Y, class_weight={0: 1.0}, sample_weight=np.ones(20), verbose=0)
    with pytest.raises(TypeError, match="class_weight must be a dictionary"):
        line().fit(X, Y, class_weight=[1.0], verbose=0)


def test_inputs_by_name_come_in_the_order_of_the_graph() -> None:
    a, b = Symbol((None, 3), name="a"), Symbol((None, 2), name="b")
    outputs = record(lambda inputs: inputs["b"], ({"a": a, "b": b},), {})
    model = pair()
    adapter = DataAdapter(model, "fit")
    for inputs, structure in (([b, a], [0, 1]), ({"one": b, "other": a}, {"one": 0, "other": 1})):
        model.graph = Graph(inputs, outputs)
        batch = adapter.flatten({"a": X, "b": X[:, :2]}, Y)
        assert [array.shape for array in batch.inputs] == [(20, 2), (20, 3)]
        assert adapter.structure == structure
    with pytest.raises(ValueError, match="'pair': there is no input 'one'"):
        adapter.flatten({"a": X, "c": X}, Y)
    with pytest.raises(ValueError, match="list of 3 arrays, that is 3 inputs; 'pair' takes 2"):
        adapter.flatten([X, X, X], Y)
