"""Each activation of Keras: values and gradients, at kinks too."""

import numpy as np
import pytest

from gpunet import Tensor, activations

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

OPTIONS = {
    "celu": [{}, {"alpha": 0.6}],
    "elu": [{}, {"alpha": 0.6}],
    "gelu": [{}, {"approximate": True}],
    "glu": [{}, {"axis": 1}],
    "hard_shrink": [{}, {"threshold": 0.2}],
    "leaky_relu": [{}, {"negative_slope": 0.4}],
    "log_softmax": [{}, {"axis": 1}],
    "relu": [{}, {"max_value": 1.0}, {"negative_slope": 0.1, "threshold": 0.3}],
    "soft_shrink": [{}, {"threshold": 0.2}],
    "softmax": [{}, {"axis": 1}],
    "sparsemax": [],  # below
    "squareplus": [{}, {"b": 0.5}],
    "threshold": [{"threshold": 0.3, "default_value": -2.0}],
}
NAMES = [
    name
    for name in dir(keras.activations)
    if not name.startswith("_") and name not in ("deserialize", "get", "serialize")
]
CASES = [(name, options) for name in NAMES for options in OPTIONS.get(name, [{}])]

# The functions of slices have no kinks at these numbers, each of the others has some there. Keras'
# relu has the gradients of the operations it is made of at max_value and threshold.
KINKS = np.array([-3, -1, -0.5, 0, 0.3, 0.5, 1, 3, 6, 40, -40], "float32")


def test_there_are_as_many_as_in_keras():
    assert len(NAMES) >= 32
    assert set(NAMES) <= set(activations.__all__)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("at", ["drawn numbers", "kinks"])
def test_values_and_gradients(name, options, at):
    x = np.random.default_rng(3).normal(0, 2, (3, 4, 6)).astype("float32")
    if at == "kinks":
        if name == "glu":
            return
        x = KINKS.reshape(1, -1) if "axis" in options else KINKS
        if name == "relu":
            x = np.setdiff1d(x, np.array(list(options.values()), "float32"))
    theirs, ours = torch.tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    expected = getattr(keras.activations, name)(theirs, **options)
    found = getattr(activations, name)(ours, **options)
    np.testing.assert_allclose(found.value, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    weights = np.random.default_rng(4).normal(size=found.shape).astype("float32")
    (expected * torch.tensor(weights)).sum().backward()
    (found * weights).sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_sparsemax_is_the_published_one():
    """Keras 3.15 subtracts a wrong threshold where several elements stay positive."""
    x = np.array([[0.5, 0.25, -2.0, 1.0]], "float32")
    np.testing.assert_allclose(activations.sparsemax(x).value, [[0.25, 0, 0, 0.75]])
    assert keras.activations.sparsemax(torch.tensor(x)).sum() == 0.25  # fixed if this fails


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_stays(name):
    x = Tensor(np.array([[np.nan, 1.0]], "float32"), requires_grad=True)
    options = {"threshold": 0.3, "default_value": 0.0} if name == "threshold" else {}
    y = getattr(activations, name)(x, **options)
    assert np.isnan(y.value[0, 0])


@pytest.mark.parametrize("name", ["celu", "hard_shrink", "hard_tanh", "soft_shrink", "threshold"])
def test_a_nan_lets_the_gradient_through_as_in_pytorch_for_one_element(name):
    options = OPTIONS.get(name, [{}])[0]
    theirs = torch.tensor([np.nan], requires_grad=True)
    getattr(keras.activations, name)(theirs, **options).sum().backward()
    ours = Tensor(np.array([np.nan], "float32"), requires_grad=True)
    getattr(activations, name)(ours, **options).sum().backward()
    np.testing.assert_array_equal(ours.grad, theirs.grad.numpy())
