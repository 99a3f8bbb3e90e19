"""The command line: ``python -m gpunet doctor`` says what gpunet found on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import textwrap
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np

import gpunet
from gpunet import backend, datasets
from gpunet.primitives import selection

__all__ = ["doctor", "main"]

_LABEL_WIDTH = 16
_LINE_WIDTH = 100

# What to show, and the distributions that may bring it.
_OPTIONAL = {
    "CuPy": ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy"),
    "Numba": ("numba",),
    "SciPy": ("scipy",),
    "tqdm": ("tqdm",),
    "pooch": ("pooch",),
    "scikit-learn": ("scikit-learn",),
    "matplotlib": ("matplotlib",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Arguments:
        arguments: the words after ``python -m gpunet``; by default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gpunet", description="Train neural networks on NumPy or CuPy arrays."
    )
    parser.add_argument("--version", action="version", version=f"gpunet {gpunet.__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    commands.add_parser(
        "doctor",
        help="print versions, the backend in use and why, and what to do to use the GPU",
        description="Print versions, the backend and the CPU kernels in use and why, what to do "
        "to use the GPU and the faster kernels, and the folders of kernels and data.",
    )
    if parser.parse_args(arguments).command == "doctor":
        print(doctor())
    else:
        parser.print_help()
    return 0


def doctor() -> str:
    """Return the report of ``python -m gpunet doctor``, which includes any errors found."""
    sections = {
        "Versions": _versions(),
        "Backend": _chosen("GPUNET_BACKEND", "backend", _backend),
        "CPU kernels": _chosen("GPUNET_FAST", "kernels by", _cpu_kernels),
        "Folders": {
            "kernels": _or_error(lambda: str(backend.kernel_folder())),
            "data cache": _or_error(lambda: str(datasets.cache_folder())),
        },
    }
    return "\n\n".join(_section(title, rows) for title, rows in sections.items())


def _section(title: str, rows: dict[str, str]) -> str:
    indent = " " * (_LABEL_WIDTH + 2)
    lines = [
        textwrap.fill(
            text,
            _LINE_WIDTH,
            initial_indent=f"  {label:<{_LABEL_WIDTH}}",
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, text in rows.items()
    ]
    return "\n".join([title, *lines])


def _versions() -> dict[str, str]:
    python = f"{platform.python_version()} ({platform.python_implementation()})"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return {
        "gpunet": gpunet.__version__,
        "Python": python,
        "machine": machine,
        "NumPy": f"{np.__version__}, BLAS: {_blas()}",
        **{name: _installed(choices) for name, choices in _OPTIONAL.items()},
    }


def _blas() -> str:
    """Return the name and version of the BLAS that NumPy was built with."""
    show_config: Any = np.show_config  # NumPy 2.0 declares no `mode`
    blas = show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _installed(distributions: Sequence[str]) -> str:
    """Return the versions of those that are installed; nothing is imported for it."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if len(distributions) > 1:
        found = {name: f"{version} ({name})" for name, version in found.items()}
    return ", ".join(found.values()) or "not installed"


def _backend() -> tuple[str, str, str]:
    """Return the backend in use, the reason and the fix."""
    try:
        return backend.active_backend(), backend.backend_reason(), backend.backend_fix()
    except backend.GpuUnavailableError as error:
        return "none", error.reason, error.fix


def _cpu_kernels() -> tuple[str, str, str]:
    """Return what computes on NumPy arrays; Numba is imported for it, nothing compiled."""
    module, reason, fix = selection.numpy_twins()
    return "NumPy" if module is selection.reference else "Numba", reason, fix


def _chosen(variable: str, label: str, find: Callable[[], tuple[str, str, str]]) -> dict[str, str]:
    """Return the rows of what an environment variable chooses."""
    try:
        name, reason, fix = find()
    except ValueError as error:
        name, reason, fix = "none", str(error), f"Set {variable} to one of these, or unset it."
    value = os.environ.get(variable, "not set")
    return {variable: value, label: name, "reason": reason, "fix": fix or "nothing to fix"}


def _or_error(find_folder: Callable[[], str]) -> str:
    """Return the folder, or why there is none."""
    try:
        return find_folder()
    except (OSError, RuntimeError) as error:  # the latter from a "~" without a home folder
        return str(error)
