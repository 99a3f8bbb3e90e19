"""A network by the other twins, for as many images at a time as stay in cache."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives.network_operations import Network, Primitives
from gpunet.primitives.reference import activation, conv_pool, convolution, linear, pooling
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.memory import empty

__all__ = ["network_forward"]

_PRIMITIVES = Primitives.of(activation, conv_pool, convolution, linear, pooling)


def network_forward(x: Array, network: Network, geometries: list[Any]) -> Array:
    """Return the output of the last operation."""
    shapes = [shape for _, shape in network.shapes(x.shape)]
    largest = max(math.prod(shape[1:]) for shape in shapes)
    y = empty(shapes[-1], x.dtype)
    for images in blocks_of(len(x), per_block(len(x), largest * x.itemsize)):
        part = x[images]
        y[images] = _PRIMITIVES.network_forward(part, network, network.geometries(part.shape))
    return y
