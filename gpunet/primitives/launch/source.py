"""Kernels as their sources declare them, what they are compiled for, and one launch of them."""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import Any, NamedTuple

from gpunet import backend

__all__ = ["Build", "KernelSource", "Launch", "Parameter", "full_source", "kernel_names"]

_KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


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
        text = backend.kernel_source(self.source)
        for found in _KERNEL.finditer(text):
            if found[1] == self.name:
                declared = text[found.end() : text.index(")", found.end())]
                return tuple(_parameter(part) for part in declared.split(","))
        known = ", ".join(kernel_names(self.source))
        raise ValueError(f"kernels/{self.source} has no kernel {self.name!r}; it has: {known}.")


class Launch(NamedTuple):
    """A kernel with its build, its grid and its arguments."""

    kernel: KernelSource
    build: Build
    grid: tuple[int, ...]  # blocks, along up to 3 axes
    block: tuple[int, ...]  # threads of a block, likewise
    arguments: tuple[Any, ...]  # arrays, NumPy scalars, and None for an array that is not there


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
        for number, line in enumerate(backend.kernel_source(name).splitlines(), start=1):
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
    return tuple(_KERNEL.findall(backend.kernel_source(source)))


def _parameter(declaration: str) -> Parameter:
    words = declaration.replace("*", " * ").replace("__restrict__", "").split()
    is_array, is_const = "*" in words, "const" in words
    (kind,) = (word for word in words[:-1] if word not in ("*", "const"))
    return Parameter(words[-1], kind, is_array, is_array and not is_const)
