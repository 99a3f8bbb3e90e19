"""Arrays on the device, as the tests want them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

__all__ = ["to_device"]


def to_device(array: np.ndarray[Any, Any]) -> Any:
    """Return a copy on the device; of a view, a view, of which every second element is skipped."""
    cupy = importlib.import_module("cupy")
    try:
        copy = cupy.array(np.ascontiguousarray(array))
    except (TypeError, ValueError) as error:
        if array.dtype.name != "bfloat16":
            raise
        pytest.skip(f"CuPy {cupy.__version__} takes no bfloat16, as CuPy 14 does: {error}")
    if array.flags.c_contiguous:
        return copy
    view = cupy.empty((*array.shape[:-1], 2 * array.shape[-1]), copy.dtype)[..., ::2]
    view[...] = copy
    return view
