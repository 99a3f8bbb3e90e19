"""The operations of networks: arrays in, arrays out, no gradients recorded.

The type of the arrays decides what runs. For NumPy arrays it is `fast` if Numba is installed, else
`reference`; for CuPy arrays it is `cuda`. Images are (batch, height, width,
channels), kernels (height, width, channels / groups, filters), of float32 or float64, on the GPU
also float16 or bfloat16 with sums in float32; results have the type of their inputs.

>>> import numpy as np
>>> activate(np.array([-1.0, 2.0]), "relu")
array([0., 2.])
"""

# ruff: noqa: F403

from __future__ import annotations

from gpunet.primitives import cuda, geometry, reference, shapes
from gpunet.primitives.activation import *
from gpunet.primitives.activation_table import (
    OUTPUT_ACTIVATIONS,
    RELU,
    Activation,
    as_activation,
    saves_output,
)
from gpunet.primitives.arithmetic import *
from gpunet.primitives.attention import *
from gpunet.primitives.augmentation import *
from gpunet.primitives.batch import *
from gpunet.primitives.chain import *
from gpunet.primitives.convolution import *
from gpunet.primitives.dropout import *
from gpunet.primitives.embedding import *
from gpunet.primitives.linear import *
from gpunet.primitives.names import PRIMITIVES
from gpunet.primitives.network import *
from gpunet.primitives.network_operations import Network
from gpunet.primitives.normal import *
from gpunet.primitives.normalization import *
from gpunet.primitives.partial_sums import Parts, leaving_parts
from gpunet.primitives.pooling import *
from gpunet.primitives.recurrent import *
from gpunet.primitives.softmax import *
from gpunet.primitives.stages import LARGE_STAGE, LossAndGrads, Stage
from gpunet.primitives.twins import twins_for, use_twins
from gpunet.primitives.update import *

__all__ = [
    *PRIMITIVES,
    "LARGE_STAGE",
    "OUTPUT_ACTIVATIONS",
    "RELU",
    "Activation",
    "LossAndGrads",
    "Network",
    "Parts",
    "Stage",
    "as_activation",
    "cuda",
    "geometry",
    "leaving_parts",
    "reference",
    "saves_output",
    "shapes",
    "twins_for",
    "use_twins",
]
