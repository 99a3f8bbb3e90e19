"""Layers without kernels of their own, as Keras has them: outputs, gradients, shapes, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, functions, layers
from tests.parity.simple_layers import CASES

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def compare(ours: Any, theirs: Any, x: np.ndarray, **inputs: Any) -> None:
    """Assert equal outputs and gradients, of the input and of the weights."""
    theirs(x)
    ours(x)
    ours.set_weights(theirs.get_weights())
    our_x, their_x = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found, expected = ours(our_x, **inputs), theirs(their_x, **inputs)
    np.testing.assert_allclose(found.value, expected.detach().numpy(), **CLOSE)
    weights = rng.normal(size=found.shape).astype("float32")
    (found * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(our_x.grad, their_x.grad.numpy(), **CLOSE)
    for our, their in zip(ours.weights, theirs.weights, strict=True):
        assert our.name == their.name
        np.testing.assert_allclose(our.grad, their.value.grad.numpy(), **CLOSE)


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=str)
def test_outputs_gradients_and_shapes(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    ours, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    compare(ours, theirs, rng.normal(size=shape).astype("float32"))
    with_batch = (None, *shape[1:])
    assert ours.compute_output_shape(with_batch) == tuple(theirs.compute_output_shape(with_batch))
    assert getattr(ours, "supports_masking", False) == theirs.supports_masking


@pytest.mark.parametrize("shape", [(4,), (3, 1), (2, 3, 4), (1, 1, 4)])
@pytest.mark.parametrize("axis", [-1, [1, 2]])
def test_softmax_with_a_mask(shape: tuple[int, ...], axis: Any) -> None:
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    mask = rng.random(shape) < 0.6
    compare(layers.Softmax(axis), keras.layers.Softmax(axis), x, mask=mask)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_average_with_a_mask(data_format: str, keepdims: bool) -> None:
    x = rng.normal(size=(2, 4, 4)).astype("float32")
    mask = np.array([[True, True, False, True], [False, False, False, True]])
    options = {"data_format": data_format, "keepdims": keepdims}
    kind = "GlobalAveragePooling1D"
    ours, theirs = getattr(layers, kind)(**options), getattr(keras.layers, kind)(**options)
    compare(ours, theirs, x, mask=mask)
    assert ours.compute_mask(x, mask) is theirs.compute_mask(x, mask) is None


def test_lambda() -> None:
    def squared(x: Any, offset: float, training: bool | None = None) -> Any:
        return x * x + offset * (2 if training else 1)

    options = {"arguments": {"offset": 0.5}, "output_shape": (3,)}
    ours, theirs = layers.Lambda(squared, **options), keras.layers.Lambda(squared, **options)
    x = rng.normal(size=(2, 3)).astype("float32")
    compare(ours, theirs, x)
    compare(ours, theirs, x, training=True)
    assert ours.compute_output_shape((None, 3)) == theirs.compute_output_shape((None, 3))
    masks = [
        module.Lambda(squared, mask=lambda inputs, mask: mask[:, :1]).compute_mask(
            x, np.ones((2, 3))
        )
        for module in (layers, keras.layers)
    ]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize(
    ("interpolation", "first_row"),
    [
        ("bilinear", [0, 0.25, 0.75, 1]),
        ("bicubic", [-0.2647, 0.0307, 0.6164, 0.9118]),
        ("nearest", [0, 0, 1, 1]),
    ],
)
def test_upsampling_has_tensorflows_values(interpolation: str, first_row: list[float]) -> None:
    """Keras 3.15 on TensorFlow and JAX; on PyTorch, 'bicubic' begins with -0.3164, 0.0156."""
    x = np.array([[0, 1], [2, 3]], "float32").reshape(1, 2, 2, 1)
    y = layers.UpSampling2D(2, interpolation=interpolation)(x)
    np.testing.assert_allclose(y.value[0, 0, :, 0], first_row, atol=5e-5)


def test_defaults_that_differ_between_layer_and_activation() -> None:
    """Keras 3.15: the slope of the layer LeakyReLU is 0.3, that of the activation 0.2."""
    x = np.array([[-1.0]], "float32")
    assert layers.LeakyReLU()(x).value == np.float32(-0.3)
    assert functions.leaky_relu(x).value == np.float32(-0.2)
