"""The operations of networks: arrays in, arrays out, no gradients recorded.

The type of the arrays decides what runs. For NumPy arrays it is `fast` if Numba is installed, else
`reference`; for CuPy arrays it is `cuda`. Images are (batch, height, width,
channels), kernels (height, width, channels / groups, filters), of float32 or float64, on the GPU
also float16 or bfloat16 with sums in float32; results have the type of their inputs.

>>> import numpy as np
>>> relu_forward(np.array([-1.0, 2.0]))
array([0., 2.])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gpunet.primitives import cuda, geometry, reference, shapes
from gpunet.primitives.batch import gather_batch, rescale_forward
from gpunet.primitives.chain import (
    chain_backward,
    chain_cross_entropy,
    chain_forward,
    chain_forward_kept,
)
from gpunet.primitives.checks import OUTPUT_ACTIVATIONS, check_array
from gpunet.primitives.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.dropout import dropout_backward, dropout_forward
from gpunet.primitives.linear import bias_backward, matmul
from gpunet.primitives.partial_sums import Parts, leaving_parts
from gpunet.primitives.pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    conv2d_max_pool_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from gpunet.primitives.stages import LARGE_STAGE, LossAndGrads, Stage
from gpunet.primitives.twins import twins_for, use_twins
from gpunet.primitives.update import adam_update, sgd_update, squares_are_finite

__all__ = [
    "LARGE_STAGE",
    "OUTPUT_ACTIVATIONS",
    "LossAndGrads",
    "Parts",
    "Stage",
    "activation_backward",
    "adam_update",
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
    "cuda",
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "gather_batch",
    "gelu_backward",
    "gelu_forward",
    "geometry",
    "hard_sigmoid_backward",
    "hard_sigmoid_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "leaving_parts",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "reference",
    "relu_backward",
    "relu_forward",
    "rescale_forward",
    "selu_backward",
    "selu_forward",
    "sgd_update",
    "shapes",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "squares_are_finite",
    "tanh_backward",
    "tanh_forward",
    "twins_for",
    "use_twins",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _by_array(oracle: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the primitive whose reference twin is `oracle`."""
    signature = inspect.signature(oracle)
    name = oracle.__name__

    @functools.wraps(oracle)
    def primitive(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not args:
            bound = signature.bind(**kwargs)
            args, kwargs = bound.args, bound.kwargs  # type: ignore[assignment]
        twins = twins_for(*args, *kwargs.values())
        check_array(name, args[0], twins)
        return getattr(twins, name)(*args, **kwargs)

    return primitive


activation_backward = _by_array(reference.activation_backward)
elu_backward = _by_array(reference.elu_backward)
elu_forward = _by_array(reference.elu_forward)
gelu_backward = _by_array(reference.gelu_backward)
gelu_forward = _by_array(reference.gelu_forward)
hard_sigmoid_backward = _by_array(reference.hard_sigmoid_backward)
hard_sigmoid_forward = _by_array(reference.hard_sigmoid_forward)
leaky_relu_backward = _by_array(reference.leaky_relu_backward)
leaky_relu_forward = _by_array(reference.leaky_relu_forward)
log_softmax_backward = _by_array(reference.log_softmax_backward)
log_softmax_forward = _by_array(reference.log_softmax_forward)
relu_backward = _by_array(reference.relu_backward)
relu_forward = _by_array(reference.relu_forward)
selu_backward = _by_array(reference.selu_backward)
selu_forward = _by_array(reference.selu_forward)
sigmoid_backward = _by_array(reference.sigmoid_backward)
sigmoid_forward = _by_array(reference.sigmoid_forward)
silu_backward = _by_array(reference.silu_backward)
silu_forward = _by_array(reference.silu_forward)
softmax_backward = _by_array(reference.softmax_backward)
softmax_cross_entropy_backward = _by_array(reference.softmax_cross_entropy_backward)
softmax_cross_entropy_forward = _by_array(reference.softmax_cross_entropy_forward)
softmax_forward = _by_array(reference.softmax_forward)
softplus_backward = _by_array(reference.softplus_backward)
softplus_forward = _by_array(reference.softplus_forward)
tanh_backward = _by_array(reference.tanh_backward)
tanh_forward = _by_array(reference.tanh_forward)
