"""Twins for CuPy arrays: each makes its result and launches kernels."""

# ruff: noqa: F403

from __future__ import annotations

from gpunet.primitives.cuda.activation import *
from gpunet.primitives.cuda.arithmetic import *
from gpunet.primitives.cuda.attention import *
from gpunet.primitives.cuda.augmentation import *
from gpunet.primitives.cuda.batch import *
from gpunet.primitives.cuda.chain import *
from gpunet.primitives.cuda.conv_pool import *
from gpunet.primitives.cuda.convolution import *
from gpunet.primitives.cuda.dropout import *
from gpunet.primitives.cuda.embedding import *
from gpunet.primitives.cuda.linear import *
from gpunet.primitives.cuda.network import *
from gpunet.primitives.cuda.normal import *
from gpunet.primitives.cuda.normalization import *
from gpunet.primitives.cuda.pooling import *
from gpunet.primitives.cuda.recurrent import *
from gpunet.primitives.cuda.reduction import *
from gpunet.primitives.cuda.softmax import *
from gpunet.primitives.cuda.update import *
from gpunet.primitives.names import PRIMITIVES

__all__ = list(PRIMITIVES)

FLOATS = ("float32", "float64", "float16", "bfloat16")
"""The element types that these twins take."""
