"""Where new arrays are made, and why: on the CPU by NumPy, or on the GPU by CuPy.

The type of an array decides where a primitive runs; the backend decides only what `asarray` makes.
It is chosen by ``GPUNET_BACKEND=auto|numpy|cupy`` or by `use_backend`. ``auto`` tries the GPU once,
when a backend is first needed, and keeps the reason where it stays on NumPy.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.fork import wait_before_fork
from gpunet.naming import find

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = [
    "GpuProbe", "GpuUnavailableError", "active_backend", "array_module", "asarray", "backend_fix",
    "backend_reason", "get_array_module", "kernel_folder", "kernel_source", "probe_gpu",
    "require_gpu", "to_numpy", "use_backend",
]  # fmt: skip

_VARIABLE = "GPUNET_BACKEND"
_NAMES = dict.fromkeys(("auto", "numpy", "cupy"))

_INSTALL = "pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]' for a CUDA 13 driver)"
_FIX_DEVICE = (
    "Install an NVIDIA driver and check that nvidia-smi lists a GPU; "
    "in a container, pass the GPU through (docker run --gpus all)."
)
_FIX_KERNEL = (
    f"Install the CuPy that matches the driver, with its compiler: {_INSTALL}; "
    "'nvidia-smi' prints the newest CUDA that the driver knows."
)


class GpuUnavailableError(RuntimeError):
    """The GPU was requested and cannot be used.

    Attributes:
        reason: one line that says why.
        fix: one line that says what to do.
    """

    def __init__(self, where: str, reason: str, fix: str) -> None:
        super().__init__(f"{where} needs the GPU, which is not in use. {reason} Fix: {fix}")
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True)
class GpuProbe:
    """The result of probing the GPU.

    Attributes:
        usable: True if gpunet can run on the GPU of this machine.
        reason: one line that says why, or why not.
        fix: one line that says what to do; empty if `usable`.
    """

    usable: bool
    reason: str
    fix: str = ""


@dataclass(frozen=True)
class _Choice:
    """A backend that is in force: its array module, and why it is this one."""

    module: ModuleType
    reason: str
    fix: str = ""


# Both are written under the lock and read without it: a reader sees None or a complete object.
_lock = wait_before_fork(threading.RLock())
_probed: GpuProbe | None = None
_choice: _Choice | None = None

# The library an array type belongs to; "" for what is no array. Filled as types are met.
_library_of_type: dict[type, str] = {np.ndarray: "numpy", type(None): "", int: "", float: ""}


def _find_library(kind: type) -> str:
    """Return "numpy", "cupy" or "" for a type not met before, and remember it."""
    library = ""
    for base in kind.__mro__:
        if base.__name__ == "ndarray" and base.__module__.partition(".")[0] in ("numpy", "cupy"):
            library = base.__module__.partition(".")[0]
            break
    _library_of_type[kind] = library
    return library


def _library(array: Any) -> str:
    """Return "numpy" or "cupy", or "" for what is no array; called on every primitive call."""
    kind = type(array)
    library = _library_of_type.get(kind)
    return _find_library(kind) if library is None else library


def get_array_module(*arrays: Any) -> ModuleType:
    """Return the module (`numpy` or `cupy`) whose arrays these are.

    None, scalars and other objects are ignored; if nothing is an array it is `numpy`. CuPy is
    never imported here: an array of CuPy can only come from an imported CuPy.

    Raises:
        TypeError: if NumPy and CuPy arrays are given together.

    >>> get_array_module(np.zeros(3), None, 2.0).__name__
    'numpy'
    """
    found = ""
    for array in arrays:
        library = _library_of_type.get(type(array))
        if library is None:
            library = _find_library(type(array))
        if library and library != found:
            if found:
                raise TypeError(_mixed_message(arrays))
            found = library
    return sys.modules["cupy"] if found == "cupy" else np


def _mixed_message(arrays: tuple[Any, ...]) -> str:
    named = {"numpy": "NumPy", "cupy": "CuPy"}
    listed = ", ".join(
        f"array {position} is {named[_library(array)]} {array.dtype}{tuple(array.shape)}"
        for position, array in enumerate(arrays)
        if _library(array)
    )
    return (
        f"Expected arrays of one library, received NumPy and CuPy arrays in one call: {listed}. "
        "Bring them to one side: cupy.asarray(x) copies x to the GPU, "
        "gpunet.backend.to_numpy(x) copies it to the CPU."
    )


def to_numpy(x: Any) -> np.ndarray:
    """Return `x` as a NumPy array: copied from the GPU if it is there, not copied if it is NumPy.

    Arguments:
        x: a NumPy or CuPy array, a number, a list, or whatever `numpy.asarray` accepts.

    >>> to_numpy([1, 2]).shape
    (2,)
    """
    return np.asarray(x.get() if _library(x) == "cupy" else x)


def asarray(x: Any, dtype: DTypeLike | None = None, *, like: Any = None) -> Any:
    """Return `x` as an array of the active backend, copied only if it lives elsewhere.

    Arguments:
        x: a NumPy or CuPy array, a number or a list.
        dtype: the element type of the result; by default that of `x`.
        like: an array; the result then lives where it does, whatever the active backend.

    >>> with use_backend("numpy"):
    ...     asarray([1.0, 2.0], dtype="float32")
    array([1., 2.], dtype=float32)
    """
    module = array_module() if like is None else get_array_module(like)
    if module is np and type(x) is not np.ndarray:
        x = to_numpy(x)
    return module.asarray(x, dtype=dtype)


def array_module() -> ModuleType:
    """Return the module (`numpy` or `cupy`) that makes new arrays."""
    return (_choice or _choose_by_environment()).module


def active_backend() -> str:
    """Return the name of the active backend: ``"numpy"`` or ``"cupy"``.

    Raises:
        ValueError: if ``GPUNET_BACKEND`` holds an unknown name.
        GpuUnavailableError: if ``GPUNET_BACKEND=cupy`` and the GPU cannot be used.
    """
    return "numpy" if array_module() is np else "cupy"


def backend_reason() -> str:
    """Return one line that says why the active backend is the active one."""
    return (_choice or _choose_by_environment()).reason


def backend_fix() -> str:
    """Return one line that says how to get to the GPU; empty if that is where new arrays are."""
    return (_choice or _choose_by_environment()).fix


def use_backend(name: str) -> AbstractContextManager[object]:
    """Choose where new arrays are made, from now on or for the length of a ``with`` block.

    Existing arrays stay where they are. The choice holds for the whole process, all its threads
    included, and goes before ``GPUNET_BACKEND``.

    Arguments:
        name: ``"auto"`` (the GPU where it can be used, else NumPy), ``"numpy"`` or ``"cupy"``.

    Raises:
        ValueError: if the name is unknown.
        GpuUnavailableError: if it is ``"cupy"`` and the GPU cannot be used; nothing is changed.

    >>> with use_backend("numpy"):
    ...     active_backend()
    'numpy'
    """
    if not isinstance(name, str):
        raise TypeError(
            f"use_backend expects a name, 'auto', 'numpy' or 'cupy', received {name!r}."
        )
    choice = _choose(name, "backend", f"use_backend({name!r})")
    with _lock:
        at_exit = ExitStack()
        at_exit.callback(_set_choice, _choice)
        _set_choice(choice)
    return at_exit


def _set_choice(choice: _Choice | None) -> None:
    global _choice
    _choice = choice


def require_gpu() -> None:
    """Return if new arrays are made on the GPU; raise otherwise.

    Raises:
        GpuUnavailableError: with the reason and the fix, if the active backend is NumPy.
    """
    choice = _choice or _choose_by_environment()
    if choice.module is np:
        raise GpuUnavailableError("require_gpu()", choice.reason, choice.fix)


def _choose_by_environment() -> _Choice:
    with _lock:
        if _choice is not None:
            return _choice
        name = os.environ.get(_VARIABLE, "").strip().lower() or "auto"
        choice = _choose(
            name, f"value of the environment variable {_VARIABLE}:", f"{_VARIABLE}={name}"
        )
        _set_choice(choice)
        return choice


def _choose(name: str, kind: str, where: str) -> _Choice:
    """Return the choice for a name; `kind` and `where` are for messages."""
    find(kind, name, _NAMES)
    if name == "numpy":
        return _Choice(np, f"{where} selects NumPy.", "Choose 'auto' or 'cupy' instead.")
    probe = probe_gpu()
    if probe.usable:
        return _Choice(sys.modules["cupy"], probe.reason)
    if name == "cupy":
        fix = f"{probe.fix} To stay on the CPU, choose 'auto' or 'numpy'."
        raise GpuUnavailableError(where, probe.reason, fix)
    return _Choice(np, probe.reason, probe.fix)


def probe_gpu() -> GpuProbe:
    """Return whether the GPU can be used; it is tried once, at the first call.

    That takes CuPy, a device, and a small kernel that compiles, runs and writes the right
    numbers. Nothing is raised and nothing is printed.
    """
    global _probed
    with _lock:
        if _probed is None:
            _probed = _try_gpu()
        return _probed


def _try_gpu() -> GpuProbe:
    """Take the steps from CuPy to a kernel that ran; the first that fails is the reason."""
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return GpuProbe(False, "CuPy is not installed.", f"With an NVIDIA GPU: {_INSTALL}.")
        return GpuProbe(
            False,
            f"CuPy is installed and cannot be imported: {_one_line(error)}.",
            f"Install it again, one CuPy only: {_INSTALL}.",
        )
    name = f"CuPy {getattr(cupy, '__version__', '(version unknown)')}"
    try:
        available = cupy.cuda.is_available()
    except Exception as error:  # CuPy 13 raises here without a driver; CuPy 14 returns False
        return GpuProbe(False, f"{name} finds no device: {_one_line(error)}.", _FIX_DEVICE)
    if not available:
        return GpuProbe(False, f"{name} finds no NVIDIA driver or no device.", _FIX_DEVICE)
    try:
        right = _run_probe_kernel(cupy)
    except Exception as error:
        reason = f"{name} finds a device, and a small kernel fails on it: {_one_line(error)}."
        return GpuProbe(False, reason, _FIX_KERNEL)
    if not right:
        reason = f"{name} ran a small kernel, and the numbers it wrote are wrong."
        return GpuProbe(False, reason, _FIX_KERNEL)
    return GpuProbe(True, f"{name} compiled and ran a small kernel on the GPU.")


def _run_probe_kernel(cupy: Any) -> bool:
    """Compile and run kernels/probe.cu; return whether it wrote what it should, and no more."""
    count, block, grid = 100, 64, 2  # the last block is only partly in range
    kernel = cupy.RawModule(code=kernel_source("probe.cu")).get_function("probe")
    values = cupy.zeros(grid * block, dtype=cupy.float32)
    kernel((grid,), (block,), (np.int32(count), values))
    expected = np.arange(grid * block, dtype=np.float32) ** 2 + 1
    expected[count:] = 0
    return np.array_equal(cupy.asnumpy(values), expected)


def _one_line(error: Exception) -> str:
    """Return the type and message of an error on one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return text if len(text) <= 300 else text[:297] + "..."


def kernel_folder() -> Path:
    """Return the folder of the CUDA sources: in the installed package, else in the checkout.

    Raises:
        FileNotFoundError: if neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "kernels", package.parent / "kernels"):
        if (folder / "probe.cu").is_file():  # beside an installed package it may be another's
            return folder
    raise FileNotFoundError(
        f"Expected the CUDA sources in {package / 'kernels'} or {package.parent / 'kernels'}, "
        "found neither. Install gpunet again: its kernels/*.cu were not installed with it."
    )


def kernel_source(name: str) -> str:
    """Return the text of one CUDA source.

    Arguments:
        name: the file's name, such as ``"probe.cu"``.

    Raises:
        ValueError: if there is no source of that name.

    >>> 'extern "C" __global__ void probe' in kernel_source("probe.cu")
    True
    """
    sources = {path.name: path for path in kernel_folder().glob("*.cu*")}
    return find("kernel source", name, sources).read_text(encoding="utf-8")
