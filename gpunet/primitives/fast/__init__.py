"""Twins for NumPy arrays of float32, by Numba kernels on all cores.

Other element types, and options without a kernel, fall back to the twin in `reference`. The number
of threads changes no bit of a result.
"""

# ruff: noqa: F401, F403

from __future__ import annotations

from gpunet.primitives.fast.activation import *
from gpunet.primitives.fast.attention import *
from gpunet.primitives.fast.augmentation import *
from gpunet.primitives.fast.batch import *
from gpunet.primitives.fast.chain import *
from gpunet.primitives.fast.conv_pool import *
from gpunet.primitives.fast.convolution import *
from gpunet.primitives.fast.embedding import *
from gpunet.primitives.fast.linear import *
from gpunet.primitives.fast.network import *
from gpunet.primitives.fast.normalization import *
from gpunet.primitives.fast.pooling import *
from gpunet.primitives.fast.recurrent import *
from gpunet.primitives.fast.softmax import *
from gpunet.primitives.fast.training import *
from gpunet.primitives.fast.update import *
from gpunet.primitives.names import PRIMITIVES
from gpunet.primitives.reference import (
    add,
    dropout_backward,
    dropout_forward,
    moving_averages,
    normal_like,
    uniform_like,
)

__all__ = list(PRIMITIVES)

FLOATS = ("float32", "float64")
"""The element types that these twins take."""
