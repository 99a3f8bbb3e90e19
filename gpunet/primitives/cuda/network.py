"""A network: the kernels of its operations, one after another."""

from __future__ import annotations

from gpunet.primitives.cuda import activation, conv_pool, convolution, linear, pooling
from gpunet.primitives.network_operations import Primitives

__all__ = ["network_forward"]

network_forward = Primitives.of(activation, conv_pool, convolution, linear, pooling).network_forward
