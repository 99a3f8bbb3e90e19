"""Steps with augmentation, captured on a fake GPU: the bits of eager steps, new numbers each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, layers, optimizers, primitives
from gpunet.layers import Dense, Flatten, Input
from gpunet.models import Model, Sequential
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import fake_gpu

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
X = rng.integers(0, 256, (20, 6, 7, 3)).astype("uint8")
LABELS = rng.integers(0, 3, len(X))

FAMILY = [
    lambda **o: layers.RandomFlip(**o),
    lambda **o: layers.RandomRotation(0.4, **o),
    lambda **o: layers.RandomZoom(0.3, fill_mode="constant", **o),
    lambda **o: layers.RandomTranslation(0.3, 0.3, fill_mode="wrap", **o),
    lambda **o: layers.RandomCrop(5, 4, **o),
    lambda **o: layers.RandomContrast(0.5, **o),
    lambda **o: layers.RandomColorJitter((0, 255), 0.2, 0.4, 0.8, 0.4, **o),
    lambda **o: layers.RandomErasing(**o),
    lambda **o: layers.RandomGrayscale(**o),
    lambda **o: layers.MixUp(**o),
    lambda **o: layers.CutMix(**o),
]


def network() -> Sequential:
    """Seeds of their own, and the process' numbers, by turns; images of bytes."""
    augment = [make(seed=number) if number % 2 else make() for number, make in enumerate(FAMILY)]
    ending = [layers.Rescaling(1 / 255), Flatten(), Dense(3, activation="softmax")]
    return Sequential([Input(X.shape[1:]), *augment, *ending])


def trained(capture: bool) -> list[bytes]:
    """Return the weights after training, as bytes."""
    gpunet.random.seed(1)
    model = network()
    model.compile(
        optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", capture=capture
    )
    model.fit(X, LABELS, batch_size=4, epochs=2, verbose=0)
    return [weight.tobytes() for weight in model.get_weights()]


def test_captured_steps_leave_the_bits_of_eager_ones(cupy: Any) -> None:
    eager = trained(False)
    before = fake_gpu.now().launched.count("graph")
    assert trained(True) == eager
    assert fake_gpu.now().launched.count("graph") > before + 5


def test_training_on_a_gpu_is_that_on_numpy(cupy: Any) -> None:
    found = [np.frombuffer(weight, np.float32) for weight in trained(True)]
    with backend.use_backend("numpy"), primitives.use_twins(primitives.reference):
        expected = [np.frombuffer(weight, np.float32) for weight in trained(False)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_each_replay_draws_anew(cupy: Any) -> None:
    """The loss is the mean of images that are all 1: what it changes by is brightness."""
    x = Input((1, 1, 1))
    model = Model(x, Dense(1)(Flatten()(layers.RandomBrightness(0.5, (-9, 9), seed=1)(x))))
    model.compile(optimizers.SGD(0.0), "mae", capture=True)
    model.set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    losses = [
        float(model.train_on_batch(np.ones((4, 1, 1, 1)), np.zeros((4, 1)))) for _ in range(6)
    ]
    assert len(set(losses)) == 6


@pytest.mark.parametrize("make", FAMILY)
def test_images_on_a_gpu_are_those_on_numpy(make: Any, cupy: Any) -> None:
    found = make(seed=5)(cupy.asarray(X), training=True).numpy()
    with backend.use_backend("numpy"), primitives.use_twins(primitives.reference):
        expected = make(seed=5)(X, training=True).numpy()
    if isinstance(make(), layers.RandomErasing):  # its noise is of other cosines
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    else:
        np.testing.assert_array_equal(found, expected)
