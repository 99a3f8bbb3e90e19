"""Twins for CuPy arrays: each makes its result and launches kernels."""

from __future__ import annotations

from gpunet.primitives.cuda.activation import (
    activate,
    activate_backward,
)
from gpunet.primitives.cuda.batch import gather_batch, rescale_forward
from gpunet.primitives.cuda.chain import (
    chain_backward,
    chain_cross_entropy,
    chain_forward,
    chain_forward_kept,
)
from gpunet.primitives.cuda.conv_pool import (
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    conv2d_max_pool_forward,
)
from gpunet.primitives.cuda.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.cuda.dropout import dropout_backward, dropout_forward
from gpunet.primitives.cuda.linear import matmul
from gpunet.primitives.cuda.pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from gpunet.primitives.cuda.reduction import bias_backward
from gpunet.primitives.cuda.softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
)
from gpunet.primitives.cuda.update import adam_update, sgd_update, squares_are_finite

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

FLOATS = ("float32", "float64", "float16", "bfloat16")
"""The element types that these twins take."""
