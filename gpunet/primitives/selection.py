"""The twins for NumPy arrays: Numba's where it is installed, else NumPy's."""

from __future__ import annotations

import importlib
import os
import threading
from functools import cache
from types import ModuleType
from typing import NamedTuple

from gpunet.background import call_in_background
from gpunet.fork import wait_before_fork
from gpunet.naming import find
from gpunet.primitives import reference

__all__ = ["NumpyTwins", "numpy_twins"]

_VARIABLE = "GPUNET_FAST"
_SETTINGS = {"": True, "auto": True, "1": True, "0": False}

_importing = wait_before_fork(threading.RLock())


class NumpyTwins(NamedTuple):
    """The twins in use for NumPy arrays, and one line each on why, and on how to get the fast ones.

    `fix` is empty where these are in use.
    """

    module: ModuleType
    reason: str
    fix: str = ""


@cache
def numpy_twins() -> NumpyTwins:
    """Return the twins for NumPy arrays: chosen at the first call, for the process.

    Raises:
        ValueError: ``GPUNET_FAST`` is neither 0 nor 1 nor auto.
    """
    setting = os.environ.get(_VARIABLE, "").strip().lower()
    if not find(f"value of the environment variable {_VARIABLE}:", setting, _SETTINGS):
        return NumpyTwins(reference, f"{_VARIABLE}=0 selects plain NumPy.", f"Unset {_VARIABLE}.")
    try:
        fast = _import("gpunet.primitives.fast")
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        install = "With Numba it is several times as fast: pip install 'gpunet[fast]'."
        return NumpyTwins(reference, "Numba is not installed.", install)
    except Exception as error:  # an installation that is broken, or does not go with this NumPy
        problem = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        reason = f"Numba is installed and cannot be used: {problem}."
        return NumpyTwins(reference, reason, "Install it again: pip install -U numba.")
    import numba

    threads = importlib.import_module("gpunet.primitives.fast.threads").thread_count()
    return NumpyTwins(fast, f"Numba {numba.__version__}, {threads} threads.")


def _import(name: str) -> ModuleType:
    """Import a module; no interrupt leaves it, or what it imports, half imported."""

    def work() -> ModuleType:
        with _importing:
            return importlib.import_module(name)

    return call_in_background(work)
