"""Models as graphs beside Keras': the layers, and so the weights, are in Keras' order."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import gpunet

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")


def shortcut_first(k: Any) -> Any:
    """Return a residual block whose shortcut, alike in shapes, is the first that is added."""
    layers = k.layers
    image = k.Input((6, 6, 4))
    y = layers.ReLU(name="relu")(layers.Conv2D(4, 3, padding="same", name="a")(image))
    y = layers.Conv2D(4, 3, padding="same", name="b")(y)
    shortcut = layers.Conv2D(4, 3, padding="same", name="shortcut")(image)
    y = layers.Add(name="add")([shortcut, y])
    return k.Model(image, layers.Dense(2, name="head")(layers.Flatten(name="flatten")(y)))


def shared(k: Any) -> Any:
    """Return a model with a layer that is called at two depths, and an input that comes late."""
    layers = k.layers
    one, two = k.Input((4,), name="one"), k.Input((4,), name="two")
    dense = layers.Dense(4, name="dense")
    x = layers.Dense(4, name="first")(one)
    y = dense(layers.Dense(4, name="second")(dense(x)))
    z = layers.Dense(4, name="third")(two)
    return k.Model([one, two], layers.Add(name="add")([z, layers.Add(name="inner")([x, y])]))


@pytest.mark.parametrize("build", [shortcut_first, shared])
def test_layers_and_weights_are_in_keras_order(build: Any) -> None:
    """Keras 3.15 orders layers by depth, the most calls from them to an output, not by call."""
    ours, theirs = build(gpunet), build(keras)
    names = [
        [e.name for e in m.layers if not e.name.startswith("input_layer")] for m in (ours, theirs)
    ]
    assert names[0] == names[1]
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=w.shape).astype("float32") for w in theirs.get_weights()]
    for model in (ours, theirs):
        model.set_weights(weights)
    xs = [rng.normal(size=(3, *s.shape[1:])).astype("float32") for s in theirs.inputs]
    outputs = [model.predict(xs if len(xs) > 1 else xs[0], verbose=0) for model in (ours, theirs)]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
