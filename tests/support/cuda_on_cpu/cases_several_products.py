"""Cases of several products by one launch: layers of one input, and gradients of many kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import Parts, Stage, cuda, leaving_parts, reference
from tests.support.doors import Doors

from .cases import Arguments, Case

# Of each convolution the image's and the kernel's shape, strides, and whether there is a bias; then
# of each dense layer rows, inputs and units.
SMALL = [  # the first and the last go into one launch: their numbers are loaded as many at once
    ((2, 5, 6, 3), (3, 3, 3, 4), 1, True),
    ((2, 7, 7, 4), (1, 1, 4, 8), 2, False),
    ((2, 6, 9, 3), (4, 8, 3, 68), 1, True),  # the row of the bias is a tile by itself
]
DENSE = [(5, 3, 2), (40, 36, 36), (1, 1, 1), (70, 8, 12)]


def several(
    rng: np.random.Generator, count: int, activation: str | None, convolutions: bool = True
) -> Arguments:
    """Return the stages, inputs and gradients of `count` layers, most of them dense."""
    layers = []
    for number in range(count):
        if convolutions and number < len(SMALL):
            x_shape, kernel_shape, strides, bias = SMALL[number]
            out = [-(-size // strides) for size in x_shape[1:3]]
            grad_shape = (x_shape[0], *out, kernel_shape[3])
            options = ((strides, strides), "same")
        else:
            rows, inputs, units = DENSE[number % len(DENSE)]
            x_shape, kernel_shape, bias = (rows, inputs), (inputs, units), number % 2 == 0
            grad_shape, options = (rows, units), ()
        kernel = rng.normal(size=kernel_shape)
        shift = rng.normal(size=kernel_shape[-1]) if bias else None
        stage = Stage(kernel, shift, activation, *options)
        layers.append([rng.normal(size=grad_shape), rng.normal(size=x_shape), stage])
    return [layers], {}


def gradients(twins: Any, layers: Any) -> list[Any]:
    """Return the gradients of all kernels and biases, which wait for each other."""
    doors, found = Doors(twins), []
    with leaving_parts():
        for grad, x, stage in layers:
            _, kept = doors.chain_forward(x, [stage])
            found += doors.chain_backward(grad, x, [stage], kept)[1][0]
    return [grad.total() if isinstance(grad, Parts) else grad for grad in found]


def each(rng: np.random.Generator, sizes: tuple[int, int], units: tuple[int, ...]) -> Arguments:
    kernels = [rng.normal(size=(sizes[1], count)) for count in units]
    biases = [rng.normal(size=count) if i % 2 == 0 else None for i, count in enumerate(units)]
    return [rng.normal(size=sizes), kernels, biases], {}


def each_backward(
    rng: np.random.Generator, sizes: tuple[int, int], units: tuple[int, ...]
) -> Arguments:
    (_, kernels, _), _ = each(rng, sizes, units)
    return [[rng.normal(size=(sizes[0], count)) for count in units], kernels], {}


EACH = [((7, 5), (3, 3, 3)), ((70, 36), (20, 20, 20, 20)), ((3, 9), (4, 5)), ((40, 16), (33,))]

CASES = [
    *(
        Case(
            "weight_products", f"{count}-{activation}-{'mixed' if mixed else 'dense'}",
            partial(several, count=count, activation=activation, convolutions=mixed),
            terms=100, dtypes=dtypes,
            function=partial(gradients, cuda), oracle=partial(gradients, reference),
        )
        for count, activation, mixed, dtypes in (
            (4, None, True, ("float32", "float64")),
            (5, "relu", True, ("float32",)),
            (18, None, False, ("float32",)),  # more than a launch takes
        )
    ),
    *(
        Case(
            name, f"{sizes}-{units}", partial(make, sizes=sizes, units=units),
            terms=sizes[1] if name == "dense_each" else sum(units),
            dtypes=("float32", "float64") if i else ("float32", "float64", "float16"),
        )
        for i, (sizes, units) in enumerate(EACH)
        for name, make in (("dense_each", each), ("dense_each_backward_input", each_backward))
    ),
]  # fmt: skip
