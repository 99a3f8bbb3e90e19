"""Batch normalization with its neighbours: the same numbers in less steps."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import fusion, random
from gpunet.autograd import Tensor, no_grad
from gpunet.layers import (
    Activation,
    Add,
    Average,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Input,
    MaxPooling2D,
    ReLU,
    Subtract,
)
from gpunet.models import Model
from gpunet.optimizers import SGD

SHAPE = (8, 8, 3)


def residual(
    join: Any = Add, activation: str = "relu", swapped: bool = False, **options: Any
) -> Model:
    """Return a block whose residual is made after the tensor that is normalized."""
    image = Input(SHAPE)
    x = ReLU()(BatchNormalization(**options)(Conv2D(6, 3, padding="same")(image)))
    y = BatchNormalization(**options)(Conv2D(6, 3, 2, padding="same")(x))
    x = Conv2D(6, 1, 2)(x)
    x = Activation(activation)(join()([x, y] if swapped else [y, x]))
    return Model(image, Dense(4, activation="softmax")(Flatten()(x)))


def separable() -> Model:
    image = Input(SHAPE)
    x = DepthwiseConv2D(3, padding="same", depth_multiplier=2)(image)
    x = Activation("tanh")(BatchNormalization(scale=False)(x))
    x = MaxPooling2D(2)(ReLU()(BatchNormalization(center=False)(Conv2D(5, 1, use_bias=False)(x))))
    x = BatchNormalization()(Dense(7)(Flatten()(x)))
    return Model(image, Dense(4, activation="softmax")(x))


def pair(build: Any, **options: Any) -> list[Model]:
    """Return a model and its twin that runs layer by layer, with statistics of some training."""
    models = []
    for fuse in (True, False):
        random.seed(1)
        model = build(**options)
        model.compile(SGD(0.05), "sparse_categorical_crossentropy", fuse=fuse)
        models.append(model)
    return models


def batch(seed: int = 0, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *SHAPE)).astype("float32"), rng.integers(0, 4, count)


def names(model: Model, training: bool) -> list[list[str]]:
    """Return the kinds of the layers that run together."""
    found: list[list[str]] = []

    class Probe(gpunet.layers.Layer):
        def call(self, x: Any) -> Any:
            with nullcontext() if training else no_grad():
                steps = fusion.steps(model.graph)
            for step in steps:
                found.append([type(node.operation).__name__ for node in step.nodes])
            return x

    Probe()(np.zeros(1), training=training)
    return [step for step in found if "BatchNormalization" in step]


def same_weights(one: Model, other: Model) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def transfer(**options: Any) -> Model:
    """Return a model around one that is given as it is: frozen, or with a loss of its output."""
    image, features = Input(SHAPE), Input(SHAPE)
    x = ReLU()(BatchNormalization()(Conv2D(6, 3, padding="same")(features)))
    inner = Model(features, BatchNormalization()(Conv2D(6, 3)(x)), **options)
    return Model(image, Dense(4, activation="softmax")(Flatten()(inner(image))))


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (transfer, {"trainable": False}),
        (transfer, {"activity_regularizer": "l2"}),
        (residual, {}),
        (residual, {"swapped": True}),
        (residual, {"activation": "tanh"}),
        (residual, {"activation": "gelu"}),
        (residual, {"join": Subtract}),
        (residual, {"join": Average}),
        (residual, {"renorm": True}),
        (residual, {"axis": 3}),
        (residual, {"axis": 1}),
        (separable, {}),
    ],
)
def test_training_is_that_of_the_layers_one_by_one(build: Any, options: Any) -> None:
    """Up to the order of sums in the last layers, which a fused loss takes chunk by chunk."""
    fused, plain = pair(build, **options)
    for seed in range(3):
        losses = [model.train_on_batch(*batch(seed)) for model in (fused, plain)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    same_weights(fused, plain)


def test_what_runs_together_in_training() -> None:
    norm = "BatchNormalization"
    assert names(residual(), True) == [[norm, "ReLU"], [norm, "Add", "Activation"]]
    assert names(residual(activation="gelu"), True)[1] == [norm, "Add"]
    assert names(residual(join=Subtract), True)[1] == [norm]
    assert names(residual(axis=1), True) == [[norm], [norm]]
    assert names(separable(), True) == [[norm, "Activation"], [norm, "ReLU"], [norm]]


def test_all_runs_together_at_inference() -> None:
    for model in (residual(), residual(swapped=True), separable()):
        assert [len(step) for step in names(model, False)] == [len(model.layers) - 1]


def test_a_normalization_of_another_type_runs_by_itself() -> None:
    image = Input(SHAPE)
    x = BatchNormalization(dtype="float64")(Conv2D(6, 3)(image))
    model = Model(image, Dense(4)(Flatten()(x)))
    x, _ = batch()
    found = model.predict(x, verbose=0)
    model.fuse = False
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=2e-5)


@pytest.mark.parametrize("build", [residual, separable])
def test_predictions_follow_the_weights(build: Any) -> None:
    """Kernels are folded anew at each call: weights that change in place are seen.

    A folded kernel is rounded once more: for each of some 60 products, and three layers.
    """
    fused, plain = pair(build)
    for seed in range(3):
        for model in (fused, plain):
            model.train_on_batch(*batch(seed))
        x, _ = batch(9)
        np.testing.assert_allclose(
            fused.predict(x, verbose=0), plain.predict(x, verbose=0), atol=2e-5
        )


def test_a_mask_and_gradients_at_inference_take_the_layers_one_by_one() -> None:
    (fused, plain), (x, _) = pair(residual), batch()
    grads = []
    for model in (fused, plain):
        image = Tensor(x, requires_grad=True)
        model(image).sum().backward()
        grads.append(image.grad)
    np.testing.assert_array_equal(*grads)


def test_frozen_layers_keep_their_averages_in_training() -> None:
    fused, plain = pair(residual)
    for model in (fused, plain):
        norm = next(layer for layer in model.layers if isinstance(layer, BatchNormalization))
        norm.trainable = False
        model.compile(SGD(0.05), "sparse_categorical_crossentropy", fuse=model is fused)
        model.train_on_batch(*batch())
        np.testing.assert_array_equal(norm.moving_mean.numpy(), 0)
    same_weights(fused, plain)


def test_a_frozen_inner_model_keeps_its_statistics() -> None:
    model = transfer()
    model.compile(SGD(0.05), "sparse_categorical_crossentropy")
    model.train_on_batch(*batch())
    inner = model.layers[1]
    inner.trainable = False
    model.compile(SGD(0.05), "sparse_categorical_crossentropy")
    before = inner.get_weights()
    model.train_on_batch(*batch(1))
    for a, b in zip(inner.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    inner.trainable = True
    model.compile(SGD(0.05), "sparse_categorical_crossentropy")
    model.train_on_batch(*batch(2))
    assert any((a != b).any() for a, b in zip(inner.get_weights(), before, strict=True))
