"""Kernels as their sources declare them, what they are compiled for, and one launch of them."""

from __future__ import annotations

import hashlib
import re
from functools import cache, cached_property
from typing import Any, NamedTuple

from gpunet import backend

__all__ = [
    "Build", "KernelSource", "Launch", "Parameter", "add_source", "full_source", "is_added",
    "kernel_names", "source_label", "source_text",
]  # fmt: skip

_BOUNDS = r"(?:__launch_bounds__\([^)]*\)\s*)?"
_KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class _Added(NamedTuple):
    text: str
    label: str  # of the source, for messages


_added: dict[str, _Added] = {}


class Build(NamedTuple):
    """A source compiled for one set of macros."""

    source: str  # the file's name, such as "activation.cu"
    macros: tuple[tuple[str, str], ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        return tuple(f"-D{name}={value}" for name, value in self.macros)

    @property
    def text(self) -> str:
        """The source with its headers."""
        return full_source(self.source)


class Parameter(NamedTuple):
    """A parameter of a kernel as its source declares it."""

    name: str
    type: str  # without const and *, such as "T" or "int"
    is_array: bool
    is_written: bool  # an array that is not const


class KernelSource:
    """A kernel of kernels/, as its source declares it.

    Arguments:
        source: the file's name, such as ``"activation.cu"``.
        name: the kernel's name in it.
    """

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, {self.name!r})"

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The declared parameters, in order."""
        text = source_text(self.source)
        for found in _KERNEL.finditer(text):
            if found[1] == self.name:
                declared = _COMMENT.sub(" ", text[found.end() :]).partition(")")[0]
                return tuple(_parameter(self.name, part) for part in declared.split(","))
        known = ", ".join(kernel_names(self.source)) or "none"
        label = source_label(self.source)
        raise ValueError(f"{label} has no kernel {self.name!r}; it has: {known}.")


class Launch(NamedTuple):
    """A kernel with its build, its grid and its arguments."""

    kernel: KernelSource
    build: Build
    grid: tuple[int, ...]  # blocks, along up to 3 axes
    block: tuple[int, ...]  # threads of a block, likewise
    arguments: tuple[Any, ...]  # arrays, NumPy scalars, and None for an array that is not there


def add_source(stem: str, text: str, label: str) -> str:
    """Make a source outside of kernels/ known; return its name, which is new for a new text.

    Arguments:
        stem: what the name begins with: letters, digits and underscores.
        text: the source; it may include headers of kernels/.
        label: the source, named for messages.
    """
    name = f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.cu"
    _added[name] = _Added(text, label)
    return name


def is_added(name: str) -> bool:
    """Return whether a source was added, by its name."""
    return name in _added


def source_text(name: str) -> str:
    """Return the text of a source: one that was added, or a file of kernels/."""
    return _added[name].text if name in _added else backend.kernel_source(name)


def source_label(name: str) -> str:
    """Return a source's name for messages.

    >>> source_label("activation.cu")
    'kernels/activation.cu'
    """
    return _added[name].label if name in _added else f"kernels/{name}"


@cache
def full_source(source: str) -> str:
    """Return the text of a kernel source with its headers put in, each once.

    CuPy caches by this text, so a changed header is compiled again. ``#line`` makes the
    compiler's messages name the files in kernels/.
    """
    done: set[str] = set()

    def text_of(name: str) -> str:
        done.add(name)
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate(source_text(name).splitlines(), start=1):
            include = _INCLUDE.match(line)
            if include and include[1] not in done:
                lines += [text_of(include[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("" if include or line == "#pragma once" else line)
        return "\n".join(lines)

    return text_of(source) + "\n"


@cache
def kernel_names(source: str) -> tuple[str, ...]:
    """Return the names of the kernels in a source.

    >>> kernel_names("activation.cu")
    ('activation_forward', 'activation_backward')
    """
    return tuple(_KERNEL.findall(source_text(source)))


def _parameter(kernel: str, declaration: str) -> Parameter:
    words = declaration.replace("*", " * ").replace("__restrict__", "").split()
    is_array, is_const = "*" in words, "const" in words
    kinds = [word for word in words[:-1] if word not in ("*", "const")]
    if len(kinds) != 1:
        raise ValueError(
            f"Kernel {kernel}: expected parameters like `const T* x` or `int64 count`, with types "
            f"of one word, received `{' '.join(declaration.split())}`."
        )
    return Parameter(words[-1], kinds[0], is_array, is_array and not is_const)
