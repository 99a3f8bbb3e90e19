"""Layers without kernels of their own: gradients, graphs, configurations, wrong arguments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions, layers
from gpunet.layers import Input, Lambda
from gpunet.models import Model, Sequential
from tests.parity.simple_layers import CASES

rng = np.random.default_rng(0)


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=str)
def test_gradients_graphs_and_configurations(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    kind = getattr(layers, name)
    x = rng.normal(size=shape).astype("float32")  # which a model casts to
    layer = kind(dtype="float64", **arguments)
    y = layer(x).value
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *y.shape[1:])
    check_gradients(layer, x.astype("float64"))
    model = Model(symbol := Input(shape[1:]), layer(symbol))
    assert model.output_shape == (None, *y.shape[1:])
    np.testing.assert_allclose(model(x).value, y, rtol=1e-5, atol=1e-6)
    again = kind.from_config(layer.get_config())
    again(x)
    again.set_weights(layer.get_weights())
    for other in (again, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x).value, y)
    assert repr(layer).startswith(f"<{name} ")


def doubled(x: Any) -> Any:
    return 2 * x


def test_lambda_in_graphs() -> None:
    first = Lambda(doubled)
    assert pickle.loads(pickle.dumps(first)).function is doubled
    assert first.compute_output_shape((None, 3)) == (None, 3)
    assert Lambda.from_config(first.get_config())(np.ones((1, 2))).value.tolist() == [[2, 2]]
    x = Input((4, 3))
    assert Lambda(lambda x: functions.sum(x, axis=-1))(x).shape == (None, 4)
    assert Lambda(doubled, output_shape=lambda shape: shape)(x).shape == (None, 4, 3)
    assert Lambda(lambda x: x + 1, output_shape=(4, 3))(x).shape == (None, 4, 3)
    both = Lambda(lambda xy: [xy[0] + xy[1], xy[1]], output_shape=[(4, 3), (1, 3)])
    assert [y.shape for y in both([x, Input((1, 3))])] == [(None, 4, 3), (None, 1, 3)]
    model = Sequential([Input((3,)), Lambda(lambda x, training: x + training)])
    assert model(np.zeros((1, 3)), training=True).value.tolist() == [[1, 1, 1]]
    assert model(np.zeros((1, 3))).value.tolist() == [[0, 0, 0]]
    check_gradients(Lambda(lambda x: functions.tanh(x) * x), rng.normal(size=(2, 3)))


def test_lambda_takes_masks() -> None:
    layer = Lambda(lambda x, mask: functions.where(mask, x, 0.0), mask=np.array([True]))
    y = layer(np.ones((1, 2), "float32"), mask=np.array([[True, False]]))
    assert y.value.tolist() == [[1, 0]]
    assert layer.compute_mask(None) == [True]
    assert Lambda(doubled).compute_mask(None, np.array([True])) is None


def test_identity_takes_structures() -> None:
    x, y = layers.Identity()([np.ones((1, 2)), np.ones((1, 3))])
    assert (x.shape, y.shape) == ((1, 2), (1, 3))


def test_scalars_are_flattened_to_one_feature() -> None:
    """Keras 3.15: inputs of shape (None,) become (None, 1)."""
    assert layers.Flatten()(np.zeros(5, "float32")).shape == (5, 1)
    assert layers.Flatten()(Input(())).shape == (None, 1)


def test_a_row_that_softmax_masks_wholly_becomes_zeros() -> None:
    y = layers.Softmax()(np.ones((2, 2), "float32"), mask=np.array([[0, 0], [1, 0]]))
    assert y.value.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_interpolation(interpolation: str) -> None:
    """It keeps constants, and the gradient is the transpose."""
    upsampling = layers.UpSampling2D((3, 2), interpolation=interpolation, dtype="float64")
    np.testing.assert_allclose(upsampling(np.full((1, 3, 4, 2), 2.5)).value, 2.5, rtol=1e-6)
    x = rng.normal(size=(2, 5, 7, 3))
    check_gradients(upsampling, x)
    flipped = upsampling(x[:, ::-1, ::-1]).value[:, ::-1, ::-1]
    np.testing.assert_allclose(flipped, upsampling(x).value, rtol=1e-12, atol=1e-12)
    first = layers.UpSampling2D((3, 2), "channels_first", interpolation, dtype="float64")
    moved = first(x.transpose(0, 3, 1, 2)).value.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(moved, upsampling(x).value, rtol=1e-12)


def test_activations_end_a_chain_with_their_options() -> None:
    x = rng.normal(size=(4, 6)).astype("float32")
    for layer in (layers.ReLU(1.0, 0.1), layers.LeakyReLU(), layers.ELU(0.5), layers.Softmax()):
        model = Sequential([Input((6,)), layers.Dense(5), layer])
        dense = model.layers[0]
        expected = layer(functions.dense(x, dense.kernel, dense.bias))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected.value, rtol=1e-6)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layers.ReLU(max_value=-1), ValueError, "ReLU expects max_value at least 0"),
        (lambda: layers.ReLU(negative_slope=None), TypeError, "number for negative_slope"),
        (lambda: layers.LeakyReLU(-0.1), ValueError, "LeakyReLU expects negative_slope"),
        (lambda: layers.ELU("x"), TypeError, "ELU expects a number for alpha"),
        (lambda: layers.Softmax(1.5), TypeError, "an integer for axis"),
        (lambda: layers.Softmax()(zeros(2, 3), mask=zeros(4)), ValueError, r"\(2, 3\).*\(4,\)"),
        (lambda: layers.PReLU(shared_axes=[0]), ValueError, "counted from 1"),
        (lambda: layers.PReLU(shared_axes=[3])(zeros(2, 3, 4)), ValueError, "from 1 to 2"),
        (lambda: layers.PReLU()(Input((None, 3))), ValueError, "name the unknown ones"),
        (lambda: _built(layers.PReLU())(zeros(2, 4)), ValueError, r"\(3,\).*\(2, 4\)"),
        (lambda: layers.Lambda(3), TypeError, "Lambda expects a function, received 3"),
        (lambda: layers.Lambda(abs, arguments=[1]), TypeError, "as a dictionary"),
        (lambda: layers.Lambda(lambda x: 3)(zeros(1, 2)), TypeError, "must return a Tensor"),
        (lambda: layers.Permute((0, 1)), ValueError, "each of 1 to 2 once"),
        (lambda: layers.Permute((1, 2))(zeros(2, 3)), ValueError, "expects inputs of 3 dim"),
        (lambda: layers.RepeatVector(0), ValueError, "n must be a positive integer"),
        (lambda: layers.RepeatVector(2)(zeros(2, 3, 4)), ValueError, r"\(batch, features\)"),
        (lambda: layers.Cropping1D((1, 2, 3)), ValueError, r"or \(before, after\)"),
        (lambda: layers.Cropping2D(-1), ValueError, "integer of at least 0, received -1"),
        (lambda: layers.Cropping2D(((1, 2), (3,))), ValueError, "2 integers or pairs"),
        (lambda: layers.Cropping1D(2)(zeros(1, 4, 1)), ValueError, r"\(2, 2\).*size 4"),
        (lambda: layers.Cropping3D()(zeros(1, 4, 1)), ValueError, "batch, depth, height, width"),
        (lambda: layers.ZeroPadding2D("same"), ValueError, "padding must be an integer"),
        (lambda: layers.ZeroPadding3D(1, "last"), ValueError, "data_format must be one of"),
        (lambda: layers.ZeroPadding1D()(zeros(1, 4)), ValueError, r"\(batch, length, channels\)"),
        (lambda: layers.UpSampling1D((2,)), ValueError, "positive integer"),
        (lambda: layers.UpSampling2D((1, 2, 3)), ValueError, "UpSampling2D: size: .* two integers"),
        (lambda: layers.UpSampling2D(interpolation="cubic"), ValueError, "did you mean 'bicubic'"),
        (lambda: layers.GlobalMaxPooling2D(keepdims="no"), TypeError, "True or False"),
        (lambda: layers.GlobalMaxPooling1D()(zeros(1, 0, 2)), ValueError, "at least one element"),
        (
            lambda: layers.GlobalAveragePooling1D()(zeros(2, 3, 4), mask=zeros(2, 4)),
            ValueError, r"\(2, 3\) for one bool a step, received shape \(2, 4\)",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def _built(layer: Any) -> Any:
    layer(zeros(1, 3))
    return layer
