"""The operations that networks are made of: arrays in, arrays out, no gradients recorded.

The type of the arrays decides what runs: NumPy arrays, the functions of `reference`, or where Numba
is installed those of `fast`; CuPy arrays, a CUDA kernel. Images are (batch, height, width,
channels), kernels (height, width, channels / groups, filters), of float32 or float64, on the GPU
also float16 or bfloat16 with sums in float32; results have the type of their inputs.

>>> import numpy as np
>>> activate(np.array([-1.0, 2.0]), "relu")
array([0., 2.])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gpunet.primitives import reference, shapes
from gpunet.primitives.activation import (
    OUTPUT_ACTIVATIONS,
    RELU,
    Activation,
    activate,
    activate_backward,
    as_activation,
    saves_output,
)
from gpunet.primitives.checks import check_array
from gpunet.primitives.partial_sums import Parts, leaving_parts
from gpunet.primitives.softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
)
from gpunet.primitives.stages import LARGE_STAGE, LossAndGrads, Stage
from gpunet.primitives.twins import twins_for, use_twins

__all__ = [
    "LARGE_STAGE",
    "OUTPUT_ACTIVATIONS",
    "RELU",
    "Activation",
    "LossAndGrads",
    "Parts",
    "Stage",
    "activate",
    "activate_backward",
    "adam_update",
    "as_activation",
    "average_pool2d_backward",
    "average_pool2d_forward",
    "bias_backward",
    "chain_backward",
    "chain_cross_entropy",
    "chain_forward",
    "chain_forward_kept",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
    "dropout_backward",
    "dropout_forward",
    "gather_batch",
    "leaving_parts",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "reference",
    "rescale_forward",
    "saves_output",
    "sgd_update",
    "shapes",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "use_twins",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _by_array(
    oracle: Callable[Arguments, Result], *, any_numbers: bool = False
) -> Callable[Arguments, Result]:
    """Return the primitive of which `oracle` is the twin in `reference`.

    Its first argument is an array of floating-point numbers, or with `any_numbers` of integers or
    bools too.
    """
    signature = inspect.signature(oracle)
    name = oracle.__name__

    @functools.wraps(oracle)
    def primitive(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not args:
            bound = signature.bind(**kwargs)
            args, kwargs = bound.args, bound.kwargs  # type: ignore[assignment]
        twins = twins_for(*args, *kwargs.values())
        check_array(name, args[0], twins, any_numbers=any_numbers)
        return getattr(twins, name)(*args, **kwargs)

    return primitive


adam_update = _by_array(reference.adam_update)
average_pool2d_backward = _by_array(reference.average_pool2d_backward)
average_pool2d_forward = _by_array(reference.average_pool2d_forward)
bias_backward = _by_array(reference.bias_backward)
chain_backward = _by_array(reference.chain_backward)
chain_cross_entropy = _by_array(reference.chain_cross_entropy)
chain_forward = _by_array(reference.chain_forward)
chain_forward_kept = _by_array(reference.chain_forward_kept)
conv2d_backward_input = _by_array(reference.conv2d_backward_input)
conv2d_backward_weight = _by_array(reference.conv2d_backward_weight)
conv2d_forward = _by_array(reference.conv2d_forward)
conv2d_max_pool_backward_input = _by_array(reference.conv2d_max_pool_backward_input)
conv2d_max_pool_backward_weight = _by_array(reference.conv2d_max_pool_backward_weight)
conv2d_max_pool_forward = _by_array(reference.conv2d_max_pool_forward)
dropout_backward = _by_array(reference.dropout_backward)
dropout_forward = _by_array(reference.dropout_forward)
gather_batch = _by_array(reference.gather_batch, any_numbers=True)
matmul = _by_array(reference.matmul)
max_pool2d_backward = _by_array(reference.max_pool2d_backward)
max_pool2d_forward = _by_array(reference.max_pool2d_forward)
rescale_forward = _by_array(reference.rescale_forward, any_numbers=True)
sgd_update = _by_array(reference.sgd_update)
