"""Cases of convolution and max pooling in one pass."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import OUTPUT_ACTIVATIONS
from gpunet.primitives import launch as launcher
from gpunet.primitives.activation_table import as_fused
from gpunet.primitives.cuda import conv_pool_small
from gpunet.primitives.geometry import conv2d_max_pool_geometry
from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
DOUBLE = ("float32", "float64")
SINGLE = ("float32",)

Array = np.ndarray
Options = dict[str, Any]
Shape = tuple[int, int, int, int]

# What tells them apart: (input shape, kernel shape without its channels, options).
SHAPES: dict[str, tuple[Shape, tuple[int, int, int], Options]] = {
    "first layer": ((4, 28, 28, 1), (3, 3, 32), {}),
    "second layer": ((2, 13, 13, 32), (3, 3, 64), {}),  # a row and a column fill no window
    "third layer": ((2, 5, 5, 64), (3, 3, 64), {}),  # one window
    "split": ((1, 4, 4, 400), (3, 3, 10), {}),
    "one window": ((1, 2, 2, 1), (1, 1, 1), {}),
    "no image": ((0, 6, 6, 3), (3, 3, 4), {}),
    "no image, many channels": ((0, 6, 6, 6), (3, 3, 4), {}),
    "1x1": ((2, 7, 5, 12), (1, 1, 8), {}),
    "large tiles": ((2, 32, 32, 8), (1, 1, 64), {}),
    "largest tiles": ((2, 46, 46, 8), (1, 1, 128), {}),
    "same": ((2, 6, 7, 3), (3, 3, 5), {"padding": "same"}),
    "same, many channels": ((2, 6, 7, 5), (3, 3, 5), {"padding": "same"}),
    "same, strides": ((3, 9, 8, 8), (3, 3, 8), {"padding": "same", "strides": 2}),
    "strides": ((2, 11, 13, 4), (3, 2, 4), {"strides": (2, 3)}),
    "dilation": ((2, 11, 11, 4), (3, 3, 4), {"dilation": (2, 3)}),
    "groups": ((2, 6, 6, 12), (3, 3, 6), {"groups": 3, "padding": 1}),
    "groups of 4": ((2, 6, 6, 8), (3, 3, 8), {"groups": 2, "padding": 1}),
    "split groups": ((1, 4, 4, 800), (3, 3, 10), {"groups": 2}),
    "padding on one side": ((1, 5, 6, 6), (2, 4, 3), {"padding": ((3, 0), (0, 2))}),
    "all together": (
        (2, 12, 10, 6),
        (3, 2, 4),
        {"strides": (2, 1), "padding": ((1, 2), (2, 0)), "dilation": (1, 2), "groups": 2},
    ),
    "few channels, 70 filters": ((2, 7, 5, 1), (1, 1, 70), {}),
    "few channels, 3x3": ((2, 11, 9, 3), (3, 3, 33), {}),
    "few channels, 5x5": ((2, 13, 12, 4), (5, 5, 6), {"padding": "same"}),  # not in float64
    "few channels, long rows": ((1, 9, 45, 1), (5, 5, 3), {"padding": ((0, 3), (4, 1))}),
    "few channels, many strips": ((3, 30, 9, 2), (5, 5, 2), {"padding": "same"}),
    "few channels, 2x3": ((1, 5, 6, 2), (2, 3, 3), {"padding": ((3, 0), (0, 2))}),
    "few channels, strides": ((2, 15, 20, 2), (3, 3, 8), {"padding": "same", "strides": 2}),
    "few channels, strides across": ((2, 9, 14, 3), (2, 3, 5), {"strides": (1, 2)}),
    "few channels, strides down": ((2, 13, 8, 4), (3, 1, 4), {"strides": (2, 1), "padding": 1}),
    "few channels, apart": ((2, 9, 9, 2), (1, 1, 3), {"strides": 2}),  # not all pixels are read
    "windows of 3": ((2, 9, 11, 4), (3, 3, 4), {"pool_size": 3}),
    "windows of 2 x 1": ((2, 6, 7, 3), (2, 3, 4), {"pool_size": (2, 1)}),
}
DTYPES = {
    "second layer": DOUBLE,
    "third layer": ALL,
    "split": ALL,
    "strides": ALL,
    "all together": ALL,
    "few channels, 3x3": ALL,
    "few channels, 5x5": DOUBLE,
    "few channels, strides": DOUBLE,
}


def end_of_flat_part(activation: str | None) -> float | None:
    """Return up to where the activation of small numbers is constant, None if it nowhere is."""
    x = np.linspace(-1, 1, 201)
    flat = np.diff(reference.activate(x, activation)) == 0
    return x[1:][flat].max() if flat.any() else None


def images(
    rng: np.random.Generator, name: str, activation: str | None
) -> tuple[Array, Array, Array, Options]:
    """Return x, a kernel, a bias and the options.

    The sums are small, so that no activation makes two that differ equal, but where it is flat, as
    relu for negative ones: there the bias makes the largest of each window larger than that.
    """
    shape, (height, width, filters), options = SHAPES[name]
    channels = shape[3] // options.get("groups", 1)
    kernel = rng.normal(size=(height, width, channels, filters))
    kernel /= 2 * (height * width * channels) ** 0.5
    x, bias = rng.normal(size=shape), rng.normal(size=filters) / 4
    end = end_of_flat_part(activation)
    if end is not None:
        y, _ = reference.conv2d_max_pool_forward(x, kernel, **options)
        bias = end + 0.1 - y.min((0, 1, 2), initial=0)
    return x, kernel, bias, options | ({"activation": activation} if activation else {})


def forward(rng: np.random.Generator, name: str, activation: str | None) -> Arguments:
    x, kernel, bias, options = images(rng, name, activation)
    return [x, kernel, bias], options


def backward(rng: np.random.Generator, name: str, activation: str | None, of: str) -> Arguments:
    x, kernel, bias, options = images(rng, name, activation)
    bias -= 0.3  # some of the largest are negative
    y, indices = reference.conv2d_max_pool_forward(x, kernel, bias, **options)
    if activation:
        options["output"] = y
    output_grad = rng.normal(size=y.shape)
    if of == "input":
        return [output_grad, indices, kernel, x.shape], options
    options["with_bias"] = of == "weight and bias"
    return [output_grad, indices, x, kernel.shape], options


def whole_numbers(rng: np.random.Generator, channels: int) -> Arguments:
    """Return sums of few values: most windows have several that are largest."""
    x, kernel = rng.integers(-1, 2, (3, 8, 7, channels)), rng.integers(-1, 2, (2, 2, channels, 4))
    kernel[:, :, 2:] = 0  # sums as small as those of two channels
    return [x.astype(float), kernel.astype(float), None], {}


def not_numbers(rng: np.random.Generator, name: str, activation: str | None) -> Arguments:
    """Return images with some NaN in them: windows have none, some, or nothing else."""
    x, kernel, bias, options = images(rng, name, activation)
    x = np.where(rng.random(x.shape) < 0.05, np.nan, x)
    return [x, kernel, bias], options


def forward_views(rng: np.random.Generator, channels: int) -> Arguments:
    x = rng.normal(size=(2, channels, 9, 8)).transpose(0, 3, 2, 1)[:, ::-1]
    return [x, rng.normal(size=(4, channels, 3, 3)).T, rng.normal(size=8)[::2]], {}


def backward_views(rng: np.random.Generator, channels: int, of: str) -> Arguments:
    (x, kernel, bias), _ = forward_views(rng, channels)
    y, indices = reference.conv2d_max_pool_forward(x, kernel, bias, activation="tanh")
    given = [rng.normal(size=y.shape[::-1]).T, np.asfortranarray(indices)]
    last = [kernel, x.shape] if of == "input" else [x, kernel.shape]
    return [*given, *last], {"activation": "tanh", "output": np.asfortranarray(y)}


def forward_off_boundary(rng: np.random.Generator) -> Arguments:
    x, kernel, bias, options = images(rng, "groups of 4", None)
    return [shifted(x), shifted(kernel), bias], options


def indices_off_boundary(rng: np.random.Generator, of: str) -> Arguments:
    (grad, indices, *rest), options = backward(rng, "groups of 4", "relu", of)
    return [grad, shifted(indices), *rest], options


def sum_of_parts(
    output_grad: Any,
    indices: Any,
    x: Any,
    kernel_shape: tuple[int, ...],
    *,
    output: Any = None,
    activation: str | None = None,
    with_bias: bool = False,
    **options: Any,
) -> Any:
    """Return the gradients of few channels' weights, the bias' below, from parts that are flat."""
    geometry, _ = conv2d_max_pool_geometry(x.shape, kernel_shape, **options)
    shape = conv_pool_small.weight_parts_shape(x, geometry, with_bias)
    flat = launcher.empty((math.prod(shape),), launcher.accumulator(x.dtype))
    conv_pool_small.backward_weight_parts(
        (output_grad, output, indices), x, geometry, as_fused(activation), with_bias, flat
    )
    return flat.reshape(shape).sum(0)


def expected_sum_of_parts(*args: Any, **options: Any) -> Array:
    kernel_grad, bias_grad = reference.conv2d_max_pool_backward_weight(*args, **options)
    rows = kernel_grad.reshape(-1, kernel_grad.shape[-1])
    return rows if bias_grad is None else np.concatenate([rows, bias_grad[None]])


def shifted(array: Array) -> Array:
    """Return a copy that begins one element after a boundary."""
    memory = np.empty(array.size + 1, array.dtype)
    memory[1:] = array.ravel()
    return memory[1:].reshape(array.shape)


def terms(name: str, of: str) -> int:
    """Return how many products a sum has."""
    shape, (height, width, filters), options = SHAPES[name]
    groups = options.get("groups", 1)
    kernel = (height, width, shape[3] // groups, filters)
    conv, _ = conv2d_max_pool_geometry(shape, kernel, **options)
    if of.startswith("weight"):
        return max(1, conv.output_shape[0] * conv.output_shape[1] * conv.output_shape[2])
    return height * width * (filters if of == "input" else shape[3]) // groups


def cases_of(name: str, activation: str | None, dtypes: tuple[str, ...]) -> list[Case]:
    makes: dict[str, tuple[str, Any]] = {"output": ("conv2d_max_pool_forward", forward)}
    for of in ("input", "weight", "weight and bias"):
        kind = of.split()[0]
        makes[of] = (f"conv2d_max_pool_backward_{kind}", partial(backward, of=of))
    return [
        Case(
            primitive,
            f"{name}, {activation}, {of}",
            partial(make, name=name, activation=activation),
            terms=terms(name, of),
            dtypes=dtypes,
        )
        for of, (primitive, make) in makes.items()
    ]


CASES = [
    *(
        case
        for name in SHAPES
        for activation in (None, "relu")
        for case in cases_of(name, activation, DTYPES.get(name, SINGLE))
    ),
    *(
        case
        for name in ("same", "same, many channels")
        for activation in OUTPUT_ACTIVATIONS[1:]
        for case in cases_of(name, activation, SINGLE)
    ),
    Case(
        "conv2d_max_pool_forward",
        "split, tanh",
        partial(forward, name="split", activation="tanh"),
        3600,
        dtypes=SINGLE,
    ),
    *(
        Case(
            "conv2d_max_pool_forward",
            f"ties, {channels}",
            partial(whole_numbers, channels=channels),
            dtypes=DOUBLE,
        )
        for channels in (2, 6, 1024)  # the sums of many are split
    ),
    *(
        Case(
            "conv2d_max_pool_forward",
            f"NaN, {name}, {activation}",
            partial(not_numbers, name=name, activation=activation),
            12,
        )
        for name in ("1x1", "few channels, 70 filters")
        for activation in (None, "relu", "tanh")
    ),
    *(
        Case(
            "conv2d_max_pool_forward",
            f"views, {channels}",
            partial(forward_views, channels=channels),
            72,
        )
        for channels in (3, 8)
    ),
    Case("conv2d_max_pool_forward", "off boundary", forward_off_boundary, 36),
    *(
        Case(f"conv2d_max_pool_backward_{of}", label, partial(make, of=of), 128, dtypes=SINGLE)
        for of in ("input", "weight")
        for label, make in (
            ("views, 3", partial(backward_views, channels=3)),
            ("views, 8", partial(backward_views, channels=8)),
            ("indices off boundary", indices_off_boundary),
        )
    ),
    *(
        Case(
            "conv2d_max_pool_small_parts",
            f"{name}, {activation}, {of}",
            partial(backward, name=name, activation=activation, of=of),
            terms=terms(name, of),
            function=sum_of_parts,
            oracle=expected_sum_of_parts,
        )
        for name in ("no image", "few channels, many strips")
        for activation, of in ((None, "weight"), ("relu", "weight and bias"))
    ),
]
