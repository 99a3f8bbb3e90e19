"""How precise products of float32 arrays are on a GPU: by choice less than float32, and faster.

Arrays stay float32, and so do sums. With ``"tf32"`` and ``"bf16"`` the factors of matrix products
and convolutions, and of their gradients, are rounded, and tensor cores multiply them. What runs on
NumPy arrays computes in full precision always, and so do arrays of other types.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar

import numpy as np
from numpy.typing import DTypeLike

from gpunet.naming import find
from gpunet.primitives import launch

__all__ = [
    "PRECISIONS",
    "check_precision",
    "get_precision",
    "precision_of",
    "set_precision",
    "use_precision",
]

PRECISIONS = {
    "fp32": "float32 throughout",
    "tf32": "factors of 11 bits, on tensor cores",
    "bf16": "factors of 8 bits, bfloat16, on tensor cores",
}
_LEAST_CAPABILITY = (8, 0)  # of a device, for tf32 and bf16

_precision = "fp32"  # of all threads
# Of a thread's own, in place of it: a model's choice while it is trained or asked.
_chosen: ContextVar[str | None] = ContextVar("precision", default=None)


def set_precision(name: str) -> AbstractContextManager[object]:
    """Choose how products of float32 arrays are computed on a GPU, from now on or for a block.

    Arguments:
        name: ``"fp32"``, the default; ``"tf32"``, whose factors are rounded to 11 significant bits,
            to about 0.05 %; or ``"bf16"``, to 8 bits and about 0.4 %.

    Raises:
        ValueError: if the name is unknown, or the GPU has no tensor cores that compute so; nothing
            is changed.

    >>> with set_precision("tf32"):
    ...     get_precision()
    'tf32'
    >>> get_precision()
    'fp32'
    """
    check_precision(name, f"set_precision({name!r})")
    at_exit = ExitStack()
    at_exit.callback(_set, _precision)
    _set(name)
    return at_exit


def _set(name: str) -> None:
    global _precision
    _precision = name


def get_precision() -> str:
    """Return how products of float32 arrays are computed on a GPU: 'fp32', 'tf32' or 'bf16'."""
    return _chosen.get() or _precision


@contextmanager
def use_precision(name: str | None) -> Iterator[None]:
    """Use a precision inside the block, in this thread; None for that of `set_precision`."""
    token = _chosen.set(name or _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def check_precision(name: str, where: str) -> None:
    """Raise unless there is such a precision and the current device, if there is one, has it.

    Raises:
        TypeError: if it is no name.
        ValueError: if the name is unknown, or the device has no such tensor cores.
    """
    if not isinstance(name, str):
        raise TypeError(f"{where}: expected 'fp32', 'tf32' or 'bf16', received {name!r}.")
    find("precision", name, PRECISIONS)
    capability = None if name == "fp32" else launch.compute_capability()
    if capability is not None and capability < _LEAST_CAPABILITY:
        raise ValueError(
            f"{where}: {name} needs a GPU of compute capability 8.0 or later (Ampere, 2020), this "
            f"one has {capability[0]}.{capability[1]}: use 'fp32'."
        )


def precision_of(dtype: DTypeLike) -> str:
    """Return how a product of arrays of `dtype` is to be computed on the current device.

    Raises:
        ValueError: as `check_precision`.
    """
    name = get_precision() if dtype == np.float32 else "fp32"
    if name != "fp32":
        check_precision(name, "a product on the GPU")
    return name
