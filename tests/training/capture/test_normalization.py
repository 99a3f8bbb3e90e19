"""Steps with normalization, captured on a fake GPU: the bits of eager steps, and of NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, optimizers, primitives
from gpunet.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    GroupNormalization,
    Input,
    LayerNormalization,
    RMSNormalization,
    SpectralNormalization,
    UnitNormalization,
)
from gpunet.models import Model, NonFiniteLossError, Sequential
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import fake_gpu

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU"),
    # Normalization passes its mask on, and what follows here takes none.
    pytest.mark.filterwarnings("ignore:Layer 'flatten.*received an input with a mask"),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 6, 6, 2)).astype("float32")
MASK = rng.integers(0, 2, X.shape[:3]).astype("float32")
LABELS = rng.integers(0, 3, len(X))


def network() -> Sequential:
    return Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(4, 3, use_bias=False),
            BatchNormalization(momentum=0.9),
            Activation("relu"),
            GroupNormalization(2),
            Flatten(),
            LayerNormalization(),
            SpectralNormalization(Dense(6)),
            BatchNormalization(renorm=True, renorm_clipping={"dmax": 1.0, "rmax": 2.0}),
            RMSNormalization(),
            Dense(3),
            UnitNormalization(),
            Activation("softmax"),
        ]
    )


def masked() -> Model:
    x, mask = Input((6, 6, 2)), Input((6, 6))
    y = BatchNormalization()(x, mask=mask)
    return Model([x, mask], Dense(3, activation="softmax")(Flatten()(y)))


def trained(make: Any, capture: bool) -> list[bytes]:
    """Return the weights after training, as bytes."""
    gpunet.random.seed(1)
    model = make()
    model.compile(
        optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", capture=capture
    )
    x = [X, MASK] if make is masked else X
    model.fit(x, LABELS, batch_size=4, epochs=2, verbose=0)
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.mark.parametrize("make", [network, masked])
def test_captured_steps_leave_the_bits_of_eager_ones(make: Any, cupy: Any) -> None:
    eager = trained(make, False)
    before = fake_gpu.now().launched.count("graph")
    assert trained(make, True) == eager
    assert fake_gpu.now().launched.count("graph") > before + 5


def test_training_on_a_gpu_is_that_on_numpy(cupy: Any) -> None:
    """A few steps: sums of up to some hundred terms come in another order."""
    found = [np.frombuffer(weight, np.float32) for weight in trained(network, True)]
    with backend.use_backend("numpy"), primitives.use_twins(primitives.reference):
        expected = [np.frombuffer(weight, np.float32) for weight in trained(network, False)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_step_that_fails_leaves_the_averages(cupy: Any) -> None:
    x = X.copy()
    x[13] = np.nan
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", capture=True)
    model.fit(x[:12], LABELS[:12], batch_size=4, shuffle=False, verbose=0)
    expected = model.get_weights()
    with pytest.raises((NonFiniteLossError, ValueError)):
        model.fit(x[12:], LABELS[12:], batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, other)
