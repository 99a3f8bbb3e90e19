"""EinsumDense: shapes of its weights, its equations, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gpunet import Input, check_gradients, initializers, layers

rng = np.random.default_rng(0)

# Equation, output_shape, bias_axes, input; shapes of kernel, bias and output.
CASES: list[tuple[str, Any, Any, tuple[int, ...], Any, Any, tuple[int, ...]]] = [
    ("ab,bc->ac", 5, "c", (2, 3), (3, 5), (5,), (2, 5)),
    ("abc,cd->abd", (None, 5), "d", (2, 4, 3), (3, 5), (5,), (2, 4, 5)),
    ("abc,cde->abde", (None, 2, 5), "de", (2, 4, 3), (3, 2, 5), (2, 5), (2, 4, 2, 5)),
    ("abcd,cde->abe", (None, 6), "e", (2, 4, 3, 5), (3, 5, 6), (6,), (2, 4, 6)),
    ("...x,xy->...y", 5, "y", (2, 4, 6, 3), (3, 5), (5,), (2, 4, 6, 5)),
    ("...x,xy->...y", 5, None, (2, 3), (3, 5), None, (2, 5)),
    ("ab...,bc->ac...", (5,), "c", (2, 3, 4, 6), (3, 5), (5, 1, 1), (2, 5, 4, 6)),
    ("abc,bd->adc", (5, None), "d", (2, 3, 4), (3, 5), (5, 1), (2, 5, 4)),
    ("abc,cd->abd", (4, 5), "b", (2, 4, 3), (3, 5), (4, 1), (2, 4, 5)),
]


@pytest.mark.parametrize(("equation", "sizes", "axes", "shape", "kernel", "bias", "output"), CASES)
def test_shapes_values_and_gradients(
    equation: str, sizes: Any, axes: Any, shape: Any, kernel: Any, bias: Any, output: Any
) -> None:
    layer = layers.EinsumDense(equation, sizes, bias_axes=axes, dtype="float64", activation="tanh")
    assert layer(Input(shape[1:])).shape == (None, *output[1:])
    assert layer.kernel.shape == kernel
    assert (layer.bias is None) == (bias is None)
    if layer.bias is not None:
        assert layer.bias.shape == bias
        layer.bias.value[...] = rng.normal(size=bias)
    x = rng.normal(size=shape)
    added = 0 if layer.bias is None else layer.bias.numpy()
    expected = np.tanh(np.einsum(equation, x, layer.kernel.numpy()) + added)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12, atol=1e-13)
    assert layer(x).shape == output
    check_gradients(lambda x: layer(x), x)


def test_unknown_sizes_and_the_kernel_s_fans() -> None:
    layer = layers.EinsumDense("abc,cde->abde", (None, 40, 50), kernel_initializer="he_uniform")
    assert layer(Input((None, 30))).shape == (None, None, 40, 50)
    # Uniform in ± sqrt(6 / 30), by the 30 inputs of an output.
    largest = np.abs(layer.kernel.numpy()).max()
    assert 0.99 * math.sqrt(6 / 30) < largest <= math.sqrt(6 / 30)
    given = initializers.Constant(rng.normal(size=(3, 2, 2)))
    layer = layers.EinsumDense("abc,cde->abde", (None, 2, 2), kernel_initializer=given)
    layer.build((None, None, 3))
    np.testing.assert_array_equal(layer.kernel.numpy(), given.value.astype("float32"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ab->ab", 3), "such as 'ab,bc->ac'"),
        (("ab,bc->...ac", 3), "such as 'ab,bc->ac'"[:7]),
        (("a...b,bc->a...c", 3), "such as 'ab,bc->ac'"),
        (("aa,ab->b", 3), "such as 'ab,bc->ac'"),
        (("ab,cd->ac", 3), "received 'd'"),
        (("ab,bc->acd", 3), "received 'd'"),
        (("ab,bc->ac", 3, None, "b"), "received 'b' .*bias_axes='b'"),
        (("ab,bc->ac", 0), "output_shape must be a positive integer, received 0"),
    ],
)
def test_bad_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.EinsumDense(*arguments)
    with pytest.raises(NotImplementedError, match="lora_rank=4 is not supported"):
        layers.EinsumDense("ab,bc->ac", 3, lora_rank=4)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        (("abc,cd->abd", (None, 5)), (2, 3), r"takes inputs of 3 axes, received shape \(\w+, 3\)"),
        (("...abc,cd->...abd", (None, 5)), (2, 3), "3 axes or more"),
        (("abc,cd->abd", (7, 5)), (2, 4, 3), "axis 'b' .* has 4 .* and 7 in output_shape"),
        (("abc,cd->abd", (None, None)), (2, 4, 3), "axis 'd' of the kernel .* no known size"),
        (("abc,cd->abd", (5, 6, 7, 8)), (2, 4, 3), "output_shape of 3 sizes"),
    ],
)
def test_inputs_that_do_not_fit(arguments: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.EinsumDense(*arguments)(np.zeros(shape, "float32"))
    layer = layers.EinsumDense("abc,cd->abd", (None, 5), name="product")
    layer.build((None, 4, 3))
    with pytest.raises(ValueError, match=r"product.*built for inputs .*, received .*axis 'c'"):
        layer(np.zeros((2, 4, 2), "float32"))
