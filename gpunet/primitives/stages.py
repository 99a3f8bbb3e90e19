"""Layers one after another, as the primitive `chain_forward` takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpunet.primitives.checks import check_same_dtype
from gpunet.primitives.shapes import conv2d_max_pool_geometry

__all__ = ["Stage", "output_shape", "run_in_turn"]

Array = Any
Shape = tuple[int, ...]


class Stage(NamedTuple):
    """A convolution and the pooling of its output, or a dense layer.

    Attributes:
        kernel: (height, width, channels, filters), or (inputs, units) of a dense layer, which
            takes each image as a row.
        bias: (filters,) or (units,), or None.
        relu: whether outputs below 0 become 0.
        strides, padding, dilation: of the convolution.
        pool_size: outputs in a window of max pooling, side by side; (1, 1) for none.
    """

    kernel: Array
    bias: Array | None
    relu: bool
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)
    pool_size: tuple[int, int] = (1, 1)


def output_shape(sample: Shape, stage: Stage) -> Shape:
    """Return the shape of one sample of a stage's output, given that of its input.

    Raises:
        ValueError: the stage does not fit.
    """
    where = "chain_forward"
    if stage.kernel.ndim == 2:
        inputs, units = stage.kernel.shape
        if math.prod(sample) != inputs:
            raise ValueError(
                f"{where}: expected samples of {inputs} numbers for a kernel of shape "
                f"{stage.kernel.shape}, received samples of shape {sample}."
            )
        return (units,)
    pool = conv2d_max_pool_geometry(
        (1, *sample), stage.kernel.shape, stage.strides, stage.padding, stage.dilation, 1,
        stage.pool_size, where,
    )[1]  # fmt: skip
    return pool.output_shape[1:]


def run_in_turn(
    x: Array,
    stages: Sequence[Stage],
    conv2d_forward: Callable[..., Array],
    conv2d_max_pool_forward: Callable[..., tuple[Array, Array]],
    matmul: Callable[..., Array],
) -> Array:
    """Return the outputs of the last stage, by the primitives of one kind of arrays."""
    for stage in stages:
        activation = "relu" if stage.relu else None
        check_same_dtype("chain_forward", x, kernel=stage.kernel, bias=stage.bias)
        if stage.kernel.ndim == 2:
            rows = x.reshape(len(x), math.prod(x.shape[1:]))
            x = matmul(rows, stage.kernel, stage.bias, activation=activation)
            continue
        options = {
            "strides": stage.strides,
            "padding": stage.padding,
            "dilation": stage.dilation,
            "activation": activation,
        }
        if stage.pool_size == (1, 1):
            x = conv2d_forward(x, stage.kernel, stage.bias, **options)
        else:
            x = conv2d_max_pool_forward(
                x, stage.kernel, stage.bias, **options, pool_size=stage.pool_size
            )[0]
    return x
