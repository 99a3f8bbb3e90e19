"""Twins for NumPy arrays of float32, by Numba kernels on all cores.

Other element types, and options without a kernel, fall back to the twin in `reference`. The number
of threads changes no bit of a result.
"""

from __future__ import annotations

from gpunet.primitives.fast.activation import (
    activate,
    activate_backward,
)
from gpunet.primitives.fast.batch import (
    gather_batch,
    rescale_forward,
)
from gpunet.primitives.fast.chain import chain_forward
from gpunet.primitives.fast.conv_pool import (
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    conv2d_max_pool_forward,
)
from gpunet.primitives.fast.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.fast.linear import bias_backward, matmul
from gpunet.primitives.fast.pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from gpunet.primitives.fast.softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
)
from gpunet.primitives.fast.training import (
    chain_backward,
    chain_cross_entropy,
    chain_forward_kept,
)
from gpunet.primitives.fast.update import (
    adam_update,
    sgd_update,
)
from gpunet.primitives.reference import dropout_backward, dropout_forward, squares_are_finite

__all__ = [
    "activate",
    "activate_backward",
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
    "dropout_backward",
    "dropout_forward",
    "gather_batch",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "rescale_forward",
    "sgd_update",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "squares_are_finite",
]

FLOATS = ("float32", "float64")
"""The element types that these twins take."""
