"""Twins for NumPy arrays: plain, correct, and the oracle of the other twins."""

# ruff: noqa: F403

from __future__ import annotations

from gpunet.primitives.names import PRIMITIVES
from gpunet.primitives.reference.activation import *
from gpunet.primitives.reference.arithmetic import *
from gpunet.primitives.reference.attention import *
from gpunet.primitives.reference.augmentation import *
from gpunet.primitives.reference.batch import *
from gpunet.primitives.reference.chain import *
from gpunet.primitives.reference.conv_pool import *
from gpunet.primitives.reference.convolution import *
from gpunet.primitives.reference.dropout import *
from gpunet.primitives.reference.embedding import *
from gpunet.primitives.reference.linear import *
from gpunet.primitives.reference.network import *
from gpunet.primitives.reference.normal import *
from gpunet.primitives.reference.normalization import *
from gpunet.primitives.reference.pooling import *
from gpunet.primitives.reference.recurrent import *
from gpunet.primitives.reference.softmax import *
from gpunet.primitives.reference.update import *

__all__ = list(PRIMITIVES)

FLOATS = ("float32", "float64")
"""The element types that these twins take."""
