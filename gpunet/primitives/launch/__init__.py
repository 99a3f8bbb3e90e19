"""Launches of the kernels in kernels/*.cu: sources, arguments, and the seam to a GPU."""

from gpunet.primitives.launch.executor import (
    Executor,
    accumulator,
    address,
    compute_capability,
    constant,
    contiguous,
    current_executor,
    empty,
    multiprocessors,
    use_executor,
)
from gpunet.primitives.launch.grid import blocks_for, ceil_div, vector_width
from gpunet.primitives.launch.kernel import Kernel
from gpunet.primitives.launch.source import (
    Build,
    KernelSource,
    Launch,
    Parameter,
    full_source,
    kernel_names,
)

__all__ = [
    "Build",
    "Executor",
    "Kernel",
    "KernelSource",
    "Launch",
    "Parameter",
    "accumulator",
    "address",
    "blocks_for",
    "ceil_div",
    "compute_capability",
    "constant",
    "contiguous",
    "current_executor",
    "empty",
    "full_source",
    "kernel_names",
    "multiprocessors",
    "use_executor",
    "vector_width",
]
