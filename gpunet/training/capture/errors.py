"""Find what cannot be captured, and where it is in the user's code."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpunet.layers.layer import Layer

__all__ = ["CaptureError", "no_copies_from_host", "place_of"]


class CaptureError(RuntimeError):
    """A step cannot be captured; the message gives the reason and the place."""


@contextmanager
def no_copies_from_host(xp: Any) -> Iterator[None]:
    """Refuse copies from the host, which CuPy would capture: their source is reused by replay.

    Arguments:
        xp: CuPy. All threads share its allocator; other threads than this get memory as usual.
    """
    pool, here = xp.get_default_pinned_memory_pool(), threading.get_ident()

    def refuse(size: int) -> Any:
        if threading.get_ident() != here:
            return pool.malloc(size)
        raise RuntimeError(
            "numbers of the host are copied to the GPU, which a captured step would not do "
            "again: make the array before, such as in build(), or use compile(capture=False)."
        )

    xp.cuda.set_pinned_memory_allocator(refuse)
    try:
        yield
    finally:
        xp.cuda.set_pinned_memory_allocator(pool.malloc)


def place_of(error: Exception) -> str:
    """Return where an error came from: the innermost layer, and the line of the user's code."""
    layer, line = "", ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        owner, module = frame.f_locals.get("self"), frame.f_globals.get("__name__", "")
        is_users = module.partition(".")[0] not in ("gpunet", "cupy")
        in_call = frame.f_code.co_name == "call"
        if in_call and isinstance(owner, Layer):
            layer = f"layer {owner.name!r}"
        if is_users and (in_call or not line):
            line = f"{Path(frame.f_code.co_filename).name}, line {number}"
    return "".join(f"{part}: " for part in (layer, line) if part)
