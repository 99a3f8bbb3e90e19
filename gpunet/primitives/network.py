"""A network as one primitive, for inference: nothing is saved for gradients."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.network_operations import Network
from gpunet.primitives.twins import twins_of

__all__ = ["network_forward"]

Array = Any


def network_forward(x: Array, network: Network) -> Array:
    """Return the output of a network; its weights may be written to between two calls.

    Arguments:
        x: (batch, ...), of the type of the network's weights.
        network: the operations.

    Raises:
        TypeError: `x` has another type than the weights.
        ValueError: an operation does not fit what it reads.

    >>> import numpy as np
    >>> from gpunet.primitives.network_operations import Product, Sum
    >>> x, kernel = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> network_forward(x, Network([Product((0,), kernel, None), Sum((0, 1))]))
    array([[3., 3.]])
    """
    twins = twins_of("network_forward", x, *network.arrays[:1])
    if network.dtype not in (None, x.dtype):
        raise TypeError(
            f"network_forward: expected an input of {network.dtype}, the type of the weights, "
            f"received {x.dtype}: convert one of them."
        )
    return twins.network_forward(x, network, network.geometries(x.shape))
