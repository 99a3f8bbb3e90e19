"""Kernels that Numba compiles when they are first called, and keeps on disk for later processes."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config, event, types

__all__ = [
    "BYTES",
    "BYTES_IN",
    "FLOATS",
    "FLOATS_IN",
    "INTS",
    "INTS_IN",
    "count_ready",
    "formula",
    "helper",
    "kernel",
    "part",
]

# Arrays as kernels take them: flat and contiguous. Those called IN are only read.
FLOATS = types.Array(types.float32, 1, "C")
FLOATS_IN = types.Array(types.float32, 1, "C", readonly=True)
BYTES = types.Array(types.uint8, 1, "C")
BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
INTS = types.Array(types.int64, 1, "C")
INTS_IN = types.Array(types.int64, 1, "C", readonly=True)

_lock = threading.RLock()  # one thread compiles at a time
_ready: list[str] = []  # the kernels that are compiled in this process

# Neither can be called from C, helpers not from Python: a third of the time to compile is less.
_options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

# A function that kernels call; it becomes part of theirs.
helper = numba.njit(**_options, no_cpython_wrapper=True)

# One that is called in one place, and is put there before anything is compiled.
part = numba.njit(**_options, no_cpython_wrapper=True, inline="always")

# One that is put into each loop that calls it, which LLVM else would not make vectors of.
formula = numba.njit(**_options, no_cpython_wrapper=True, forceinline=True)


def kernel(*parameters: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a kernel for arguments of these Numba types: no other types are compiled."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        compiled: list[Callable[..., None]] = []

        @functools.wraps(function)
        def call(*arguments: Any) -> None:
            if not compiled:
                with _lock:
                    if not compiled:
                        compiled.append(_compile(function, types.void(*parameters)))
                        _ready.append(function.__name__)
            compiled[0](*arguments)

        return call

    return decorate


def count_ready() -> int:
    """Return how many kernels are compiled in this process, or were found on the disk."""
    return len(_ready)


def _compile(function: Callable[..., None], signature: Any) -> Callable[..., None]:
    """Return the function as machine code: from the disk if it was compiled there before."""
    folder, before = _cache_folder(), config.CACHE_DIR
    with event.install_listener("numba:compile", _Message()):
        if folder is None:
            return numba.njit(signature, **_options)(function)
        config.CACHE_DIR = str(folder)
        try:
            return numba.njit(signature, cache=True, **_options)(function)
        finally:
            config.CACHE_DIR = before


@functools.cache
def _cache_folder() -> Path | None:
    """Return where compiled kernels are kept, None if nothing can be written anywhere.

    It is ``NUMBA_CACHE_DIR`` if that is set, else beside this file, else in the home of the user.
    What the sources are goes into its name: Numba itself looks at no more than the file of a
    kernel, not at those of the functions that it calls.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.glob("*.py")):
        digest.update(path.read_bytes())
    name = f"gpunet-{digest.hexdigest()[:16]}"
    beside, home = here / "__pycache__", Path.home() / ".cache" / "gpunet"
    for parent in [Path(config.CACHE_DIR)] if config.CACHE_DIR else [beside, home]:
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK):
            return parent / name
    return None


class _Message(event.Listener):
    """Says that kernels are compiled, once a process, if that happens at all."""

    said = False

    def on_start(self, event: Any) -> None:
        if not _Message.said:
            _Message.said = True
            kept = "once" if _cache_folder() else "anew in each process (no folder to keep them)"
            print(
                f"gpunet: compiling kernels for this processor, {kept}: some 20 s in all.",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        """Nothing is said."""
