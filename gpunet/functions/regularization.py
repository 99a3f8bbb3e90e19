"""Dropout."""

from __future__ import annotations

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable
from gpunet.backend import asarray

__all__ = ["dropout"]


@differentiable
def dropout(x: Array, key: Array, *, rate: float) -> Result:
    """Return `x` with a share `rate` of its elements set to 0, the others scaled to make up.

    Arguments:
        x: any shape.
        key: selects the random numbers; from `gpunet.random.next_key()`.
        rate: from 0 to below 1.

    Raises:
        TypeError, ValueError: `key` is no key, or `rate` is out of range.
    """
    # On a GPU the kernel reads its key there, so that a captured step can be run with others.
    key, rate = asarray(key, like=x), float(rate)
    return primitives.dropout_forward(x, key, rate=rate), lambda output_grad: (
        primitives.dropout_backward(output_grad, key, rate=rate),
    )
