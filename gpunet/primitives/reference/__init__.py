"""Twins for NumPy arrays: plain, correct, and the oracle of the other twins."""

from __future__ import annotations

from gpunet.primitives.reference.activation import (
    activate,
    activate_backward,
)
from gpunet.primitives.reference.batch import gather_batch, rescale_forward
from gpunet.primitives.reference.chain import (
    chain_backward,
    chain_cross_entropy,
    chain_forward,
    chain_forward_kept,
)
from gpunet.primitives.reference.conv_pool import (
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    conv2d_max_pool_forward,
)
from gpunet.primitives.reference.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.reference.dropout import dropout_backward, dropout_forward
from gpunet.primitives.reference.linear import bias_backward, matmul
from gpunet.primitives.reference.pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from gpunet.primitives.reference.softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
)
from gpunet.primitives.reference.update import adam_update, sgd_update, squares_are_finite

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
