"""Convolution and pooling over one to three axes: gradients, sums written out, errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpunet import functions, layers
from gpunet.autograd import Tensor
from gpunet.functions.gradients import check_gradients

SIZES = {1: (7,), 2: (6, 5), 3: (5, 4, 6)}


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_gradients_of_conv(rank: int, padding: str, strides: int, dilation: int) -> None:
    x, kernel = numbers(2, *SIZES[rank], 4), numbers(*(2,) * rank, 2, 6)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation}
    check_gradients(
        lambda x, k, b: functions.conv(x, k, b, groups=2, **options), x, kernel, numbers(6)
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("strides", "added"), [(1, None), (2, None), (3, 1), (2, 0)])
def test_gradients_of_conv_transpose(
    rank: int, padding: str, strides: int, added: int | None
) -> None:
    x, kernel = numbers(2, *(3,) * rank, 2), numbers(*(3,) * rank, 3, 2)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "output_padding": added}
    check_gradients(lambda x, k: functions.conv_transpose(x, k, **options), x, kernel)


@pytest.mark.parametrize("pool", [functions.max_pool, functions.average_pool])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradients_of_pooling(pool: Any, rank: int, padding: str) -> None:
    x = numbers(2, *SIZES[rank], 3)
    check_gradients(lambda x: pool(x, pool_size=3, strides=2, padding=padding), x)


def test_a_convolution_of_volumes_is_the_sum_that_it_stands_for() -> None:
    x, kernel = numbers(1, 4, 5, 3, 2), numbers(2, 3, 2, 2, 3)
    expected = np.zeros((1, 3, 3, 2, 3))
    for d, h, w in itertools.product(range(2), range(3), range(2)):
        part = x[:, d : d + 3, h : h + 3, w : w + 2]
        expected += np.einsum("bdhwc,cf->bdhwf", part, kernel[d, h, w])
    found = functions.conv(x, kernel).numpy()
    # 24 products of numbers below 4 in each sum, rounded in float64.
    np.testing.assert_allclose(found, expected, rtol=0, atol=24 * 16 * 2.0**-52)


def test_pooling_of_volumes_takes_each_window_whole() -> None:
    x = numbers(2, 4, 6, 4, 3)
    windows = x.reshape(2, 2, 2, 3, 2, 2, 2, 3).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    np.testing.assert_array_equal(functions.max_pool(x).numpy(), windows.max((4, 5, 6)))
    np.testing.assert_allclose(functions.average_pool(x).numpy(), windows.mean((4, 5, 6)))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Conv1D(2, 5), (None, 4, 1), "length: the window spans 5 elements"),
        (layers.Conv2D(2, 5), (None, 9, 4, 1), "width: the window spans 5 elements"),
        (layers.Conv3D(2, 5), (None, 4, 9, 9, 1), "depth: the window spans 5 elements"),
        (layers.MaxPooling1D(5), (None, 4, 1), "length: the window spans 5"),
        (layers.AveragePooling3D(5), (None, 9, 9, 4, 1), "width: the window spans 5"),
        (layers.Conv1D(4, 3, groups=2), (None, 9, 3), "must be a multiple of groups"),
        (layers.Conv3D(2, 3), (None, 9, 9, 1), r"\(batch, depth, height, width, channels\)"),
        (layers.Conv1D(2, 3), (None, 9), "want its axis"),
        (layers.Conv2DTranspose(2, 2, 1, "same", 0), (None, 1, 1, 1), "would make outputs"),
    ],
)
def test_inputs_that_do_not_fit(layer: Any, shape: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.build(shape)
    assert not layer.built
    assert not layer.weights


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv3D(2, (3, 3)), "expected an integer or three integers"),
        (lambda: layers.Conv1D(2, 0), "at least 1"),
        (lambda: layers.Conv2D(3, 3, groups=2), "multiple of groups"),
        (lambda: layers.Conv1DTranspose(2, 3, 2, output_padding=2), "less than strides"),
        (lambda: layers.Conv1DTranspose(2, 3, padding="causal"), "must be one of"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "positive integer"),
    ],
)
def test_arguments_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_causal_steps_see_no_later_ones() -> None:
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=2, dtype="float64")
    x = numbers(1, 9, 1)
    before = layer(x).numpy()
    x[:, 5:] += 1
    np.testing.assert_array_equal(layer(x).numpy()[:, :5], before[:, :5])


def test_a_gradient_reaches_the_input_of_each_layer() -> None:
    for name in ("Conv1D", "Conv1DTranspose", "SeparableConv1D"):
        x = Tensor(numbers(1, 5, 2).astype("float32"), requires_grad=True)
        getattr(layers, name)(2, 3)(x).sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape


def test_a_kernel_that_is_no_array() -> None:
    with pytest.raises(TypeError, match="array or a tensor for kernel, received NoneType"):
        functions.conv(numbers(1, 5, 2), None)
    layer = layers.Conv1D(2, 3)
    layer.build((None, 5, 2))
    layer.kernel = None
    with pytest.raises(TypeError, match=r"'conv1d'.*for kernel, received NoneType"):
        layer(numbers(1, 5, 2))
