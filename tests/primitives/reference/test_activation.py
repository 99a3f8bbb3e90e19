"""Activations against their formulas in Python's math, and their gradients by differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpunet import primitives
from gpunet.primitives import as_activation, saves_output
from gpunet.primitives.activation_table import ACTIVATIONS
from gpunet.primitives.reference import blocks
from gpunet.primitives.reference.special import erf
from tests.support.memory_use import peak_bytes

Array = np.ndarray[Any, np.dtype[Any]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)

FORMULAS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)),
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: min(max(x + 3, 0.0), 6.0) / 6,
    "tanh": math.tanh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": gelu_tanh,
    "clipped_relu": lambda x: max(x, 0.0),
    "softsign": lambda x: x / (1 + abs(x)),
    "hard_silu": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
}
assert set(FORMULAS) == set(ACTIVATIONS)

# where a formula bends or changes its branch
BENDS = {
    "relu": [0],
    "leaky_relu": [0],
    "elu": [0],
    "selu": [0],
    "hard_sigmoid": [-3, 3],
    "hard_silu": [-3, 3],
    "softsign": [0],  # in its second derivative
    "clipped_relu": [0, 1, 6],
}

OPTIONS: list[tuple[str, dict[str, Any], Callable[[float], float]]] = [
    *((name, {}, formula) for name, formula in FORMULAS.items()),
    ("leaky_relu", {"negative_slope": 0.0}, lambda x: max(x, 0.0)),
    ("leaky_relu", {"negative_slope": 1.5}, lambda x: x if x > 0 else 1.5 * x),
    ("elu", {"alpha": 0.3}, lambda x: x if x > 0 else 0.3 * math.expm1(x)),
    ("elu", {"alpha": 2.0}, lambda x: x if x > 0 else 2 * math.expm1(x)),
    ("clipped_relu", {"max_value": 6.0}, lambda x: min(max(x, 0.0), 6.0)),
    ("clipped_relu", {"threshold": 1.0}, lambda x: x if x > 1 else 0.0),
    (
        "clipped_relu",
        {"negative_slope": 0.5, "max_value": 6.0, "threshold": 1.0},
        lambda x: min(x, 6.0) if x > 1 else 0.5 * (x - 1),
    ),
]
every_option = pytest.mark.parametrize(("name", "options", "formula"), OPTIONS)


def forward(name: str, x: Array, **options: Any) -> Array:
    return primitives.activate(x, as_activation(name, **options))


def backward(name: str, output_grad: Array, x: Array, **options: Any) -> Array:
    activation = as_activation(name, **options)
    saved = forward(name, x, **options) if saves_output(activation) else x
    return primitives.activate_backward(output_grad, saved, activation)


# gelu subtracts two numbers near 1 for negative x, which leaves an error of the last digit of 1
# times x; the others are right to a few units in the last place.
@every_option
def test_values(name: str, options: dict[str, Any], formula: Callable[[float], float]) -> None:
    x = np.concatenate([np.linspace(-20, 20, 4001), [-1e-8, 0.0, 1e-8, -100.0, 100.0]])
    expected = np.array([formula(value) for value in x.tolist()])
    y = forward(name, x, **options)
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=4e-15 if "gelu" in name else 1e-16)
    y32 = forward(name, x.astype(np.float32), **options)
    assert y32.dtype == np.float32
    np.testing.assert_allclose(y32, expected, rtol=1e-5, atol=2e-6 if "gelu" in name else 1e-7)


@every_option
def test_gradients(name: str, options: dict[str, Any], formula: Callable[[float], float]) -> None:
    x = np.linspace(-6, 6, 997)
    # A step over a bend would mix two slopes.
    x = x[np.all([abs(x - bend) > 1e-3 for bend in [*BENDS.get(name, []), 99]], axis=0)]
    output_grad = np.cos(np.arange(x.size))
    step = 1e-5
    slopes = [(formula(v + step) - formula(v - step)) / (2 * step) for v in x.tolist()]
    found = backward(name, output_grad, x, **options)
    # central differences: about step**2 of truncation, and 1e-16 / step of rounding
    np.testing.assert_allclose(found, output_grad * slopes, rtol=1e-8, atol=1e-9)
    single = backward(name, output_grad.astype(np.float32), x.astype(np.float32), **options)
    assert single.dtype == np.float32
    # The tanh form of gelu multiplies 1 - tanh**2, right to 6e-8, by up to about 10.
    atol = 3e-6 if name == "gelu_tanh" else 1e-6
    np.testing.assert_allclose(single, found, rtol=1e-4, atol=atol)


@every_option
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_neither_overflow_nor_warn(
    name: str, options: dict[str, Any], formula: Callable[[float], float], dtype: type
) -> None:
    x = np.array([-1e30, -1e4, -750, -100, 100, 750, 1e4, 1e30], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = forward(name, x, **options)
        grad = backward(name, np.ones_like(x), x, **options)
    assert np.isfinite(y).all()
    assert np.isfinite(grad).all()
    limit = 1.0 if name in ("sigmoid", "hard_sigmoid", "tanh", "softsign") else None
    limit = limit or options.get("max_value")
    np.testing.assert_allclose(y[-1], limit or x[-1] * (SELU[0] if name == "selu" else 1))


@pytest.mark.parametrize("name", ["relu", "hard_sigmoid"])
def test_the_gradient_is_0_where_the_output_does_not_move(name: str) -> None:
    x = np.array([-4.0, -3.0, 0.0, 3.0])
    grad = backward(name, np.full(4, np.inf), x)
    assert grad.tolist() == ([0, 0, 0, np.inf] if name == "relu" else [0, 0, np.inf, 0])


@every_option
def test_nan_stays_nan(
    name: str, options: dict[str, Any], formula: Callable[[float], float]
) -> None:
    assert np.isnan(forward(name, np.array([np.nan]), **options)).all()


@given(
    x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0), fill=st.just(1)),
    name=st.sampled_from(sorted(FORMULAS)),
    chunk=st.sampled_from([1, 3, 1 << 16]),
)
def test_any_shape_and_layout(x: Array, name: str, chunk: int) -> None:
    x = np.clip(np.nan_to_num(x), -50, 50).T
    with mock.patch.object(blocks, "_CHUNK", chunk):
        y, grad = forward(name, x), backward(name, np.ones_like(x), x)
    assert y.shape == grad.shape == x.shape
    expected = [FORMULAS[name](value) for value in x.ravel().tolist()]
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-5, atol=1e-5)


def test_no_activation_or_an_unknown_one() -> None:
    x = np.ones(3)
    assert primitives.activate(x, None) is x
    assert primitives.activate_backward(x, None, None) is x
    for call in (
        lambda: primitives.activate(x, "relo"),
        lambda: primitives.activate_backward(x, x, "relo"),
    ):
        with pytest.raises(ValueError, match="did you mean 'relu'"):
            call()
    with pytest.raises(ValueError, match="activation='relu' needs output"):
        primitives.activate_backward(x, None, "relu")


def test_options_are_those_of_the_table() -> None:
    assert as_activation("elu") == as_activation("elu", alpha=np.float32(1))
    assert as_activation("clipped_relu", max_value=6).values == (0.0, 6.0, 0.0)
    assert str(as_activation("leaky_relu")) == "leaky_relu(negative_slope=0.2)"
    with pytest.raises(TypeError, match="elu takes no option 'slope', its options are: alpha"):
        as_activation("elu", slope=1)
    with pytest.raises(TypeError, match="expected alpha as one number, received"):
        as_activation("elu", alpha=np.ones(2))


def test_a_fused_activation_keeps_its_options() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 4, 4))
    x, kernel = generator.normal(size=(1, 5, 5, 2)), generator.normal(size=(3, 3, 2, 4))
    for activation in (
        as_activation("leaky_relu", negative_slope=0.7),
        as_activation("elu", alpha=0.3),
        as_activation("clipped_relu", negative_slope=0.1, max_value=1.0, threshold=0.5),
    ):
        for dtype in (np.float64, np.float32):
            parts = [each.astype(dtype) for each in (a, b, x, kernel)]
            for primitive, first, second in (
                (primitives.matmul, *parts[:2]),
                (primitives.conv2d_forward, *parts[2:]),
            ):
                plain = primitives.activate(primitive(first, second), activation)
                fused = primitive(first, second, activation=activation)
                np.testing.assert_allclose(fused, plain, rtol=1e-6, atol=1e-6)


def test_no_temporary_is_as_large_as_the_batch() -> None:
    x = np.zeros((256, 26, 26, 32), np.float32)  # 22 MB; a mask of it would be 5.5 MB
    for run in (
        lambda: primitives.activate(x, "relu"),
        lambda: primitives.activate_backward(x, x, "relu"),
        lambda: primitives.activate(x, "gelu"),
        lambda: primitives.activate_backward(x, x, "elu"),
    ):
        assert peak_bytes(run) < x.nbytes + (1 << 22)


def test_arguments_that_do_not_fit() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"relu_grad: .*\(2, 3\) and \(3,\)"):
        primitives.activate_backward(x, np.zeros(3), "relu")
    with pytest.raises(TypeError, match="received float64 and saved of float32"):
        primitives.activate_backward(x, x.astype("float32"), "relu")
    for value in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="negative_slope of at least 0"):
            as_activation("leaky_relu", negative_slope=value)
        with pytest.raises(ValueError, match="alpha of at least 0"):
            as_activation("elu", alpha=value)


def test_erf() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.logspace(-300, 300, 601), [0.0, np.inf]])
    expected = np.array([math.erf(value) for value in x.tolist()])
    np.testing.assert_allclose(erf(x), expected, rtol=1e-15, atol=0)
    assert np.isnan(erf(np.array([np.nan]))).all()
    single = erf(np.linspace(-7, 7, 20_001, dtype=np.float32))
    assert single.dtype == np.float32
    # a few units in the last place of float32, 1.2e-7
    np.testing.assert_allclose(single, expected[:20_001], rtol=1e-6, atol=0)
