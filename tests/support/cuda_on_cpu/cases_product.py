"""Cases of the matrix product, the sum for a bias, and convolution."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import OUTPUT_ACTIVATIONS
from gpunet.primitives.geometry import conv2d_geometry
from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
SINGLE = ("float32",)

# --- matrix product


def matmul(
    rng: np.random.Generator, rows: int, columns: int, inner: int, options: dict[str, Any]
) -> Arguments:
    options = dict(options)
    a, b = rng.normal(size=(rows, inner)), rng.normal(size=(inner, columns))
    bias = rng.normal(size=columns) if options.pop("bias", True) else None
    return [
        a.T.copy() if options.get("transpose_a") else a,
        b.T.copy() if options.get("transpose_b") else b,
        bias,
    ], options


def stack(
    rng: np.random.Generator, shape: tuple[int, int, int], inner: int, options: dict[str, Any]
) -> Arguments:
    """Return the products of a stack of matrices; `shape` is that of the result."""
    matrices, rows, columns = shape
    a, b = rng.normal(size=(matrices, rows, inner)), rng.normal(size=(matrices, inner, columns))
    return [
        a.swapaxes(1, 2).copy() if options.get("transpose_a") else a,
        b.swapaxes(1, 2).copy() if options.get("transpose_b") else b,
        rng.normal(size=columns),
    ], {**options, "activation": "tanh"}


def dense(rng: np.random.Generator, rows: int, inputs: int, units: int, bias: bool) -> Arguments:
    return [rng.normal(size=(rows, units)), rng.normal(size=(rows, inputs))], {"with_bias": bias}


def views(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(12, 9)).T, rng.normal(size=(12, 8))[:, ::-1]], {}


def off_boundary(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(9, 12)), rng.normal(size=12 * 8 + 1)[1:].reshape(12, 8)], {}


TRANSPOSES: list[dict[str, Any]] = [
    {},
    {"transpose_a": True},
    {"transpose_b": True},
    {"transpose_a": True, "transpose_b": True},
]

MATMULS = [
    *(
        Case(
            "matmul",
            f"{rows}x{columns}x{inner}-{options}",
            partial(matmul, rows=rows, columns=columns, inner=inner, options=options),
            terms=inner,
            dtypes=dtypes,
        )
        for (rows, columns, inner), dtypes in {
            (4, 64, 64): ("float32", "float64"),
            (37, 10, 65): ("float32", "float64"),
            (33, 36, 500): SINGLE,  # tiles have slices
            (20, 12, 4000): SINGLE,  # the sum is split
        }.items()
        for options in TRANSPOSES
    ),
    *(
        Case(
            "matmul",
            f"{activation}",
            partial(matmul, rows=5, columns=8, inner=12, options={"activation": activation}),
            terms=12,
            dtypes=ALL if activation == "relu" else SINGLE,
        )
        for activation in OUTPUT_ACTIVATIONS
    ),
    *(
        Case(
            "matmul",
            f"{rows}x{columns}x{inner}",
            partial(matmul, rows=rows, columns=columns, inner=inner, options=options),
            terms=max(inner, 1),
            dtypes=SINGLE,
        )
        for rows, columns, inner, options in (
            (1, 1, 1, {}),
            (0, 5, 3, {}),
            (3, 0, 3, {}),
            (3, 5, 0, {"activation": "relu"}),
            (1, 300, 17, {"bias": False}),
            (4, 6, 3000, {"activation": "sigmoid"}),  # split, then bias and activation
            (1024, 512, 20, {}),  # tiles of 128 x 128
            (1024, 200, 20, {}),
            (300, 290, 40, {"bias": False}),
        )
    ),
    *(
        Case(
            "matmul",
            f"stack-{shape}-{inner}-{options}",
            partial(stack, shape=shape, inner=inner, options=options),
            terms=inner,
            dtypes=SINGLE,
        )
        for shape, inner, options in (
            ((3, 37, 36), 20, {}),  # several tiles each
            ((3, 37, 36), 300, {}),
            *(((2, 13, 16), 4000, options) for options in TRANSPOSES),  # split sums
        )
    ),
    *(
        Case(
            "dense_backward_weight",
            f"{rows}x{inputs}x{units}-{'bias' if bias else 'no bias'}",
            partial(dense, rows=rows, inputs=inputs, units=units, bias=bias),
            terms=rows,
            dtypes=dtypes,
        )
        for rows, inputs, units, bias, dtypes in (
            (7, 5, 3, True, ("float32", "float64", "float16")),
            (130, 68, 32, True, ("float32",)),
            (40, 33, 66, False, ("float32",)),
            (1, 4, 1, True, ("float32",)),
        )
    ),
    Case("matmul", "views", views, terms=12),
    Case("matmul", "off-boundary", off_boundary, terms=12),
]


def rows_of(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return [rng.normal(size=shape)], {}


SUMS = [
    Case("bias_backward", f"{shape}", partial(rows_of, shape=shape), terms=1000, dtypes=dtypes)
    for shape, dtypes in {
        (4, 10): ("float32", "float64"),
        (2, 3, 5, 33): ALL,
        (1500, 7): ("float32", "float64"),  # several chunks
        (1, 1): SINGLE,
        (0, 4): SINGLE,
        (3, 0): SINGLE,
        (70, 4, 300): SINGLE,
    }.items()
]

# --- convolution

Shape = tuple[int, int, int, int]

# What tells them apart: (input shape, kernel shape without its channels, options).
CONVOLUTIONS: dict[str, tuple[Shape, tuple[int, int, int], dict[str, Any]]] = {
    "first layer": ((4, 28, 28, 1), (3, 3, 32), {}),
    "second layer": ((2, 13, 13, 32), (3, 3, 64), {}),
    "third layer": ((2, 5, 5, 64), (3, 3, 64), {}),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1), {}),
    "no image": ((0, 5, 5, 3), (3, 3, 4), {}),
    "1x1": ((2, 7, 5, 12), (1, 1, 8), {}),
    "same": ((2, 6, 7, 3), (3, 3, 5), {"padding": "same"}),
    "same, strides": ((3, 9, 8, 4), (3, 3, 8), {"padding": "same", "strides": 2}),
    "strides": ((2, 11, 13, 4), (3, 2, 4), {"strides": (2, 3)}),
    "dilation": ((2, 11, 9, 4), (3, 3, 4), {"dilation": (2, 3)}),
    "groups": ((2, 6, 6, 12), (3, 3, 6), {"groups": 3, "padding": 1}),
    "groups of 4": ((2, 6, 6, 8), (3, 3, 8), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 8, 8, 6), (3, 3, 6), {"groups": 6, "padding": "same"}),
    "depthwise of many pixels": (
        (3, 21, 21, 40),
        (3, 3, 40),
        {"groups": 40, "padding": "same", "strides": 2},
    ),
    "depthwise, several filters": (
        (2, 11, 9, 3),
        (3, 2, 6),
        {"groups": 3, "padding": ((2, 1), (0, 1)), "dilation": (2, 1), "strides": (1, 2)},
    ),
    "padding on one side": ((1, 5, 6, 2), (2, 4, 3), {"padding": ((3, 0), (0, 2))}),
    "all together": (
        (2, 12, 10, 6),
        (3, 2, 4),
        {"strides": (2, 1), "padding": ((1, 2), (2, 0)), "dilation": (1, 2), "groups": 2},
    ),
    "large kernel": ((1, 9, 9, 2), (7, 5, 3), {"padding": "same"}),
}
DTYPES = {
    "second layer": ("float32", "float64"),
    "depthwise, several filters": ALL,
    "all together": ALL,
    "strides": ALL,
}


def images(
    rng: np.random.Generator, name: str, activation: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Return x, a kernel, a bias and the options of a convolution."""
    shape, (height, width, filters), options = CONVOLUTIONS[name]
    channels = shape[3] // options.get("groups", 1)
    kernel = rng.normal(size=(height, width, channels, filters))
    x, bias = rng.normal(size=shape), rng.normal(size=filters)
    return x, kernel, bias, options | ({"activation": activation} if activation else {})


def forward(rng: np.random.Generator, name: str, activation: str | None) -> Arguments:
    x, kernel, bias, options = images(rng, name, activation)
    return [x, kernel, bias], options


def backward(rng: np.random.Generator, name: str, activation: str | None, of: str) -> Arguments:
    x, kernel, bias, options = images(rng, name, activation)
    y = reference.conv2d_forward(x, kernel, bias, **options)
    if activation:
        options["output"] = y
    output_grad = rng.normal(size=y.shape)
    if of == "input":
        return [output_grad, kernel, x.shape], options
    return [output_grad, x, kernel.shape], options | {"with_bias": of == "weight and bias"}


def terms(name: str, of: str) -> int:
    """Return how many products a sum has."""
    shape, (height, width, filters), options = CONVOLUTIONS[name]
    groups = options.get("groups", 1)
    kernel = (height, width, shape[3] // groups, filters)
    g = conv2d_geometry(shape, kernel, **options)
    if of.startswith("weight"):
        return max(1, g.output_shape[0] * g.output_shape[1] * g.output_shape[2])
    return height * width * (filters if of == "input" else shape[3]) // groups


def convolution_cases(name: str, activation: str | None, dtypes: tuple[str, ...]) -> list[Case]:
    label = f"{name}, {activation}"
    makes: dict[str, tuple[str, Any]] = {"output": ("conv2d_forward", forward)}
    for of in ("input", "weight", "weight and bias"):
        kind = of.split()[0]
        makes[of] = (f"conv2d_backward_{kind}", partial(backward, of=of))
    return [
        Case(
            primitive,
            f"{label}, {of}",
            partial(make, name=name, activation=activation),
            terms=terms(name, of),
            dtypes=dtypes,
        )
        for of, (primitive, make) in makes.items()
    ]


CASES = [
    *MATMULS,
    *SUMS,
    *(
        case
        for name in CONVOLUTIONS
        for activation in (None, "relu")
        for case in convolution_cases(name, activation, DTYPES.get(name, SINGLE))
    ),
    *(
        case
        for activation in OUTPUT_ACTIVATIONS[1:]
        for case in convolution_cases("same", activation, SINGLE)
    ),
]
