"""Errors for memory that runs out, with the size of the batch and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpunet.primitives.launch.cupy import DeviceMemoryError, memory_state

__all__ = ["memory_for"]


@contextmanager
def memory_for(samples: int | None) -> Iterator[None]:
    """Add the fix to the message if memory runs out inside.

    Arguments:
        samples: of the batch; None where it is the weights that need the memory.

    Raises:
        DeviceMemoryError: on a GPU, in place of CuPy's own error of this kind too.
        MemoryError: on the CPU.
    """
    try:
        yield
    except MemoryError as error:
        message = str(error) or "Out of memory."
        if isinstance(error, DeviceMemoryError):
            raise DeviceMemoryError(f"{message} {_advice(samples)}") from None
        if type(error).__module__.partition(".")[0] == "cupy":
            raise DeviceMemoryError(f"{message} {memory_state()} {_advice(samples)}") from error
        raise MemoryError(f"{message} {_advice(samples)}") from error


def _advice(samples: int | None) -> str:
    if samples is None:
        return (
            "It was for the weights, their gradients and the optimizer's slots: use fewer units or "
            "filters, or an optimizer with fewer slots."
        )
    if samples < 2:
        return f"This batch has {samples} sample: the model needs a smaller input or fewer units."
    return f"This batch has {samples} samples: try batch_size={samples // 2}."
