"""Kernels that Numba compiles when they are first called, and caches on disk.

Trouble with the cache is never an error: a damaged file is removed, and what cannot be saved is
compiled again in the next process. Each kind of trouble is warned of once a process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numba
import numpy as np
from numba import types
from numba.core import config, event
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from gpunet.background import call_in_background
from gpunet.folders import temporary_cache_folder, user_cache_folder
from gpunet.fork import wait_before_fork

__all__ = [
    "Bytes",
    "BytesIn",
    "Doubles",
    "Floats",
    "FloatsIn",
    "Ints",
    "IntsIn",
    "Words",
    "count_ready",
    "formula",
    "helper",
    "kernel",
    "part",
    "uncounted_kernel",
]

# Arrays as kernels take them: flat and contiguous. Those called In are only read.
Floats = Annotated[Any, types.Array(types.float32, 1, "C")]
FloatsIn = Annotated[Any, types.Array(types.float32, 1, "C", readonly=True)]
Doubles = Annotated[Any, types.Array(types.float64, 1, "C")]
Bytes = Annotated[Any, types.Array(types.uint8, 1, "C")]
BytesIn = Annotated[Any, types.Array(types.uint8, 1, "C", readonly=True)]
Ints = Annotated[Any, types.Array(types.int64, 1, "C")]
Words = Annotated[Any, types.Array(types.int32, 1, "C")]
IntsIn = Annotated[Any, types.Array(types.int64, 1, "C", readonly=True)]

_NUMBERS = {
    int: types.int64,
    bool: types.boolean,
    float: types.float64,
    np.float32: types.float32,
}

_lock = wait_before_fork(threading.RLock())  # one thread compiles at a time
_ready: list[str] = []  # the kernels that are compiled in this process

# Neither can be called from C, helpers not from Python: a third of the time to compile is less.
_options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

# A function that kernels call; it becomes part of theirs.
helper = numba.njit(**_options, no_cpython_wrapper=True)

# One that is called in one place, and is put there before anything is compiled.
part = numba.njit(**_options, no_cpython_wrapper=True, inline="always")

# One that is put into each loop that calls it, which LLVM else would not make vectors of.
formula = numba.njit(**_options, no_cpython_wrapper=True, forceinline=True)


def kernel(
    function: Callable[..., None], counted: bool = True, **others: Any
) -> Callable[..., None]:
    """Return the function as a kernel, for arguments of the types that it is annotated with.

    Arguments:
        function: its parameters are numbers, arrays such as `FloatsIn`, or NamedTuples of integers.
        counted: whether references to arrays are counted, which takes time in each call of a
            helper; a kernel that makes arrays, or assigns to slices of them, needs that.
        others: the types of parameters for which the annotation names none.
    """
    compiled: list[Callable[..., None]] = []

    def prepare() -> None:
        with _lock:
            if not compiled:
                compiled.append(_compile(function, _signature(function, others), counted))
                _ready.append(function.__name__)

    @functools.wraps(function)
    def call(*arguments: Any) -> None:
        if not compiled:
            call_in_background(prepare)  # Numba loses interrupts, and code that it compiled
        compiled[0](*arguments)

    return call


def _signature(function: Callable[..., None], others: dict[str, Any]) -> Any:
    """Return the Numba types of a kernel's parameters."""
    hints = get_type_hints(function, include_extras=True) | others
    del hints["return"]
    return types.void(*map(_numba_type, hints.values()))


def _numba_type(hint: Any) -> Any:
    if hasattr(hint, "__metadata__"):  # of `Annotated`
        return hint.__metadata__[0]
    if hint in _NUMBERS:
        return _NUMBERS[hint]
    return types.NamedUniTuple(types.int64, len(hint._fields), hint)


uncounted_kernel = functools.partial(kernel, counted=False)
"""`kernel` for loops of short helpers on arrays, which it calls without counting references."""


def count_ready() -> int:
    """Return how many kernels are compiled in this process, or were found on the disk."""
    return len(_ready)


def _compile(
    function: Callable[..., None], signature: Any, counted: bool = True
) -> Callable[..., None]:
    """Return the function as machine code: loaded from the cache, or compiled and saved there."""
    compiled = numba.njit(**_options, _nrt=counted)(function)
    cache = _open_cache(function)
    if cache is not None:
        compiled._cache = cache
    with event.install_listener("numba:compile", _Message()):
        compiled.compile(signature)
    compiled.disable_compile()
    return compiled


class _CheckedResult(CompileResultCacheImpl):
    """A compiled kernel in a file, with a checksum: damaged machine code does not run."""

    def reduce(self, compiled: Any) -> tuple[bytes, bytes]:
        data = dumps(super().reduce(compiled))
        return hashlib.sha256(data).digest(), data

    def rebuild(self, target: Any, saved: tuple[bytes, bytes]) -> Any:
        checksum, data = saved
        if hashlib.sha256(data).digest() != checksum:
            raise ValueError("its checksum is wrong")
        return super().rebuild(target, pickle.loads(data))


class _Cache(FunctionCache):
    """The files of one kernel; no trouble with them keeps the kernel from being compiled."""

    _impl_class = _CheckedResult

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the kernel if it is in the cache; a file that cannot be read is removed."""
        try:
            return super().load_overload(signature, target)
        except Exception as error:
            for path in Path(self.cache_path).glob(f"{self._impl.filename_base}.*"):
                with suppress(OSError):
                    path.unlink()
            _warn_once(
                "damaged",
                f"A cached kernel cannot be read and is compiled again: {self._impl.filename_base} "
                f"in {self.cache_path} ({_one_line(error)}).",
            )
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Save a kernel, if that is possible."""
        try:
            super().save_overload(signature, compiled)
        except Exception as error:
            _warn_unsaved(self.cache_path, error)


def _open_cache(function: Callable[..., None]) -> _Cache | None:
    """Return the cache of a kernel in `_cache_folder`; None where there is no such folder."""
    folder, before = _cache_folder(), config.CACHE_DIR
    if folder is None:
        return None
    config.CACHE_DIR = str(folder)
    try:
        cache = _Cache(function)
        if not Path(cache.cache_path).is_relative_to(folder):  # Numba chose one of its own
            raise PermissionError("Numba cannot write there")
        return cache
    except (OSError, RuntimeError) as error:
        _warn_unsaved(folder, error)
        return None
    finally:
        config.CACHE_DIR = before


def _warn_unsaved(folder: Path | str, error: Exception) -> None:
    _warn_once(
        "unsaved",
        f"Compiled kernels cannot be saved in {folder} ({_one_line(error)}): each process compiles "
        "them again, some 30 s in all. Make room there, or set NUMBA_CACHE_DIR to another folder.",
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


_warned: set[str] = set()


def _warn_once(kind: str, message: str) -> None:
    """Warn, unless this process has warned of the same kind of trouble."""
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(message, RuntimeWarning, stacklevel=2)


@functools.cache
def _cache_folder() -> Path | None:
    """Return the folder of compiled kernels, None if nothing can be written anywhere.

    It is in ``NUMBA_CACHE_DIR`` if that is set; else beside this file, or in the user's cache
    folder. Where these cannot be written it is in the system's temporary folder.
    Its name holds a hash of the sources: Numba compares the file of a kernel alone, not those of
    the functions that the kernel calls.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.glob("*.py")):
        digest.update(path.read_bytes())
    name = f"gpunet-{digest.hexdigest()[:16]}"
    set_by_user = config.CACHE_DIR
    if set_by_user:
        places = [lambda: Path(set_by_user)]
    else:
        places = [lambda: here / "__pycache__", user_cache_folder]
    refused = f"No compiled kernels can be saved in {set_by_user or f'{here} or a home folder'}"
    for place in [*places, lambda: temporary_cache_folder(refused)]:
        with suppress(OSError):
            folder = place() / name
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None


class _Message(event.Listener):
    """Print that kernels are compiled, once a process, if that happens at all."""

    said = False

    def on_start(self, event: Any) -> None:
        if not _Message.said:
            _Message.said = True
            kept = "once" if _cache_folder() else "anew in each process (no folder to keep them)"
            text = f"gpunet: compiling kernels for this processor, {kept}: some 30 s in all."
            print(text, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Print nothing."""
