"""Layers of normalization beside Keras': values, gradients, weights and what training leaves."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, layers, optimizers
from gpunet.models import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("gradients are compared by PyTorch: KERAS_BACKEND=torch", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

Array = np.ndarray[Any, np.dtype[Any]]

# Sums of up to some hundred terms of about 1 in float32, in another order; and their roots.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

BATCH, LAYER = "BatchNormalization", "LayerNormalization"
GROUP, RMS, UNIT = "GroupNormalization", "RMSNormalization", "UnitNormalization"

CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    (BATCH, {}, (6, 5)),
    (BATCH, {"momentum": 0.9, "epsilon": 1e-5}, (3, 4, 5, 6)),
    (BATCH, {"axis": 1, "scale": False}, (3, 4, 5, 6)),
    (BATCH, {"axis": 2, "center": False}, (3, 4, 5)),
    (BATCH, {"axis": -2, "scale": False, "center": False}, (3, 2, 4, 3, 2)),
    (BATCH, {"renorm": True}, (6, 5)),
    (
        BATCH,
        {"renorm": True, "renorm_clipping": {"rmin": 0.5, "rmax": 1.2, "dmax": 0.1}, "axis": 1},
        (6, 5, 3),
    ),
    (BATCH, {"renorm": True, "renorm_momentum": 0.5, "scale": False, "center": False}, (6, 5)),
    (LAYER, {}, (4, 37)),
    # On PyTorch Keras refuses axes that lie together and are not the last: tests/layers has these.
    (LAYER, {"axis": (1, 2), "epsilon": 1e-5}, (4, 5, 6)),
    (LAYER, {"axis": [-1, -2], "center": False}, (4, 5, 6)),
    (LAYER, {"axis": (-1, 1), "scale": False}, (4, 5, 3, 6)),
    (LAYER, {"axis": [1, -1]}, (4, 5, 3, 6)),
    (LAYER, {"rms_scaling": True, "axis": [1, 2]}, (4, 5, 3)),
    (GROUP, {"groups": 2}, (4, 8)),
    (GROUP, {"groups": 3, "epsilon": 1e-5}, (2, 4, 5, 12)),
    (GROUP, {"groups": 3, "axis": 1}, (2, 6, 4, 5)),
    (GROUP, {"groups": -1, "center": False}, (2, 4, 5, 6)),
    (GROUP, {"groups": 1, "axis": 2, "scale": False}, (2, 4, 6, 5)),
    (RMS, {}, (4, 37)),
    (RMS, {"axis": [2], "epsilon": 1e-3}, (4, 5, 6)),
    (RMS, {"axis": (-1, -2)}, (4, 5, 6)),
    (UNIT, {}, (4, 5)),
    (UNIT, {"axis": (1, 2)}, (4, 5, 6)),
    (UNIT, {"axis": [-1, 1]}, (4, 5, 2, 6)),
]


def pair(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return our layer and Keras', built, with the same weights, none of them 0 or 1."""
    ours, theirs = getattr(layers, name)(**options), getattr(keras.layers, name)(**options)
    for layer in (ours, theirs):
        layer.build((None, *shape[1:]))
    rng = np.random.default_rng(7)
    theirs.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in theirs.weights])
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def compare(ours: Any, theirs: Any, x: Array, **options: Any) -> None:
    """Compare outputs, gradients of the input and of the weights, and all weights afterwards."""
    grad = np.random.default_rng(8).standard_normal(x.shape).astype("float32")
    given, wanted = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ours(given, **options), theirs(wanted, **options)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), **CLOSE)
    y.backward(grad)
    trained = [w.value for w in theirs.trainable_weights]
    gradients = torch.autograd.grad(expected, [wanted, *trained], torch.tensor(grad))
    found = [given.grad, *(w.grad for w in ours.trainable_weights)]
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other.numpy(), **CLOSE)
    names = [w.path.split("/")[-1] for w in theirs.weights]
    assert [w.name for w in ours.weights] == names
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, **CLOSE)


def drawn(shape: tuple[int, ...]) -> Array:
    return (np.random.default_rng(9).standard_normal(shape) * 2 + 0.5).astype("float32")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options", "shape"), CASES)
def test_a_call_is_that_of_keras(
    name: str, options: dict[str, Any], shape: tuple[int, ...], training: bool
) -> None:
    if not training and name != BATCH:
        pytest.skip("training makes no difference")
    ours, theirs = pair(name, options, shape)
    compare(ours, theirs, drawn(shape), **({"training": training} if name == BATCH else {}))
    assert ours.compute_output_shape((None, *shape[1:])) == (None, *shape[1:])


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"renorm": True}, {"scale": False}])
@pytest.mark.parametrize("wide", [True, False])
def test_masks_are_those_of_keras(options: dict[str, Any], wide: bool) -> None:
    ours, theirs = pair(BATCH, options, (5, 4, 3))
    mask = np.random.default_rng(1).random((5, 4 if wide else 1)) < 0.6
    compare(ours, theirs, drawn((5, 4, 3)), mask=mask, training=True)


def test_a_mask_that_leaves_nothing() -> None:
    ours, theirs = pair(BATCH, {}, (5, 4, 3))
    compare(ours, theirs, drawn((5, 4, 3)), mask=np.zeros((5, 4), bool), training=True)


def test_frozen_layers_use_and_keep_their_averages() -> None:
    ours, theirs = pair(BATCH, {}, (6, 5))
    ours.trainable = theirs.trainable = False
    x = drawn((6, 5))
    expected = theirs(x, training=True).detach().numpy()
    np.testing.assert_allclose(ours(x, training=True).numpy(), expected, **CLOSE)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def spectral(library: Any, inner: str, power_iterations: int) -> Any:
    layer = library.Dense(5) if inner == "Dense" else library.Conv2D(4, 3, padding="same")
    return library.SpectralNormalization(layer, power_iterations)


@pytest.mark.parametrize(("inner", "shape"), [("Dense", (4, 6)), ("Conv2D", (2, 5, 5, 3))])
@pytest.mark.parametrize("power_iterations", [1, 3])
def test_spectral_normalization_trains_as_in_keras(
    inner: str, shape: tuple[int, ...], power_iterations: int
) -> None:
    models = []
    for library, model in ((layers, Sequential()), (keras.layers, keras.Sequential())):
        model.add(library.Input(shape[1:]))
        model.add(spectral(library, inner, power_iterations))
        models.append(model)
    ours, theirs = models
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    ours.set_weights(theirs.get_weights())
    x, y = drawn(shape), drawn((*shape[:-1], 5 if inner == "Dense" else 4))
    ours.compile(optimizers.SGD(0.1), "mse")
    theirs.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(4):
        losses = [model.train_on_batch(x, y) for model in models]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_a_kernel_of_zeros_stays_as_in_keras() -> None:
    for library in (layers, keras.layers):
        layer = library.SpectralNormalization(library.Dense(3, kernel_initializer="zeros"))
        x = np.ones((2, 4), "float32")
        layer(x)
        before = layer.get_weights()
        layer(x, training=True)
        for one, other in zip(layer.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)


def network(library: Any) -> list[Any]:
    return [
        library.Input((8, 8, 3)),
        library.Conv2D(6, 3, padding="same", use_bias=False),
        library.BatchNormalization(momentum=0.9),
        library.Activation("relu"),
        library.Conv2D(8, 3, strides=2, padding="same"),
        library.GroupNormalization(4),
        library.Activation("relu"),
        library.Flatten(),
        library.Dense(12),
        library.LayerNormalization(),
        library.Activation("relu"),
        library.Dense(10),
        library.RMSNormalization(),
        library.Activation("softmax"),
    ]


def test_a_network_trains_as_in_keras() -> None:
    """Two epochs by SGD: losses to float32's rounding, which training makes a little larger."""
    ours, theirs = Sequential(network(layers)), keras.Sequential(network(keras.layers))
    ours.set_weights(theirs.get_weights())
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 8, 8, 3)).astype("float32"), rng.integers(0, 10, 40)
    histories = []
    for model, sgd in ((ours, optimizers.SGD), (theirs, keras.optimizers.SGD)):
        model.compile(sgd(0.05, momentum=0.9), "sparse_categorical_crossentropy")
        fitted = model.fit(
            x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_split=0.2
        )
        histories.append(fitted.history)
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-4, err_msg=name)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
