"""Kernel builds compiled by g++ for the CPU, and cached on disk between runs of the tests."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from gpunet.primitives.launch import Build, Kernel, full_source, kernel_names

__all__ = ["CompileError", "compiler", "library", "runtime"]

SHIM = Path(__file__).parent / "shim.h"
RUNTIME = Path(__file__).parent / "shim_runtime.cpp"

_FLAGS = [
    "-std=c++17",
    "-O1",
    "-shared",
    "-fPIC",
    "-w",
    "-fno-exceptions",
    "-fno-asynchronous-unwind-tables",
    "-U_FORTIFY_SOURCE",  # its longjmp refuses to change stacks
    "-fno-gnu-unique",  # so that no two libraries share what is static in a template
    # What is wrong traps; what a variable is before it is set is far from any right value.
    "-fsanitize=alignment,bounds,shift,integer-divide-by-zero,signed-integer-overflow,bool,enum",
    "-fsanitize-undefined-trap-on-error",
    "-ftrivial-auto-var-init=pattern",
    # A device rounds each operation, fused products apart; x87 and fast-math would not.
    "-ffp-contract=off",
]
_DIGEST_BYTES = hashlib.sha256().digest_size
_UNUSED_DAYS = 30


class CompileError(Exception):
    """A source does not compile; the message is the compiler's."""


def compiler() -> str | None:
    """Return the compiler, or None where there is none that can build the shim."""
    return shutil.which(os.environ.get("CXX", "g++"))


_libraries: dict[tuple[Build, str], ctypes.CDLL] = {}


def library(build: Build, text: str) -> tuple[ctypes.CDLL, bool]:
    """Return `text` compiled with a build's macros, and whether this process loads it only now.

    Raises:
        CompileError: it does not compile.
    """
    key = (build, text)
    is_new = key not in _libraries
    if is_new:
        runtime()  # its symbols are those that a kernel's library leaves open
        code = f"{_shim()}\n{text}\n{_entries(build)}"
        _libraries[key] = ctypes.CDLL(str(_compiled(Path(build.source).stem, code, build.options)))
    return _libraries[key], is_new


@cache
def runtime() -> ctypes.CDLL:
    """Return the library that runs launches, one at a time in a process."""
    code = RUNTIME.read_text().replace('#include "shim.h"', _shim())
    loaded = ctypes.CDLL(str(_compiled("runtime", code, ())), mode=ctypes.RTLD_GLOBAL)
    loaded.shim_launch.restype = ctypes.c_char_p
    return loaded


@cache
def _shim() -> str:
    return f'#line 1 "shim.h"\n{SHIM.read_text()}'


def _compiled(stem: str, code: str, options: tuple[str, ...]) -> Path:
    """Return the cached library of a source; compile it where there is none, or a damaged one.

    Its name holds the cache key: source, headers, macros, flags, and the compiler's version. A
    digest of the library follows its own bytes, where the loader does not look.
    """
    key = "\0".join([_version(), *_FLAGS, *options, code])
    path = _cache_folder() / f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    if _is_whole(path):
        os.utime(path)  # in use: see `_cache_folder`
        return path
    with tempfile.TemporaryDirectory(prefix="partial-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [compiler() or "g++", *_FLAGS, *options, "-x", "c++", "-", "-o", str(made)]
        child = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
        if child.returncode:
            raise CompileError(f"{stem}.cu {' '.join(options)}\n{child.stderr[:4000]}")
        with made.open("ab") as file:
            file.write(hashlib.sha256(made.read_bytes()).digest())
        made.replace(path)  # at once: another process sees the old file, or all of the new one
    return path


def _is_whole(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]


@cache
def _version() -> str:
    command = [compiler() or "g++", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def _cache_folder() -> Path:
    """Return the folder of compiled kernels, without those that have not been used for long."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(caches) / "gpunet-tests" / "cuda-on-cpu"
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - _UNUSED_DAYS * 24 * 3600
    for path in folder.glob("*.so"):
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:  # another process was faster
            pass
    return folder


def _entries(build: Build) -> str:
    """Return a function for each kernel that takes its arguments from an array of pointers.

    Beside it is the number of threads that the kernel says a block has at most. A macro may leave a
    kernel out; its weak declaration then stands for nothing.
    """
    lines, text = ['#line 1 "entries"'], full_source(build.source)
    for name in kernel_names(build.source):
        bounds = re.search(rf"__launch_bounds__\(([^,)]+)[^)]*\)\s*{name}\s*\(", text)
        threads = bounds[1] if bounds else "1 << 30"
        lines.append(f'extern "C" const int most_threads_{name} = {threads};')
        types = [
            f"{'' if parameter.is_written else 'const '}{parameter.type}"
            f"{'*' if parameter.is_array else ''}"
            for parameter in Kernel(build.source, name).parameters
        ]
        casts = [f"*static_cast<{kind}*>(a[{i}])" for i, kind in enumerate(types)]
        lines.append(f'extern "C" __attribute__((weak)) void {name}({", ".join(types)});')
        lines.append(f'extern "C" void run_{name}(void** a) {{ {name}({", ".join(casts)}); }}')
    return "\n".join(lines) + "\n"
