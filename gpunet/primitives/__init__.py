"""The operations of networks: arrays in, arrays out, no gradients recorded.

The type of the arrays decides what runs. For NumPy arrays it is `fast` if Numba is installed, else
`reference`; for CuPy arrays it is `cuda`. Images are (batch, height, width,
channels), kernels (height, width, channels / groups, filters), of float32 or float64, on the GPU
also float16 or bfloat16 with sums in float32; results have the type of their inputs.

>>> import numpy as np
>>> activate(np.array([-1.0, 2.0]), "relu")
array([0., 2.])
"""

from __future__ import annotations

from gpunet.primitives import cuda, geometry, reference, shapes
from gpunet.primitives.activation import (
    OUTPUT_ACTIVATIONS,
    RELU,
    Activation,
    activate,
    activate_backward,
    as_activation,
    saves_output,
)
from gpunet.primitives.batch import gather_batch, rescale_forward
from gpunet.primitives.chain import (
    chain_backward,
    chain_cross_entropy,
    chain_forward,
    chain_forward_kept,
)
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
from gpunet.primitives.update import adam_update, sgd_update, squares_are_finite

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
    "cuda",
    "dropout_backward",
    "dropout_forward",
    "gather_batch",
    "geometry",
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
    "squares_are_finite",
    "twins_for",
    "use_twins",
]
