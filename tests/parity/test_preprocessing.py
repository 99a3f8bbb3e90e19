"""Layers that prepare numbers and images, as Keras has them: outputs, shapes, weights, gradients.

Keras' lookups, TextVectorization and Hashing need TensorFlow: tests/layers/test_lookups.py has the
values of its documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, functions, layers

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
FORMATS = ["channels_last", "channels_first"]
KINDS = [
    "CategoryEncoding", "CenterCrop", "Discretization", "HashedCrossing", "Hashing",
    "IntegerLookup", "Normalization", "Rescaling", "Resizing", "StringLookup", "TextVectorization",
]  # fmt: skip
FUNCTIONS = [
    "add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract",
]  # fmt: skip


def compare(ours: Any, theirs: Any, x: np.ndarray, *, gradient: bool = True) -> None:
    """Assert equal outputs, of the same type and shape, and gradients of the input."""
    found, expected = ours(x), theirs(x)
    expected = expected.detach().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.value, expected, **CLOSE)
    with_batch = (None, *x.shape[1:])
    assert ours.compute_output_shape(with_batch) == tuple(theirs.compute_output_shape(with_batch))
    if gradient:
        our_x, their_x = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        weights = np.random.default_rng(1).normal(size=expected.shape).astype("float32")
        (ours(our_x) * weights).sum().backward()
        (theirs(their_x) * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(our_x.grad, their_x.grad.numpy(), **CLOSE)


def normalizations() -> Iterator[tuple[Any, bool, tuple[int, ...]]]:
    rng = np.random.default_rng(11)
    for axis in (-1, None, 1, (1, 2), (-1,)):
        for invert in (False, True):
            yield axis, invert, tuple(int(n) for n in rng.integers(2, 6, 4))


@pytest.mark.parametrize(("axis", "invert", "shape"), list(normalizations()), ids=str)
@pytest.mark.parametrize("batches", [False, True])
def test_normalization(axis: Any, invert: bool, shape: tuple[int, ...], batches: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(2, 3, (8, *shape[1:])).astype("float32")
    ours, theirs = (m.Normalization(axis, invert=invert) for m in (layers, keras.layers))
    ours.adapt([x[:3], x[3:4], x[4:]] if batches else x)
    theirs.adapt(x)  # by batches it needs TensorFlow
    for found, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    compare(ours, theirs, x)
    loaded = layers.Normalization(axis, invert=invert)
    loaded.build((None, *shape[1:]))
    loaded.set_weights(theirs.get_weights())
    compare(loaded, theirs, x)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": 3.0, "variance": 2.0},
        {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 0.0, 1.0], "invert": True},
        {"axis": (1, 2), "mean": [1.0, 2.0, 3.0], "variance": [4.0, 9.0, 1.0]},
        {"axis": (2, 1), "mean": [[1.0], [2.0]], "variance": [[4.0], [9.0]]},
        {"axis": None, "mean": 1.0, "variance": 4.0},
    ],
)
def test_normalization_by_arguments(options: dict[str, Any]) -> None:
    x = np.random.default_rng(4).normal(size=(2, 2, 3)).astype("float32")
    ours, theirs = layers.Normalization(**options), keras.layers.Normalization(**options)
    compare(ours, theirs, x)
    assert ours.get_config()["mean"] == theirs.get_config()["mean"]


def resizings() -> Iterator[tuple[dict[str, Any], tuple[int, ...]]]:
    rng = np.random.default_rng(5)
    for number in range(24):
        height, width = (int(n) for n in rng.integers(2, 9, 2))
        options = {"height": height, "width": width}
        options["interpolation"] = str(rng.choice(["bilinear", "nearest"]))
        options["data_format"] = str(rng.choice(FORMATS))
        aspect = [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}][number % 3]
        yield {**options, **aspect, "fill_value": 0.5}, tuple(int(n) for n in rng.integers(2, 9, 4))
        if options["interpolation"] == "bilinear":
            yield {**options, "antialias": True}, tuple(int(n) for n in rng.integers(2, 9, 4))


@pytest.mark.parametrize(("options", "shape"), list(resizings()), ids=str)
def test_resizing(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = layers.Resizing(**options), keras.layers.Resizing(**options)
    rng = np.random.default_rng(6)
    compare(ours, theirs, rng.normal(size=shape).astype("float32"))
    compare(ours, theirs, rng.normal(size=shape[1:]).astype("float32"), gradient=False)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_resizing_of_bytes(interpolation: str) -> None:
    """Numbers are rounded: those that a sum in float32 puts beside a half, to either side."""
    x = np.random.default_rng(7).integers(0, 256, (3, 8, 8, 3)).astype("uint8")
    for size in ((4, 4), (16, 8), (5, 11)):
        ours, theirs = (m.Resizing(*size, interpolation) for m in (layers, keras.layers))
        found, expected = ours(x).value, theirs(x).numpy()
        assert found.dtype == expected.dtype == np.uint8
        exact = functions.resize(x.astype("float64"), size, interpolation).value
        differ = found != expected
        assert (abs(exact % 1 - 0.5) < 1e-4)[differ].all()
        assert abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("size", [(3, 3), (5, 4), (4, 7), (8, 8), (9, 2), (1, 1)])
def test_center_crop(size: tuple[int, int], data_format: str) -> None:
    ours, theirs = (m.CenterCrop(*size, data_format) for m in (layers, keras.layers))
    rng = np.random.default_rng(8)
    for shape in ((2, 6, 7, 5), (2, 7, 4, 4)):
        x = rng.normal(size=shape).astype("float32")
        compare(ours, theirs, x)
        compare(ours, theirs, x[0], gradient=False)
    compare(ours, theirs, rng.integers(0, 256, shape).astype("uint8"), gradient=False)


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(6,), (5, 1), (4, 3)])
def test_discretization(mode: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=shape).astype("float32")
    ours, theirs = (
        m.Discretization([-0.5, 0.1, 0.7], output_mode=mode) for m in (layers, keras.layers)
    )
    found, expected = ours(x), theirs(x).numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.value, expected)


@pytest.mark.parametrize("bins", [1, 2, 5, 20])
@pytest.mark.parametrize("count", [7, 100, 5000])
@pytest.mark.parametrize("epsilon", [0.01, 0.07])
def test_discretization_by_data(bins: int, count: int, epsilon: float) -> None:
    data = np.random.default_rng(10).normal(size=(3, count)).astype("float32")
    ours, theirs = (
        m.Discretization(num_bins=bins, epsilon=epsilon) for m in (layers, keras.layers)
    )
    ours.adapt(list(data))
    for batch in data:
        theirs.update_state(batch)  # adapt needs TensorFlow
    theirs.finalize_state()
    np.testing.assert_allclose(ours.bin_boundaries, theirs.bin_boundaries, rtol=1e-6)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(6,), (5, 1), (4, 3)])
def test_category_encoding(mode: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(12).integers(0, 5, shape)
    ours, theirs = (m.CategoryEncoding(5, mode) for m in (layers, keras.layers))
    compare(ours, theirs, x, gradient=False)
    if mode == "count":
        weights = np.random.default_rng(13).random(shape).astype("float32")
        found = ours(x, count_weights=weights).value
        np.testing.assert_allclose(found, theirs(x, count_weights=weights).numpy(), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_and_defaults(kind: str) -> None:
    """In Keras' order; those for every layer, such as name, may be given by keyword alone."""
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(getattr(m, kind)).parameters.values()
         if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("name", "dtype")]
        for m in (layers, keras.layers)
    )  # fmt: skip
    assert ours == theirs


@pytest.mark.parametrize("name", FUNCTIONS)
def test_merging_functions(name: str) -> None:
    rng = np.random.default_rng(14)
    x, y = (rng.normal(size=(2, 3)).astype("float32") for _ in range(2))
    found, expected = getattr(layers, name)([x, y]), getattr(keras.layers, name)([x, y])
    np.testing.assert_allclose(found.value, expected.detach().numpy(), **CLOSE)
    for options in ({"axis": 1}, {"axes": 1, "normalize": True}):
        if name == ("concatenate" if "axis" in options else "dot"):
            found, expected = (getattr(m, name)([x, y], **options) for m in (layers, keras.layers))
            np.testing.assert_allclose(found.value, expected.detach().numpy(), **CLOSE)
