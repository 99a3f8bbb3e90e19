"""Convolution against loops over its definition, in float64."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import primitives
from gpunet.primitives.reference import blocks
from tests.support.memory_use import peak_bytes

Array = np.ndarray[Any, np.dtype[Any]]

# Float64 sums of at most a few hundred products of numbers near 1: rounding stays below 1e-13.
TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.integers(0, 2)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Array, dict[str, Any]]:
    """Draw an input, a kernel and the options of a convolution that fit each other."""
    groups = draw(st.integers(1, 3))
    kernel, strides, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(
        st.one_of(
            st.sampled_from(["valid", "same"]),
            pads,
            st.tuples(pads, pads),
            st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)),
        )
    )
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (span + draw(st.integers(0, 4)) for span in spans)
    # up to 8 channels, so that both layouts of the columns are used
    channels, filters = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = generator.normal(size=(draw(st.integers(0, 4)), height, width, channels * groups))
    weights = generator.normal(size=(*kernel, channels, filters * groups))
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return x, weights, options


def convolve(x: Array, kernel: Array, g: primitives.geometry.Conv2DGeometry) -> Array:
    """Return the convolution by its definition, one output pixel after another."""
    x = np.pad(x, ((0, 0), *g.padding, (0, 0)))
    y = np.zeros(g.output_shape)
    channels, filters = kernel.shape[2], kernel.shape[3] // g.groups
    for i, j in np.ndindex(*g.output_shape[1:3]):
        rows = i * g.strides[0] + g.dilation[0] * np.arange(kernel.shape[0])
        columns = j * g.strides[1] + g.dilation[1] * np.arange(kernel.shape[1])
        patch = x[:, rows][:, :, columns]
        for group in range(g.groups):
            own = slice(group * filters, (group + 1) * filters)
            part = patch[..., group * channels : (group + 1) * channels]
            y[:, i, j, own] = np.tensordot(part, kernel[..., own], 3)
    return y


@given(case=cases(), block_bytes=st.sampled_from([1, 2000, 20_000, blocks.BLOCK_BYTES]))
def test_convolution_and_its_gradients(
    case: tuple[Array, Array, dict[str, Any]], block_bytes: int
) -> None:
    x, kernel, options = case
    geometry = primitives.geometry.conv2d_geometry(x.shape, kernel.shape, **options)
    with mock.patch.object(blocks, "BLOCK_BYTES", block_bytes):  # images, bands and single rows
        y = primitives.conv2d_forward(x, kernel, **options)
        np.testing.assert_allclose(y, convolve(x, kernel, geometry), **TOLERANCE)
        output_grad = np.cos(np.arange(y.size)).reshape(y.shape)
        input_grad = primitives.conv2d_backward_input(output_grad, kernel, x.shape, **options)
        weight_grad, _ = primitives.conv2d_backward_weight(output_grad, x, kernel.shape, **options)
    # The output is linear in the input and in the kernel, so a step of any size along a drawn
    # direction tells the gradient exactly.
    for argument, gradient in ((x, input_grad), (kernel, weight_grad)):
        assert gradient.shape == argument.shape
        step = np.sin(1 + np.arange(argument.size)).reshape(argument.shape)
        moved = (step, kernel) if argument is x else (x, step)
        change = np.vdot(convolve(*moved, geometry), output_grad)
        np.testing.assert_allclose(np.vdot(gradient, step), change, rtol=1e-11, atol=1e-10)


@given(case=cases(), name=st.sampled_from([None, *primitives.OUTPUT_ACTIVATIONS]))
def test_bias_and_activation(case: tuple[Array, Array, dict[str, Any]], name: str | None) -> None:
    x, kernel, options = case
    bias = np.linspace(-1, 1, kernel.shape[3])
    y = primitives.conv2d_forward(x, kernel, bias, activation=name, **options)
    expected = primitives.conv2d_forward(x, kernel, **options) + bias
    if name is not None:
        expected = getattr(primitives, f"{name}_forward")(expected)
    np.testing.assert_allclose(y, expected, **TOLERANCE)


@given(case=cases(), name=st.sampled_from(primitives.OUTPUT_ACTIVATIONS))
def test_backward_through_an_activation(
    case: tuple[Array, Array, dict[str, Any]], name: str
) -> None:
    """Block by block inside the primitive, as in one go before it."""
    x, kernel, options = case
    y = primitives.conv2d_forward(x, kernel, activation=name, **options)
    output_grad = np.cos(np.arange(y.size)).reshape(y.shape)
    fused = {"activation": name, "output": y, **options}
    before = primitives.activation_backward(output_grad, y, name)
    np.testing.assert_allclose(
        primitives.conv2d_backward_input(output_grad, kernel, x.shape, **fused),
        primitives.conv2d_backward_input(before, kernel, x.shape, **options),
        **TOLERANCE,
    )
    weight_grad, bias_grad = primitives.conv2d_backward_weight(
        output_grad, x, kernel.shape, with_bias=True, **fused
    )
    expected, none = primitives.conv2d_backward_weight(before, x, kernel.shape, **options)
    assert none is None
    np.testing.assert_allclose(weight_grad, expected, **TOLERANCE)
    np.testing.assert_allclose(bias_grad, primitives.bias_backward(before), **TOLERANCE)


def test_an_activation_needs_its_output() -> None:
    y, kernel = np.ones((1, 3, 3, 2)), np.ones((1, 1, 2, 2))
    with pytest.raises(ValueError, match="needs output"):
        primitives.conv2d_backward_input(y, kernel, y.shape, activation="relu")
    with pytest.raises(ValueError, match="expected output of shape"):
        primitives.conv2d_backward_input(
            y, kernel, y.shape, activation="relu", output=np.ones((1, 3, 3, 1))
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_element_type_stays_and_runs_repeat(dtype: type) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(5, 9, 9, 3)).astype(dtype)
    kernel = generator.normal(size=(3, 3, 3, 4)).astype(dtype)
    bias = np.ones(4, dtype)

    def run() -> list[Array]:
        y = primitives.conv2d_forward(x, kernel, bias, activation="relu", padding="same")
        return [
            y,
            primitives.conv2d_backward_input(y, kernel, x.shape, padding="same"),
            *primitives.conv2d_backward_weight(y, x, kernel.shape, padding="same", with_bias=True),
        ]

    for first, second in zip(run(), run(), strict=True):
        assert first.dtype == dtype
        assert first.tobytes() == second.tobytes()


def test_arrays_need_not_be_contiguous() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 3, 8, 9)).transpose(0, 3, 2, 1)[:, ::-1]
    kernel = generator.normal(size=(4, 3, 3, 3)).transpose(2, 3, 1, 0)
    for padding in ("valid", "same"):
        y = primitives.conv2d_forward(x, kernel, padding=padding)
        expected = primitives.conv2d_forward(x.copy(), kernel.copy(), padding=padding)
        np.testing.assert_allclose(y, expected, **TOLERANCE)
        grad = y.copy().transpose(3, 0, 1, 2).copy().transpose(1, 2, 3, 0)
        for name, other, shape in (("input", kernel, x.shape), ("weight", x, kernel.shape)):
            backward = getattr(primitives, f"conv2d_backward_{name}")
            found = backward(grad, other, shape, padding=padding)
            wanted = backward(y, other.copy(), shape, padding=padding)
            if name == "weight":  # beside that of a bias, not asked for
                found, wanted = found[0], wanted[0]
            np.testing.assert_allclose(found, wanted, **TOLERANCE)


def test_no_temporary_is_as_large_as_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((64, 40, 40, 16), np.float32)  # 6.6 MB; its columns would be 53 MB
    kernel = np.zeros((3, 3, 16, 16), np.float32)
    y = np.zeros((64, 38, 38, 16), np.float32)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 19)
    limit = 4 << 19
    for run, result in (
        (lambda: primitives.conv2d_forward(x, kernel), y.nbytes),
        (lambda: primitives.conv2d_forward(x, kernel, padding="same"), x.nbytes),
        (lambda: primitives.conv2d_backward_input(y, kernel, x.shape), x.nbytes),
        (lambda: primitives.conv2d_backward_weight(y, x, kernel.shape), 0),
        (
            lambda: primitives.conv2d_backward_weight(
                y, x, kernel.shape, activation="relu", output=y, with_bias=True
            ),
            0,
        ),
    ):
        assert peak_bytes(run) < result + limit


def test_arguments_that_do_not_fit() -> None:
    x, kernel = np.zeros((1, 5, 5, 2)), np.zeros((3, 3, 2, 4))
    with pytest.raises(ValueError, match=r"expected bias of shape \(4,\), received \(3,\)"):
        primitives.conv2d_forward(x, kernel, np.zeros(3))
    with pytest.raises(TypeError, match="received float64 and kernel of float32"):
        primitives.conv2d_forward(x, kernel.astype(np.float32))
    with pytest.raises(ValueError, match="Unknown fused activation 'softmax'"):
        primitives.conv2d_forward(x, kernel, activation="softmax")
    wrong = np.zeros((1, 5, 5, 4))
    with pytest.raises(ValueError, match=r"expected output_grad of shape \(1, 3, 3, 4\)"):
        primitives.conv2d_backward_input(wrong, kernel, x.shape)
    with pytest.raises(ValueError, match=r"expected output_grad of shape \(1, 3, 3, 4\)"):
        primitives.conv2d_backward_weight(wrong, x, kernel.shape)
    with pytest.raises(ValueError, match="expects 2 input channels, received 3"):
        primitives.conv2d_forward(np.zeros((1, 5, 5, 3)), kernel)
