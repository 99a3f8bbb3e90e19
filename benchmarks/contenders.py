"""Libraries that `python -m benchmarks.cpu` compares, and whether each can run here."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = [
    "CONTENDERS",
    "KERAS_JAX",
    "KERAS_TENSORFLOW",
    "NUMBA",
    "NUMPY",
    "SGEMM_BY",
    "TORCH",
    "TORCH_LAYOUTS",
    "TORCH_PAGES_KEPT",
    "Contender",
    "keras_pythons",
    "locate",
    "missing_packages",
    "thread_settings",
]

# Settings of the C library's `malloc`, read when a process starts: reuse freed pages instead of
# returning them to the system. Fresh pages are slow on some systems, virtual machines above all.
# gpunet reuses its large arrays itself.
KEEP_PAGES = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 31),
    "MALLOC_TOP_PAD_": str(1 << 27),
}


@dataclass(frozen=True)
class Contender:
    """A library in one configuration.

    Attributes:
        module: module with the class `Library`; imported by the worker only.
        needs: packages that the interpreter must have.
        options: keyword arguments of `Library`.
        environment: variables of its process; None removes a variable.
        compiles: whether it caches compiled kernels, so that a first process is slower.
        gpu: whether it runs on a GPU.
        elsewhere: whether to look for the packages in other interpreters too.
        python: path of the interpreter.
    """

    module: str
    needs: tuple[str, ...] = ("numpy",)
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=dict)
    compiles: bool = False
    gpu: bool = False
    elsewhere: bool = False
    python: str = sys.executable


_GPUNET, _TORCH, _KERAS = (f"benchmarks.library_{name}" for name in ("gpunet", "torch", "keras"))
_ON_CPU: dict[str, str | None] = {"GPUNET_BACKEND": "numpy"}
_QUIET: dict[str, str | None] = {
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

NUMPY, NUMBA, CUPY = "gpunet (NumPy)", "gpunet (Numba)", "gpunet (CuPy)"
TORCH, TORCH_PAGES_KEPT = "PyTorch", "PyTorch, pages kept"
TORCH_LAYOUTS = (TORCH, "PyTorch, channels_last")
KERAS_TENSORFLOW, KERAS_JAX = "Keras + TensorFlow", "Keras + JAX"

CONTENDERS = {
    NUMPY: Contender(_GPUNET, environment=_ON_CPU | {"GPUNET_FAST": "0"}, options={"numba": False}),
    NUMBA: Contender(
        _GPUNET,
        ("numpy", "numba"),
        environment=_ON_CPU | {"GPUNET_FAST": None},
        options={"numba": True},
        compiles=True,
    ),
    CUPY: Contender(
        _GPUNET, ("numpy", "cupy"), environment={"GPUNET_BACKEND": "cupy"}, compiles=True, gpu=True
    ),
    TORCH: Contender(_TORCH, ("numpy", "torch")),
    TORCH_LAYOUTS[1]: Contender(_TORCH, ("numpy", "torch"), options={"layout": "channels_last"}),
    TORCH_PAGES_KEPT: Contender(_TORCH, ("numpy", "torch"), environment=dict(KEEP_PAGES)),
    KERAS_TENSORFLOW: Contender(
        _KERAS,
        ("numpy", "keras", "tensorflow"),
        environment=_QUIET | {"KERAS_BACKEND": "tensorflow"},
        elsewhere=True,
    ),
    KERAS_JAX: Contender(
        _KERAS,
        ("numpy", "keras", "jax"),
        environment=_QUIET | {"KERAS_BACKEND": "jax"},
        elsewhere=True,
    ),
}

# Measures the ceiling: NumPy's matrix product.
SGEMM_BY = Contender("benchmarks.library_numpy")


def thread_settings(count: int) -> dict[str, str]:
    """Return the environment variables that give each library `count` threads."""
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "NPROC",  # JAX
    )
    return dict.fromkeys(names, str(count))


def keras_pythons(named: Iterable[str] = ()) -> list[str]:
    """Return interpreters that may have Keras: this one, `named`, and GPUNET_KERAS_PYTHON."""
    variable = os.environ.get("GPUNET_KERAS_PYTHON", "")
    paths = [*named, *filter(None, variable.split(os.pathsep))]
    # Keep symlinks: an interpreter finds its virtual environment by the path it is called by.
    return [sys.executable, *(os.path.abspath(os.path.expanduser(path)) for path in paths)]


@functools.cache
def missing_packages(python: str, packages: tuple[str, ...]) -> str:
    """Return the packages that an interpreter lacks, or why it cannot be run."""
    code = (
        "import sys, importlib.util as u; print(*(p for p in sys.argv[1:] if not u.find_spec(p)))"
    )
    try:
        done = subprocess.run(
            [python, "-c", code, *packages], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{python} ({type(error).__name__})"
    return done.stdout.strip()


def locate(contender: Contender, pythons: Sequence[str]) -> tuple[Contender | None, str]:
    """Return the contender with an interpreter that can run it, or None and the reason.

    Arguments:
        contender: the contender.
        pythons: interpreters that may have Keras.
    """
    if contender.gpu:
        from gpunet.backend import probe_gpu

        if not (probe := probe_gpu()).usable:
            return None, f"no usable GPU: {probe.reason}"
    candidates = pythons if contender.elsewhere else [contender.python]
    missing = [missing_packages(python, contender.needs) for python in candidates]
    for python, names in zip(candidates, missing, strict=True):
        if not names:
            return replace(contender, python=python), ""
    why = f"not installed: {missing[-1]}"
    if contender.elsewhere:
        why += "; name an interpreter that has it: --keras-python or GPUNET_KERAS_PYTHON"
    return None, why
