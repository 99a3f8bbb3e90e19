"""Every primitive and its gradients against PyTorch, over drawn shapes and parameters.

Where numbers are summed, each library may be off by what `tests.support.sums` derives from the size
of the terms. Elsewhere, on fixed numbers, differences are relative to the largest of the result: at
most 1e-5 in float32 and 1e-10 in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from gpunet import primitives
from tests.support.doors import reference
from tests.support.sums import assert_sums_close

torch = pytest.importorskip("torch")
functional = torch.nn.functional

Array = np.ndarray[Any, np.dtype[Any]]

CASES = 240  # drawn shapes and parameters of convolution, and as many of each pooling,
WINDOW = 16  # the most pixels in a window of pooling, and the most windows that a pixel is in
PARTS = 8  # in so many tests for each element type
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
all_seeds = pytest.mark.parametrize(
    "seeds", [range(part, CASES, PARTS) for part in range(PARTS)], ids=str
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute these small arrays by one thread, which is faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_close(found: Array, expected: Any) -> None:
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    largest = np.abs(expected).max(initial=0)
    assert np.abs(found - expected).max(initial=0) <= TOLERANCE[found.dtype] * largest


def compare_sums(found: Array, expected: Any, terms: int, sizes: Any) -> None:
    """Compare sums of `terms` terms; `sizes` are the sums of the terms' absolute values."""
    theirs = expected.detach().numpy()
    assert found.dtype == theirs.dtype
    assert_sums_close(found, theirs, terms, sizes, computed=2)


def sizes_of(*arrays: Array) -> list[Array]:
    """Return absolute values in float64."""
    return [np.abs(array.astype(np.float64)) for array in arrays]


def leaf(x: Array) -> Any:
    """Return a copy that records its gradient; images become (batch, channels, height, width)."""
    return channels_first(x) if x.ndim == 4 else torch.tensor(x, requires_grad=True)


def channels_first(x: Array) -> Any:
    """Return contiguous images; of views PyTorch's gradients fail, or read other memory."""
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), requires_grad=True)


def channels_last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def draw_padding(generator: np.random.Generator, limits: tuple[int, int]) -> Any:
    """Return padding in one of its forms, each side less than or equal to its limit."""
    sides = [[int(generator.integers(limit + 1)) for _ in range(2)] for limit in limits]
    smallest = min(map(min, sides))
    forms = ["valid", "same", smallest, (sides[0][0], sides[1][0]), tuple(map(tuple, sides))]
    return forms[generator.integers(len(forms))]


def pad_sides(
    padding: Any, sizes: tuple[int, int], window: Any, strides: Any, dilation: Any = (1, 1)
) -> list[int]:
    """Return left, right, top and bottom, as torch pads; 'same' is TensorFlow's."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = []
        for size, taps, stride, spread in zip(sizes, window, strides, dilation, strict=True):
            reach = (math.ceil(size / stride) - 1) * stride + (taps - 1) * spread + 1
            total = max(0, reach - size)
            padding.append((total // 2, total - total // 2))
    elif isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    elif isinstance(padding[0], int):
        padding = [(side, side) for side in padding]
    return [*padding[1], *padding[0]]


@both_types
@all_seeds
def test_conv2d(seeds: range, dtype: type, explored_seed: int) -> None:
    for seed in seeds:
        compare_conv2d(explored_seed + seed, dtype)


def compare_conv2d(seed: int, dtype: type) -> None:
    generator = np.random.default_rng(seed)
    groups = int(generator.integers(1, 4))
    window, strides, dilation = (
        tuple(int(size) for size in generator.integers(1, limit, 2)) for limit in (5, 4, 4)
    )
    spans = [(taps - 1) * spread + 1 for taps, spread in zip(window, dilation, strict=True)]
    height, width = (span + int(generator.integers(0, 8)) for span in spans)
    padding = draw_padding(generator, (2, 2))
    channels, filters = (int(count) * groups for count in generator.integers(1, 9, 2))
    x = generator.normal(size=(generator.integers(1, 5), height, width, channels)).astype(dtype)
    kernel = generator.normal(size=(*window, channels // groups, filters)).astype(dtype)
    bias = generator.normal(size=filters).astype(dtype)
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}

    inputs, biases = leaf(x), torch.tensor(bias, requires_grad=True)
    weights = torch.tensor(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), requires_grad=True)
    sides = pad_sides(padding, (height, width), window, strides, dilation)
    expected = functional.conv2d(
        functional.pad(inputs, sides),
        weights,
        biases,
        stride=strides,
        dilation=dilation,
        groups=groups,
    )
    y = primitives.conv2d_forward(x, kernel, bias, **options)
    sizes = reference.conv2d_forward(*sizes_of(x, kernel, bias), **options)
    compare_sums(y, channels_last(expected), kernel.size // filters, sizes)

    output_grad = generator.normal(size=y.shape).astype(dtype)
    expected.backward(channels_first(output_grad))
    input_grad = primitives.conv2d_backward_input(output_grad, kernel, x.shape, **options)
    weight_grad, bias_grad = primitives.conv2d_backward_weight(
        output_grad, x, kernel.shape, with_bias=True, **options
    )
    sizes = reference.conv2d_backward_input(*sizes_of(output_grad, kernel), x.shape, **options)
    terms = kernel.size // kernel.shape[2]
    compare_sums(input_grad, channels_last(inputs.grad), terms, sizes)
    weight_sizes, bias_sizes = reference.conv2d_backward_weight(
        *sizes_of(output_grad, x), kernel.shape, with_bias=True, **options
    )
    places = y.size // filters
    compare_sums(weight_grad, weights.grad.permute(2, 3, 1, 0), places, weight_sizes)
    compare_sums(bias_grad, biases.grad, places, bias_sizes)


def pooling_case(seed: int, dtype: type) -> tuple[Array, dict[str, Any], list[int]]:
    """Return an input, the options of a pooling, and the padding of each side."""
    generator = np.random.default_rng(seed)
    window, strides = (tuple(int(size) for size in generator.integers(1, 5, 2)) for _ in range(2))
    if generator.random() < 0.3:
        strides = window
    height, width = (size + int(generator.integers(0, 10)) for size in window)
    padding = draw_padding(generator, (window[0] - 1, window[1] - 1))
    shape = (generator.integers(1, 5), height, width, generator.integers(1, 6))
    options = {"pool_size": window, "strides": strides, "padding": padding}
    sides = pad_sides(padding, (height, width), window, strides)
    return generator.normal(size=shape).astype(dtype), options, sides


@both_types
@all_seeds
def test_max_pool2d(seeds: range, dtype: type, explored_seed: int) -> None:
    for seed in seeds:
        compare_max_pool2d(explored_seed + seed, dtype)


def compare_max_pool2d(seed: int, dtype: type) -> None:
    x, options, sides = pooling_case(seed, dtype)
    inputs = leaf(x)
    padded = functional.pad(inputs, sides, value=-math.inf)
    expected = functional.max_pool2d(padded, options["pool_size"], options["strides"])
    y, indices = primitives.max_pool2d_forward(x, **options)
    np.testing.assert_array_equal(y, channels_last(expected).detach().numpy())
    output_grad = np.random.default_rng(seed).normal(size=y.shape).astype(dtype)
    expected.backward(channels_first(output_grad))
    input_grad = primitives.max_pool2d_backward(output_grad, indices, x.shape, **options)
    sizes = reference.max_pool2d_backward(*sizes_of(output_grad), indices, x.shape, **options)
    compare_sums(input_grad, channels_last(inputs.grad), WINDOW, sizes)


@both_types
@all_seeds
def test_average_pool2d(seeds: range, dtype: type, explored_seed: int) -> None:
    for seed in seeds:
        compare_average_pool2d(explored_seed + seed, dtype)


def compare_average_pool2d(seed: int, dtype: type) -> None:
    x, options, sides = pooling_case(seed, dtype)
    inputs = leaf(x)
    sums, counts = (
        functional.avg_pool2d(
            functional.pad(values, sides),
            options["pool_size"],
            options["strides"],
            divisor_override=1,
        )
        for values in (inputs, torch.ones_like(inputs))
    )
    expected = sums / counts
    y = primitives.average_pool2d_forward(x, **options)
    sizes = reference.average_pool2d_forward(*sizes_of(x), **options)
    compare_sums(y, channels_last(expected), WINDOW, sizes)
    output_grad = np.random.default_rng(seed).normal(size=y.shape).astype(dtype)
    expected.backward(channels_first(output_grad))
    input_grad = primitives.average_pool2d_backward(output_grad, x.shape, **options)
    sizes = reference.average_pool2d_backward(*sizes_of(output_grad), x.shape, **options)
    compare_sums(input_grad, channels_last(inputs.grad), WINDOW, sizes)


ELEMENTWISE: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("relu", {}, functional.relu),
    ("leaky_relu", {}, lambda x: functional.leaky_relu(x, 0.2)),
    ("leaky_relu", {"negative_slope": 0.01}, functional.leaky_relu),
    ("elu", {}, functional.elu),
    ("elu", {"alpha": 0.5}, lambda x: functional.elu(x, 0.5)),
    ("selu", {}, functional.selu),
    ("sigmoid", {}, torch.sigmoid),
    # functional.hardsigmoid divides by 6 in float32 even for the gradient of float64
    ("hard_sigmoid", {}, lambda x: functional.relu6(x + 3) / 6),
    ("tanh", {}, torch.tanh),
    # torch is linear from `threshold` on
    ("softplus", {}, lambda x: functional.softplus(x, threshold=1000)),
    ("silu", {}, functional.silu),
    ("gelu", {}, functional.gelu),
    ("gelu_tanh", {}, lambda x: functional.gelu(x, approximate="tanh")),
    ("softsign", {}, functional.softsign),
    ("hard_silu", {}, lambda x: x * functional.relu6(x + 3) / 6),
    ("clipped_relu", {"max_value": 6.0}, functional.relu6),
    ("softmax", {"axis": 1}, lambda x: torch.softmax(x, 1)),
    ("softmax", {}, lambda x: torch.softmax(x, -1)),
    ("log_softmax", {"axis": 0}, lambda x: torch.log_softmax(x, 0)),
    ("log_softmax", {}, lambda x: torch.log_softmax(x, -1)),
]


def twins_of(name: str, options: dict[str, Any]) -> tuple[Any, Any, bool]:
    """Return the two primitives of an activation, and whether the gradient is from the output."""
    if name.endswith("softmax"):
        forward = partial(getattr(primitives, f"{name}_forward"), **options)
        return forward, partial(getattr(primitives, f"{name}_backward"), **options), True
    activation = primitives.as_activation(name, **options)
    return (
        partial(primitives.activate, activation=activation),
        partial(primitives.activate_backward, activation=activation),
        primitives.saves_output(activation),
    )


@both_types
@pytest.mark.parametrize("scale", [0.1, 1, 10])
@pytest.mark.parametrize(("name", "options", "function"), ELEMENTWISE)
def test_activations(
    name: str, options: dict[str, Any], function: Callable[[Any], Any], scale: float, dtype: type
) -> None:
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(13, 7, 5)) * scale).astype(dtype)
    output_grad = generator.normal(size=x.shape).astype(dtype)
    inputs = torch.tensor(x, requires_grad=True)
    expected = function(inputs)
    forward, backward, saves_output = twins_of(name, options)
    y = forward(x)
    assert_close(y, expected)
    expected.backward(torch.tensor(output_grad))
    gradient = backward(output_grad, y if saves_output else x)
    assert_close(gradient, inputs.grad)


SPECIAL = [
    np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-20, -1e-20, 20, -20, 88,
    -88, 104, -104, 1e4, -1e4, 1e20, -1e20, 3e38, -3e38,
]  # fmt: skip
ZERO_SLOPE = ("leaky_relu", {"negative_slope": 0.0}, lambda x: functional.leaky_relu(x, 0.0))


@both_types
@pytest.mark.parametrize("library", ["reference", "fast"])
@pytest.mark.parametrize(("name", "options", "function"), [*ELEMENTWISE[:-4], ZERO_SLOPE])
def test_activations_of_special_numbers(
    name: str, options: dict[str, Any], function: Callable[[Any], Any], library: str, dtype: type
) -> None:
    twins = pytest.importorskip(f"gpunet.primitives.{library}")
    x = np.array(SPECIAL, dtype)
    output_grad = np.linspace(-1, 2, x.size, dtype=dtype)
    inputs = torch.tensor(x.astype(np.float64), requires_grad=True)
    expected = function(inputs)
    expected.backward(torch.tensor(output_grad.astype(np.float64)))
    forward, backward, saves_output = twins_of(name, options)
    with primitives.use_twins(twins), np.errstate(all="ignore"):
        y = forward(x)
        input_grad = backward(output_grad, y if saves_output else x)
        slopes = inputs.grad.numpy().astype(dtype)
        tolerance = {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(y, expected.detach().numpy().astype(dtype), **tolerance)
    defined = np.full(x.shape, True)
    if name.startswith("gelu"):  # its limit here, NaN in PyTorch
        defined = ~np.isinf(x)
    elif name == "clipped_relu":  # as relu's here, 0 in PyTorch
        defined = ~np.isnan(x)
    np.testing.assert_allclose(input_grad[defined], slopes[defined], **tolerance)


@both_types
@pytest.mark.parametrize("seed", range(20))
def test_matmul(seed: int, dtype: type, explored_seed: int) -> None:
    generator = np.random.default_rng(explored_seed + seed)
    rows, inner, columns = (int(size) for size in generator.integers(1, 60, 3))
    a = generator.normal(size=(rows, inner)).astype(dtype)
    b = generator.normal(size=(inner, columns)).astype(dtype)
    bias = generator.normal(size=columns).astype(dtype)
    output_grad = generator.normal(size=(rows, columns)).astype(dtype)
    left, right, offset = (torch.tensor(array, requires_grad=True) for array in (a, b, bias))
    sums = left @ right + offset
    y = primitives.matmul(a, b, bias, activation="relu")
    compare_sums(y, torch.relu(sums), inner, reference.matmul(*sizes_of(a, b, bias)))
    grad = primitives.activate_backward(output_grad, y, "relu")
    sums.backward(
        torch.tensor(grad)
    )  # rounding may decide otherwise in torch where a sum is near 0
    a_size, b_size, grad_size = sizes_of(a, b, grad)
    left_grad = primitives.matmul(grad, b, transpose_b=True)
    compare_sums(left_grad, left.grad, columns, grad_size @ b_size.T)
    compare_sums(
        primitives.matmul(a, grad, transpose_a=True), right.grad, rows, a_size.T @ grad_size
    )
    compare_sums(primitives.bias_backward(grad), offset.grad, rows, grad_size.sum(0))


@both_types
@pytest.mark.parametrize("form", ["classes", "one-hot", "probabilities"])
@pytest.mark.parametrize("scale", [0.1, 1, 10])
def test_softmax_cross_entropy(form: str, scale: float, dtype: type) -> None:
    generator = np.random.default_rng(0)
    logits = (generator.normal(size=(31, 10)) * scale).astype(dtype)
    labels: Array = generator.integers(0, 10, 31)
    if form == "one-hot":
        labels = np.eye(10, dtype=dtype)[labels]
    elif form == "probabilities":
        labels = generator.dirichlet(np.ones(10), 31).astype(dtype)
    output_grad = generator.normal(size=31).astype(dtype)
    inputs = torch.tensor(logits, requires_grad=True)
    expected = functional.cross_entropy(inputs, torch.tensor(labels), reduction="none")
    losses, probabilities = primitives.softmax_cross_entropy_forward(logits, labels)
    assert_close(losses, expected)
    assert_close(probabilities, torch.softmax(inputs, 1))
    expected.backward(torch.tensor(output_grad))
    gradient = primitives.softmax_cross_entropy_backward(output_grad, probabilities, labels)
    assert_close(gradient, inputs.grad)


@both_types
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(momentum: float, nesterov: bool, dtype: type) -> None:
    generator = np.random.default_rng(0)
    parameters = generator.normal(size=100).astype(dtype)
    velocity = np.zeros_like(parameters) if momentum else None
    expected = torch.tensor(parameters, requires_grad=True)
    optimizer = torch.optim.SGD([expected], lr=0.1, momentum=momentum, nesterov=nesterov)
    for _ in range(10):
        gradients = generator.normal(size=100).astype(dtype)
        expected.grad = torch.tensor(gradients)
        optimizer.step()
        rate = np.array([0.1], dtype)
        primitives.sgd_update(
            parameters, gradients, velocity, rate, momentum=momentum, nesterov=nesterov
        )
        assert_close(parameters, expected)


@both_types
def test_adam(dtype: type) -> None:
    generator = np.random.default_rng(0)
    parameters = generator.normal(size=100).astype(dtype)
    mean, variance = np.zeros_like(parameters), np.zeros_like(parameters)
    options = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-3}
    expected = torch.tensor(parameters, requires_grad=True)
    optimizer = torch.optim.Adam([expected], lr=0.01, betas=(0.9, 0.999))
    for step in range(1, 11):
        gradients = generator.normal(size=100).astype(dtype)
        expected.grad = torch.tensor(gradients)
        # torch adds its epsilon after the correction sqrt(1 - beta_2**step), Keras before it
        optimizer.param_groups[0]["eps"] = 1e-3 / math.sqrt(1 - 0.999**step)
        optimizer.step()
        counted, rate = np.array([step]), np.array([0.01], dtype)
        primitives.adam_update(parameters, gradients, mean, variance, counted, rate, **options)
        assert_close(parameters, expected)
