"""NVIDIA's compiler as a library: it compiles for any architecture on a machine with no GPU.

It comes with the package nvidia-cuda-nvrtc-cu12, and needs no CuPy.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["NvrtcError", "Usage", "architectures", "compile_report", "find_library", "ptx"]

# What CuPy compiles with, and a report on each kernel.
_OPTIONS = (
    "-std=c++17",
    "-ftz=true",
    "--device-as-default-execution-space",
    "--ptxas-options=-v",
)

_REPORT = re.compile(
    r"Function properties for (\w+)\n"
    r".* (\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r".* Used (\d+) registers"
)


class NvrtcError(Exception):
    """A source does not compile; the message is the compiler's."""


@dataclass(frozen=True)
class Usage:
    """What a kernel takes of a multiprocessor."""

    registers: int  # of each thread
    stack: int  # bytes of memory of each thread, such as for an array that is indexed at run time
    spilled: int  # bytes written to and read from memory for want of registers


@cache
def find_library() -> ctypes.CDLL | None:
    """Return the library, or None where there is none."""
    try:
        spec = importlib.util.find_spec("nvidia")
    except ModuleNotFoundError:
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    # The lowest version first: later ones leave out the oldest architectures.
    by_version = sorted(found, key=lambda path: path.name)
    names = [*map(str, by_version), "libnvrtc.so.12", "libnvrtc.so"]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def architectures() -> list[int]:
    """Return those that the library compiles for, such as 90 for sm_90."""
    count = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    listed = (ctypes.c_int * count.value)()
    _call("nvrtcGetSupportedArchs", listed)
    return list(listed)


def compile_report(text: str, options: tuple[str, ...], architecture: int) -> dict[str, Usage]:
    """Compile a source to machine code; return what each of its kernels takes.

    Arguments:
        text: the source with its headers.
        options: of the compiler, such as ``-DT=float32``.
        architecture: such as 90 for sm_90.

    Raises:
        NvrtcError: it does not compile.
    """
    report, _ = _compile(text, options, architecture)
    return {
        name: Usage(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in _REPORT.findall(report)
    }


def ptx(text: str, options: tuple[str, ...], architecture: int) -> str:
    """Return the instructions that a source is compiled to; arguments as in `compile_report`."""
    return _compile(text, options, architecture)[1]


def _compile(text: str, options: tuple[str, ...], architecture: int) -> tuple[str, str]:
    """Return the compiler's report, and the PTX."""
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), b"source.cu", 0, None, None)
    try:
        given = [word.encode() for word in (f"-arch=sm_{architecture}", *_OPTIONS, *options)]
        array = (ctypes.c_char_p * len(given))(*given)
        status = _library().nvrtcCompileProgram(program, len(given), array)
        report = _text("ProgramLog", program)
        if status:
            raise NvrtcError(f"sm_{architecture} {' '.join(options)}: {report}")
        return report, _text("PTX", program)
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _text(what: str, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, text)
    return text.value.decode(errors="replace")


def _library() -> ctypes.CDLL:
    library = find_library()
    if library is None:
        raise NvrtcError("NVRTC is not here: pip install nvidia-cuda-nvrtc-cu12")
    return library


def _call(name: str, *arguments: object) -> None:
    status = getattr(_library(), name)(*arguments)
    if status:
        raise NvrtcError(f"{name} returns error {status}")
