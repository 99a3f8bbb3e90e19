"""How much memory a call takes, for the tests of the primitives."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from gpunet.primitives.reference import memory


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most bytes that `run` holds at once, none of them kept from before."""
    run()  # what is compiled or remembered at the first call is not meant
    memory._unused.clear()
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
