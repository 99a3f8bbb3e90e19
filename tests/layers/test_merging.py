"""Layers of several inputs, against NumPy and, where it is installed, Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, layers
from gpunet.layers import (
    Add,
    Average,
    Concatenate,
    Dot,
    Input,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)

rng = np.random.default_rng(0)
A, B, C = (rng.standard_normal((3, 4)).astype("float32") for _ in range(3))
WIDE, ROW = (rng.standard_normal((3, *s)).astype("float32") for s in ((5, 4), (4,)))

CASES: list[tuple[Any, list[np.ndarray], Callable[..., np.ndarray]]] = [
    (Add(), [A, B, C], lambda a, b, c: a + b + c),
    (Subtract(), [A, B], lambda a, b: a - b),
    (Multiply(), [A, B, C], lambda a, b, c: a * b * c),
    (Average(), [A, B, C], lambda a, b, c: (a + b + c) / 3),
    (Maximum(), [A, B, C], lambda a, b, c: np.maximum(np.maximum(a, b), c)),
    (Minimum(), [A, B], np.minimum),
    (Add(), [A, B[:, :1]], lambda a, b: a + b),
    (Add(), [WIDE, ROW], lambda a, b: a + b[:, None]),
    (Multiply(), [ROW, WIDE], lambda a, b: a[:, None] * b),
    (Concatenate(), [A, B[:, :2]], lambda a, b: np.concatenate([a, b], -1)),
    (Concatenate(axis=1), [WIDE, WIDE[:, :2]], lambda a, b: np.concatenate([a, b], 1)),
    (Dot(axes=1), [A, B], lambda a, b: (a * b).sum(-1, keepdims=True)),
    (Dot(axes=-1), [WIDE, ROW], lambda a, b: np.einsum("bij,bj->bi", a, b)),
    (Dot(axes=(2, 1)), [WIDE, ROW], lambda a, b: np.einsum("bij,bj->bi", a, b)),
    (Dot(axes=(1, 1)), [WIDE, WIDE], lambda a, b: np.einsum("bij,bik->bjk", a, b)),
    (
        Dot(axes=1, normalize=True),
        [A, B],
        lambda a, b: (
            (a * b).sum(-1, keepdims=True)
            / np.linalg.norm(a, axis=-1, keepdims=True)
            / np.linalg.norm(b, axis=-1, keepdims=True)
        ),
    ),
]
NAMES = [f"{type(layer).__name__}{i}" for i, (layer, _, _) in enumerate(CASES)]


@pytest.mark.parametrize(("layer", "inputs", "expected"), CASES, ids=NAMES)
def test_values_and_shapes(layer: Any, inputs: list[Any], expected: Any) -> None:
    value = layer(inputs).numpy()
    np.testing.assert_allclose(value, expected(*inputs), rtol=2e-6, atol=1e-6)
    symbols = [Input(x.shape[1:]) for x in inputs]
    assert layer(symbols).shape == (None, *value.shape[1:])


@pytest.mark.parametrize(("layer", "inputs", "expected"), CASES, ids=NAMES)
def test_gradients(layer: Any, inputs: list[Any], expected: Any) -> None:
    doubles = [x.astype("float64") for x in inputs]
    check_gradients(lambda *xs: layer(list(xs)), *doubles)


@pytest.mark.parametrize(("layer", "inputs", "expected"), CASES, ids=NAMES)
def test_values_are_those_of_keras(layer: Any, inputs: list[Any], expected: Any) -> None:
    keras = pytest.importorskip("keras")
    options = {k: v for k, v in vars(layer).items() if k in ("axis", "axes", "normalize")}
    other = getattr(keras.layers, type(layer).__name__)(**options)
    found = np.asarray(keras.ops.convert_to_numpy(other(inputs)))
    np.testing.assert_allclose(layer(inputs).numpy(), found, rtol=2e-5, atol=1e-6)


def test_unknown_sizes_are_kept() -> None:
    x, y = Input((None, 3)), Input((None, 3))
    assert Add()([x, y]).shape == (None, None, 3)
    assert Concatenate(axis=1)([x, y]).shape == (None, None, 3)
    assert Concatenate()([x, y]).shape == (None, None, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Add()(A), r"list of at least 2 inputs, received one"),
        (lambda: Add()([A]), r"list of at least 2 inputs, received 1"),
        (lambda: Subtract()([A, B, C]), r"list of 2 inputs, received 3"),
        (lambda: Add()([A, B[:, :3]]), r"shapes broadcast, received \(\w+, 4\) and \(\w+, 3\)"),
        (lambda: Concatenate(axis=0)([A, B]), r"axis must be one of 1 to 1"),
        (lambda: Concatenate(axis=5)([A, B]), r"axis must be one of 1 to 1"),
        (lambda: Concatenate(axis=1)([A, WIDE]), r"differ along axis 1 alone"),
        (lambda: Dot(axes=1)([A, B[:, :3]]), r"equal sizes along axis 1"),
        (lambda: Dot(axes=0)([A, B]), r"axes must not be the batch's"),
        (lambda: Dot(axes=(1, 2, 3)), r"an integer or two"),
    ],
)
def test_bad_inputs_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("layer", "inputs", "expected"), CASES, ids=NAMES)
def test_functions_make_a_layer_and_call_it(layer: Any, inputs: list[Any], expected: Any) -> None:
    function = getattr(layers, type(layer).__name__.lower())
    options = {key: item for key, item in layer.get_config().items() if key in ("axes", "axis")}
    options |= {"normalize": True} if getattr(layer, "normalize", False) else {}
    np.testing.assert_array_equal(function(inputs, **options).value, layer(inputs).value)
    np.testing.assert_array_equal(
        function(inputs, *options.values(), name="merged").value, layer(inputs).value
    )
    symbol = function([Input(x.shape[1:]) for x in inputs], **options)
    assert symbol.shape == (None, *layer(inputs).shape[1:])


def test_dot_as_a_function_sums_over_the_last_axis() -> None:
    np.testing.assert_allclose(layers.dot([A, B]).value[:, 0], (A * B).sum(-1), rtol=1e-5)
    assert layers.dot.__name__ == "dot" and "`Dot`" in layers.dot.__doc__
    with pytest.raises(ValueError, match="at least 2 inputs"):
        layers.add([A])
