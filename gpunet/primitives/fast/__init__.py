"""Twins for NumPy arrays of float32, by Numba kernels on all cores.

Other element types, and options without a kernel, fall back to the twin in `reference`. The number
of threads changes no bit of a result.
"""

from __future__ import annotations

from gpunet.primitives.fast.activation import (
    activation_backward,
    elu_backward,
    elu_forward,
    gelu_backward,
    gelu_forward,
    hard_sigmoid_backward,
    hard_sigmoid_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    selu_backward,
    selu_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    softplus_backward,
    softplus_forward,
    tanh_backward,
    tanh_forward,
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

FLOATS = ("float32", "float64")

__all__ = [
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
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "gather_batch",
    "gelu_backward",
    "gelu_forward",
    "hard_sigmoid_backward",
    "hard_sigmoid_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "relu_backward",
    "relu_forward",
    "rescale_forward",
    "selu_backward",
    "selu_forward",
    "sgd_update",
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
]
