"""Launches of the kernels in kernels/*.cu: sources, arguments, and the seam to a GPU."""

# ruff: noqa: F403

from gpunet.primitives.launch import executor, grid, kernel, source
from gpunet.primitives.launch.executor import *
from gpunet.primitives.launch.grid import *
from gpunet.primitives.launch.kernel import *
from gpunet.primitives.launch.source import *

__all__ = [*executor.__all__, *grid.__all__, *kernel.__all__, *source.__all__]
