"""Memory that runs out: which batch it was for, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpunet.primitives.cupy_executor import DeviceMemoryError, memory_state

__all__ = ["memory_for"]


@contextmanager
def memory_for(samples: int) -> Iterator[None]:
    """Say how large the batch was, and which to try, if memory runs out inside.

    Raises:
        DeviceMemoryError: on a GPU, CuPy's own error of this kind included.
        MemoryError: on the CPU.
    """
    try:
        yield
    except MemoryError as error:
        advice = f"This batch has {samples} samples"
        advice += (
            f": try batch_size={samples // 2}." if samples > 1 else ", the fewest there can be."
        )
        if isinstance(error, DeviceMemoryError):
            raise DeviceMemoryError(f"{error} {advice}") from None
        # Where CuPy keeps its error has changed; its module has not.
        if type(error).__module__.partition(".")[0] == "cupy":
            raise DeviceMemoryError(f"{error} {memory_state()} {advice}") from error
        raise MemoryError(f"{error or 'Out of memory.'} {advice}") from error
