"""Differentiable functions: each takes tensors or arrays and returns a tensor.

Functions of arrays have NumPy's names, functions of networks have Keras'. On symbols they return
symbols.
"""

# ruff: noqa: F403, F405

from gpunet.functions import operators as operators  # puts the operators onto Tensor
from gpunet.functions.activation import *
from gpunet.functions.chain import *
from gpunet.functions.convolution import *
from gpunet.functions.elementwise import *
from gpunet.functions.linear import *
from gpunet.functions.pooling import *
from gpunet.functions.reduction import *
from gpunet.functions.regularization import *
from gpunet.functions.shaping import *
from gpunet.functions.softmax import *

__all__ = [
    "absolute",
    "activate",
    "add",
    "astype",
    "average_pool2d",
    "broadcast_to",
    "chain",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_max_pool",
    "cos",
    "dense",
    "divide",
    "dropout",
    "elu",
    "exp",
    "expand_dims",
    "gelu",
    "getitem",
    "hard_sigmoid",
    "hard_silu",
    "leaky_relu",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "pad",
    "power",
    "relu",
    "relu6",
    "rescale",
    "reshape",
    "selu",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "var",
    "where",
]
