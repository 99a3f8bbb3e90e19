"""Statistics and categories: values by hand, graphs, configurations, devices, wrong arguments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, backend, check_gradients, layers
from gpunet.layers import CategoryEncoding, Dense, Discretization, Input, Normalization
from gpunet.models import Model, Sequential

rng = np.random.default_rng(0)
DATA = rng.normal(3, 2, (50, 4, 3)).astype("float32")


def normalized(data: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    others = tuple(axis for axis in range(data.ndim) if axis not in kept)
    wide = data.astype("float64")
    return (data - wide.mean(others, keepdims=True)) / wide.std(others, keepdims=True)


@pytest.mark.parametrize(
    ("axis", "kept"), [(-1, (2,)), (None, ()), (1, (1,)), ((1, 2), (1, 2)), ((-1, 1), (1, 2))]
)
def test_normalization_by_data(axis: Any, kept: tuple[int, ...]) -> None:
    layer = Normalization(axis)
    layer.adapt(DATA)
    expected = normalized(DATA, kept)
    np.testing.assert_allclose(layer(DATA).value, expected, rtol=1e-4, atol=1e-5)
    assert [weight.name for weight in layer.weights] == ["mean", "variance", "count"]
    assert layer.trainable_weights == [] and layer.get_weights()[2] == 0
    inverse = Normalization(axis, invert=True)
    inverse.adapt(DATA)
    np.testing.assert_allclose(inverse(layer(DATA)).value, DATA, rtol=1e-4, atol=1e-5)


class Indexed:
    """Batches by index, with targets."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return DATA[index * 20 : index * 20 + 20], None


@pytest.mark.parametrize(
    "data",
    [
        lambda: [DATA[:7], DATA[7:20], DATA[20:]],
        lambda: (DATA[i : i + 9] for i in range(0, 50, 9)),
        lambda: ((DATA[i : i + 20], np.zeros(20)) for i in range(0, 50, 20)),
        lambda: [Tensor(DATA[:30]), Tensor(DATA[30:])],
        lambda: DATA.tolist(),
        lambda: Tensor(DATA),
        Indexed,
    ],
)
def test_normalization_by_batches(data: Callable[[], Any]) -> None:
    """Batches of several sizes give the statistics of all data, bit for bit nearly."""
    layer, whole = Normalization(), Normalization()
    layer.adapt(data())
    whole.adapt(DATA)
    for found, expected in zip(layer.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_normalization_forgets_earlier_data() -> None:
    layer = Normalization()
    layer.adapt(DATA)
    layer.adapt(np.full((2, 4, 3), 5.0))
    assert layer.get_weights()[0].tolist() == [5, 5, 5]


def test_zero_variance_counts_as_1e_7() -> None:
    """Keras 3.15: 0 at the mean, 1e7 one off."""
    layer = Normalization()
    layer.adapt(np.full((4, 1), 2.0))
    np.testing.assert_allclose(layer(np.array([[2.0], [3.0]])).value.ravel(), [0, 1e7])


def test_normalization_by_arguments() -> None:
    layer = Normalization(mean=3.0, variance=2.0)
    np.testing.assert_allclose(layer([[1.0], [3.0]]).value.ravel(), [-(2**0.5), 0], rtol=1e-6)
    assert layer.weights == []
    layer = Normalization(axis=(1, 2), mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])
    y = layer(np.ones((1, 4, 3), "float32")).value
    np.testing.assert_allclose(y[0, 0], [0, -0.5, -2 / 3], rtol=1e-6)
    config = layer.get_config()
    assert (config["axis"], config["mean"], config["variance"]) == ((1, 2), [1, 2, 3], [1, 4, 9])
    check_gradients(Normalization(mean=1.0, variance=4.0, dtype="float64"), DATA[:2, 0])


def test_normalization_takes_weights_in_place_of_data() -> None:
    """Keras leaves count at 0: its weights count as adapted."""
    layer = Normalization(input_shape=(2,))
    layer.build((None, 2))
    layer.set_weights([np.array([1.0, 2.0]), np.array([4.0, 9.0]), np.array(0)])
    np.testing.assert_allclose(layer([[3.0, 5.0]]).value, [[1, 1]])


def test_normalization_trains_in_a_model() -> None:
    layer = Normalization()
    layer.adapt(DATA)
    model = Sequential([layer, layers.Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    before = layer.get_weights()
    model.fit(DATA, np.zeros((50, 1), "float32"), verbose=0)
    for found, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    layer = Normalization()
    model = Model(x := Input((4, 3)), layer(x))
    with pytest.raises(ValueError, match="call adapt"):
        model(DATA)
    layer.adapt(DATA)
    np.testing.assert_allclose(model(DATA).value, normalized(DATA, (2,)), rtol=1e-4, atol=1e-5)
    check_gradients(layer, DATA[:2].astype("float64"))


INTS = np.array([[0, 2, 2], [1, 0, 3]])
BOUNDS = [0.0, 1.0, 2.0]
NUMBERS = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]])
ONE_HOT = np.eye(4, dtype="float32")


def test_discretization_by_boundaries() -> None:
    layer = Discretization(BOUNDS)
    y = layer(NUMBERS).value
    assert y.dtype == np.int32
    assert y.tolist() == [[0, 2, 3, 1], [1, 3, 2, 1]]
    assert Discretization([0.1, 0.3, 0.7])(np.float32([0.1, 0.3, 0.7])).value.tolist() == [1, 2, 3]
    assert Discretization([2, 3])(np.array([1, 2, 3])).value.tolist() == [0, 1, 2]


def test_discretization_by_data() -> None:
    """The example in Keras' documentation."""
    layer = Discretization(num_bins=4, epsilon=0.01)
    assert layer.compute_output_shape((None, 4)) == (None, 4)
    layer.adapt(NUMBERS)
    assert layer(NUMBERS).value.tolist() == [[0, 2, 3, 2], [1, 3, 3, 1]]
    again = Discretization.from_config(layer.get_config())
    assert again.bin_boundaries == layer.bin_boundaries and again.num_bins == 4
    large = Discretization(num_bins=10)
    large.adapt(rng.permutation(100_000).reshape(100, 1000) for _ in range(2))
    shares = np.bincount(large(np.arange(100_000.0)).value) / 1e5
    assert abs(shares - 0.1).max() < 0.02  # epsilon 0.01 on each side of a bin
    limited = Discretization(num_bins=2)
    limited.adapt(iter([[0.0, 1.0], [100.0, 200.0]]), steps=1)
    assert max(limited.bin_boundaries) <= 1


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("one_hot", ONE_HOT[INTS]),
        ("multi_hot", [[1, 0, 1, 0], [1, 1, 0, 1]]),
        ("count", [[1, 0, 2, 0], [1, 1, 0, 1]]),
    ],
)
def test_vectors(mode: str, expected: Any) -> None:
    for layer, x in (
        (CategoryEncoding(4, mode), INTS),
        (Discretization(BOUNDS, output_mode=mode), INTS - 0.5),
    ):
        y = layer(x)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y.value, expected)
        assert layer.compute_output_shape((None, 3)) == (None, *y.shape[1:])
        model = Model(symbol := Input((3,), dtype=str(x.dtype)), layer(symbol))
        assert model.output_shape == (None, *y.shape[1:])
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
        for other in (
            type(layer).from_config(layer.get_config()),
            copy.deepcopy(layer),
            pickle.loads(pickle.dumps(layer)),
        ):
            np.testing.assert_array_equal(other(x).value, expected)


def test_shapes_of_vectors() -> None:
    """A last axis of size 1 is replaced by 'one_hot'; one axis is a sample of the others."""
    for shape in [(3,), (3, 1), (2, 3), (2, 3, 1), (2, 3, 4)]:
        for mode in ("one_hot", "multi_hot", "count"):
            layer = CategoryEncoding(5, mode)
            y = layer(np.zeros(shape, "int64"))
            assert y.shape == layer.compute_output_shape(shape), (shape, mode)
    assert CategoryEncoding(4)(3).value.tolist() == [0, 0, 0, 1]
    assert CategoryEncoding(2)(np.zeros((2, 0), "int64")).value.tolist() == [[0, 0], [0, 0]]


def test_count_weights() -> None:
    weights = np.array([[0.1, 0.2], [0.1, 0.1], [0.2, 0.3], [0.4, 0.2]])
    y = CategoryEncoding(4, "count")([[0, 1], [0, 0], [1, 2], [3, 1]], count_weights=weights)
    expected = [[0.1, 0.2, 0, 0], [0.2, 0, 0, 0], [0, 0.2, 0.3, 0], [0, 0.2, 0, 0.4]]
    np.testing.assert_allclose(y.value, expected, rtol=1e-6)


def test_dtypes_and_older_names() -> None:
    layer = CategoryEncoding(3, "binary", dtype="int32")
    y = layer(np.array([[1, 1]]))
    assert y.dtype == np.int32 and y.value.tolist() == [[0, 1, 0]]
    assert Discretization(BOUNDS)(Input((2,))).dtype == np.int32
    assert CategoryEncoding(3, dtype="float64")(np.array([[1]])).dtype == np.float64


def test_integers_are_cast_for_layers_with_weights() -> None:
    for first, x in (
        (Discretization(BOUNDS), NUMBERS),
        (layers.Resizing(2, 2), np.ones((1, 4, 4, 1), "uint8")),
    ):
        assert Sequential([first, Dense(2)])(x).dtype == np.float32


def test_on_the_device(cupy: Any) -> None:
    """Arrays of a GPU stay there, and give the numbers of the CPU."""
    norm = Normalization()
    makes: list[tuple[Callable[[], Any], np.ndarray]] = [
        (lambda: norm, DATA),
        (lambda: Normalization(mean=1.0, variance=2.0), DATA),
        (lambda: Discretization(BOUNDS, output_mode="count"), DATA[:, 0]),
        (lambda: CategoryEncoding(4, "multi_hot"), INTS),
        (lambda: CategoryEncoding(4, "one_hot"), INTS),
        (lambda: layers.IntegerLookup(vocabulary=[2, 0]), INTS),
        (lambda: layers.IntegerLookup(vocabulary=[2], mask_token=1, output_mode="count"), INTS),
        (lambda: layers.IntegerLookup(vocabulary=[2, 0], num_oov_indices=2), INTS),
        (lambda: layers.IntegerLookup(vocabulary=[2, 0], invert=True), INTS),
        (lambda: layers.Hashing(3), INTS),
        (lambda: layers.Resizing(3, 2), DATA[..., None]),
        (lambda: layers.Resizing(3, 5, "nearest", pad_to_aspect_ratio=True), DATA[..., None]),
        (lambda: layers.Resizing(3, 2), INTS[..., None, None].astype("uint8")),
        (lambda: layers.CenterCrop(2, 2), DATA[..., None]),
    ]
    norm.adapt(cupy.asarray(DATA))
    for make, x in makes:
        y = make()(cupy.asarray(x)).value
        assert type(y) is cupy.ndarray
        if make() is norm:
            expected = normalized(DATA, (2,))
        else:
            with backend.use_backend("numpy"):
                expected = make()(x).value
        np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-4, atol=1e-5)
        assert y.dtype == np.asarray(expected).dtype or make() is norm
    y = CategoryEncoding(2)(cupy.asarray(INTS)).value  # nothing is read back
    assert np.isnan(backend.to_numpy(y)).all(axis=1).tolist() == [True, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalization()(DATA), "call adapt"),
        (lambda: Normalization(axis=None).adapt(iter([])), "received none"),
        (lambda: Normalization().adapt([]), "received none"),
        (lambda: Normalization().adapt(DATA[:, 0, 0]), "axis=None"),
        (lambda: Normalization(axis=3).adapt(DATA), "axis must name axes"),
        (lambda: Normalization(axis=0).adapt(DATA), "the batch's"),
        (lambda: Normalization(axis=(1, -2)).adapt(DATA), "each once"),
        (lambda: Normalization()(Input((None,))), "must be known"),
        (lambda: Normalization(mean=1.0), "together"),
        (lambda: Normalization(mean=1.0, variance=[1.0]), "one shape"),
        (lambda: Normalization(axis=None, mean=[1.0], variance=[1.0]), "at most 0 axes"),
        (lambda: Normalization(mean=1.0, variance=-1.0), "at least 0"),
        (lambda: Normalization(mean=[1.0, 2], variance=[1.0, 2])(DATA), "do not fit"),
        (lambda: Normalization(mean=1.0, variance=1.0).adapt(DATA), "was given mean"),
        (lambda: Normalization().adapt([DATA, DATA[..., :2]]), "built for inputs"),
        (lambda: Discretization(), "either bin_boundaries or num_bins"),
        (lambda: Discretization([0.0], 3), "either bin_boundaries or num_bins"),
        (lambda: Discretization([0.0, 2.0, 1.0]), "must not fall, received 2.0 before 1.0"),
        (lambda: Discretization([float("nan")]), "finite"),
        (lambda: Discretization(num_bins=3)(NUMBERS), "call adapt"),
        (lambda: Discretization([0.0]).adapt(NUMBERS), "was given bin_boundaries"),
        (lambda: Discretization(num_bins=0), "num_bins must be a positive integer"),
        (lambda: Discretization(num_bins=3, epsilon=0), "epsilon"),
        (lambda: Discretization(BOUNDS, output_mode="tf_idf"), "output_mode must be one of"),
        (lambda: Discretization(BOUNDS, output_mode="count", sparse=True), "sparse"),
        (lambda: CategoryEncoding(), "num_tokens must be a positive integer"),
        (lambda: CategoryEncoding(3, "int"), "output_mode must be one of"),
        (lambda: CategoryEncoding(3, sparse=True), "sparse"),
        (lambda: CategoryEncoding(3)(np.array([[1, 3]])), "from 0 to 2, received 3"),
        (lambda: CategoryEncoding(3)(np.array([[1, -1]])), "from 0 to 2, received -1"),
        (lambda: CategoryEncoding(3)(np.array([1]), count_weights=[1.0]), "output_mode='count'"),
        (lambda: CategoryEncoding(3, "count")(INTS[:1, :1], count_weights=[1.0]), "shape"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        make()
