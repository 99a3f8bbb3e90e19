"""Embedding and EinsumDense beside Keras': values, gradients, shapes and order of weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, layers

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
# Sums of at most 60 products of numbers of about 1: errors of some 60 * 2**-24 * 8.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def test_embedding() -> None:
    theirs, ours = keras.layers.Embedding(11, 6), layers.Embedding(11, 6)
    indices = rng.integers(0, 11, (4, 9))
    expected = theirs(torch.tensor(indices))
    ours.build((None, 9))
    ours.set_weights(theirs.get_weights())
    found = ours(indices)
    assert ours.compute_output_shape((None, 9)) == theirs.compute_output_shape((None, 9))
    np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())
    factors = rng.normal(size=found.shape).astype("float32")
    (expected * torch.tensor(factors)).sum().backward()
    (found * factors).sum().backward()
    grad = theirs.trainable_weights[0].value.grad.numpy()
    np.testing.assert_allclose(ours.embeddings.grad, grad, **TOLERANCE)
    masks = [layer(11, 6, mask_zero=True) for layer in (keras.layers.Embedding, layers.Embedding)]
    np.testing.assert_array_equal(
        masks[1].compute_mask(Tensor(indices)),
        keras.ops.convert_to_numpy(masks[0].compute_mask(torch.tensor(indices))),
    )


@pytest.mark.parametrize(
    ("equation", "sizes", "axes", "shape"),
    [
        ("ab,bc->ac", 5, "c", (2, 3)),
        ("abc,cde->abde", (None, 2, 5), "de", (2, 4, 3)),
        ("abcd,cde->abe", (None, 6), "e", (2, 4, 3, 5)),
        ("...x,xy->...y", 5, "y", (2, 4, 6, 3)),
        ("ab...,bc->ac...", (5,), "c", (2, 3, 4, 6)),
        ("abc,bd->adc", (5, None), "d", (2, 3, 4)),
        ("abc,cd->abd", (4, 5), "b", (2, 4, 3)),
        ("abc,cd->abd", (None, 5), None, (2, 4, 3)),
    ],
)
def test_einsum_dense(equation: str, sizes: Any, axes: Any, shape: tuple[int, ...]) -> None:
    options = {"bias_axes": axes, "activation": "tanh", "bias_initializer": "normal"}
    theirs = keras.layers.EinsumDense(equation, sizes, **options)
    ours = layers.EinsumDense(equation, sizes, **options)
    x = rng.normal(size=shape).astype("float32")
    wide, value = torch.tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    expected = theirs(wide)
    ours.build((None, *shape[1:]))
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    ours.set_weights(theirs.get_weights())
    found = ours(value)
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), **TOLERANCE)
    factors = rng.normal(size=found.shape).astype("float32")
    (expected * torch.tensor(factors)).sum().backward()
    (found * factors).sum().backward()
    np.testing.assert_allclose(value.grad, wide.grad.numpy(), **TOLERANCE)
    for mine, other in zip(ours.weights, theirs.trainable_weights, strict=True):
        np.testing.assert_allclose(mine.grad, other.value.grad.numpy(), **TOLERANCE)
