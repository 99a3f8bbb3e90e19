"""What holds for every layer: gradients, configurations, copies and shapes.

A new layer gets its line in `layer_examples.py`.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions, layers
from gpunet.autograd import no_grad
from gpunet.layers.image_layer import RandomImageLayer
from gpunet.symbolic import flatten
from tests.layers.layer_examples import EXAMPLES

NO_EXAMPLE = {"Layer": "the base of the others, which has no call"}
NO_SYMBOLS = {
    "HashedCrossing": "its features may be strings, which are no tensors",
    "StringLookup": "its inputs are strings",
    "TextVectorization": "its inputs are strings",
}
NO_GRADIENT = NO_SYMBOLS | {
    "CategoryEncoding": "its inputs are integers",
    "Discretization": "bins do not change with their numbers, but for jumps",
    "Hashing": "its inputs are integers",
    "IntegerLookup": "its inputs are integers",
    "RandomCrop": "images are resized where it is not training; no gradient passes",
}
NOT_IN_TRAINING = {
    "Pipeline": "no gradient passes through its first layer in training",
    "SpectralNormalization": "each call in training goes on from the vectors of the one before",
} | {
    name: "no gradient passes in training"
    for name in EXAMPLES
    if issubclass(getattr(layers, name), RandomImageLayer)
}

every_layer = pytest.mark.parametrize("name", EXAMPLES)


def test_every_layer_has_an_example_or_a_reason() -> None:
    found = [getattr(layers, name) for name in layers.__all__]
    names = {kind.__name__ for kind in found if inspect.isclass(kind)}
    assert names == EXAMPLES.keys() | NO_EXAMPLE.keys()
    assert not EXAMPLES.keys() & NO_EXAMPLE.keys()
    assert EXAMPLES.keys() >= NO_SYMBOLS.keys() | NO_GRADIENT.keys() | NOT_IN_TRAINING.keys()


class Joined:
    """A layer whose outputs are one row of numbers, with its weights."""

    def __init__(self, name: str, layer: Any) -> None:
        self.layer, self.example = layer, EXAMPLES[name]
        self.generators = getattr(layer, "generators", ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        outputs = flatten(self.example.call(self.layer, *inputs, **options))
        return functions.concatenate([functions.reshape(y, (-1,)) for y in outputs])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NO_GRADIENT])
def test_gradients(name: str, training: bool) -> None:
    if training and name in NOT_IN_TRAINING:
        pytest.skip(NOT_IN_TRAINING[name])
    example = EXAMPLES[name]
    layer, inputs = example.make("float64"), example.arrays("float64")
    example.call(layer, *inputs)
    draw = np.random.default_rng(3)
    for weight in layer.trainable_weights:  # zeros as initial biases would hide errors
        weight.value[...] += draw.normal(0, 0.3, weight.shape)
    check_gradients(Joined(name, layer), *inputs, training=training)


def values(name: str, layer: Any, training: bool = False) -> list[Any]:
    with no_grad():
        outputs = EXAMPLES[name].call(layer, *EXAMPLES[name].arrays(), training=training)
    return [y.numpy() for y in flatten(outputs)]


@every_layer
def test_configuration_copy_and_pickle(name: str) -> None:
    layer = EXAMPLES[name].make(name="mine")
    values(name, layer)
    twin = type(layer).from_config(copy.deepcopy(layer.get_config()))
    assert twin.name == "mine"
    assert twin.get_config().keys() == layer.get_config().keys()
    values(name, twin)
    twin.set_weights(layer.get_weights())
    others = (twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)))
    for training in (False, True):  # where a layer draws numbers, they are equal
        expected = values(name, layer, training)
        for other in others:
            for a, b in zip(values(name, other, training), expected, strict=True):
                np.testing.assert_array_equal(a, b)
    for other in others:
        assert list(other.weight_paths()) == list(layer.weight_paths())


@every_layer
def test_repr(name: str) -> None:
    assert repr(EXAMPLES[name].make(name="mine")) == f"<{name} 'mine'>"


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NO_SYMBOLS])
def test_symbols_have_the_shapes_of_arrays(name: str) -> None:
    example = EXAMPLES[name]
    symbols = flatten(example.call(example.make(), *example.symbols()))
    arrays = flatten(example.call(example.make(), *example.arrays()))
    assert [s.shape for s in symbols] == [(None, *y.shape[1:]) for y in arrays]
    assert [s.dtype for s in symbols] == [y.dtype for y in arrays]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "TextVectorization"])
def test_no_sample_gives_no_row(name: str) -> None:
    # The rows of TextVectorization are as long as the longest text.
    example = EXAMPLES[name]
    layer, inputs = example.make(), example.arrays()
    before = flatten(example.call(layer, *inputs))
    after = flatten(example.call(layer, *(x[:0] for x in inputs)))
    assert [y.shape for y in after] == [(0, *y.shape[1:]) for y in before]
