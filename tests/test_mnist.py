"""The program on real MNIST: accuracy, and equal bits from equal seeds.

After 3 epochs the test accuracy of a run lies between about 0.978 and 0.986, here as with PyTorch
from the same kind of weights (0.9828 in the mean of seven seeds, 0.0024 of spread): where in there
depends on the seed and, as training amplifies every rounding, on the processor and the BLAS. So the
middle of three seeds is asked for 0.980, and each of them for 0.975, three spreads below the mean.
On one machine a seed gives the same bits always.
"""

import numpy as np
import pytest

import gpunet
from examples.mnist_cnn import build_model
from gpunet.datasets import mnist
from gpunet.utils import to_categorical

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("mnist_home")]


def train(seed):
    """Train the program for 3 epochs; return its weights and its accuracy on the test set."""
    gpunet.random.seed(seed)
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    model = build_model()
    model.fit(
        x_train[..., None] / np.float32(255),
        to_categorical(y_train),
        epochs=3,
        batch_size=32,
        verbose=2,
    )
    _, accuracy = model.evaluate(x_test[..., None] / np.float32(255), to_categorical(y_test))
    return model.get_weights(), accuracy


def test_three_epochs_reach_98_percent_and_repeat_to_the_bit():
    runs = [train(seed) for seed in range(3)]
    accuracies = [accuracy for _, accuracy in runs]
    print(f"test accuracies of three seeds: {accuracies}")
    assert sorted(accuracies)[1] >= 0.980, accuracies
    assert min(accuracies) >= 0.975, accuracies
    for a, b in zip(runs[0][0], train(0)[0], strict=True):
        np.testing.assert_array_equal(a, b)
