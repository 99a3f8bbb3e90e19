"""Differentiable functions: each takes tensors or arrays and returns a tensor.

Functions of arrays have NumPy's names, functions of networks have Keras'. On symbols they return
symbols.
"""

# ruff: noqa: F403
from gpunet.functions import operators as operators  # puts the operators onto Tensor
from gpunet.functions.activation import *
from gpunet.functions.attention import *
from gpunet.functions.chain import *
from gpunet.functions.composed_activation import *
from gpunet.functions.convolution import *
from gpunet.functions.ctc import *
from gpunet.functions.einsum import *
from gpunet.functions.elementwise import *
from gpunet.functions.embedding import *
from gpunet.functions.linear import *
from gpunet.functions.normalization import *
from gpunet.functions.pooling import *
from gpunet.functions.recurrent import *
from gpunet.functions.reduction import *
from gpunet.functions.regularization import *
from gpunet.functions.resizing import *
from gpunet.functions.shaping import *
from gpunet.functions.softmax import *
from gpunet.functions.spatial import *
from gpunet.functions.upsampling import *
from gpunet.naming import public_names

__all__ = public_names(globals())
