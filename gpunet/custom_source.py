"""Sources of custom kernels: their text, and how their parameters fit those of a function."""

from __future__ import annotations

import inspect
import re
import textwrap
from os import PathLike
from pathlib import Path

from gpunet.primitives.launch import Kernel, Parameter, add_source

__all__ = ["COUNT", "DTYPES", "add_file_or_text", "check_parameters", "is_open"]

COUNT = "count"  # a kernel's parameter for the number of elements of its result

# The dtypes of the types that a kernel may declare.
_NUMBERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
_NUMBERS += [f"float{bits}" for bits in (16, 32, 64)]
DTYPES = {"int": "int32", "float": "float32", "double": "float64", "bool": "bool"}
DTYPES |= {name: name for name in _NUMBERS}

_LETTER = re.compile("[A-Z]")


def is_open(declared: str) -> bool:
    """Return whether the arguments decide a type: that of T and its like, and not that of sums.

    >>> is_open("T"), is_open("A"), is_open("float")
    (True, False, False)
    """
    return bool(_LETTER.fullmatch(declared)) and declared != "A"


def add_file_or_text(source: str | PathLike[str], name: str) -> str:
    """Make a source known to the launcher; return its name there.

    Arguments:
        source: CUDA C++, or the path of a file of it.
        name: the kernel's name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the text declares no kernel.
    """
    if isinstance(source, str) and not source.rstrip().endswith((".cu", ".cuh")):
        text, label = textwrap.dedent(source), f"the source of {name}"
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"Kernel {name}: there is no source file {path}.")
        text, label = path.read_text(encoding="utf-8"), str(path)
    if "__global__" not in text:
        raise ValueError(
            f'Kernel {name}: expected CUDA C++ with `extern "C" __global__ void {name}(...)`, '
            f"or the path of a file of it; received {text[:60]!r}."
        )
    return add_source(name, text, label)


def check_parameters(
    kernel: Kernel, signature: inspect.Signature, has_sizes: bool
) -> tuple[list[Parameter], Parameter]:
    """Return the arrays that a kernel reads, and its result.

    Arguments:
        kernel: the kernel.
        signature: that of the NumPy function.
        has_sizes: whether the kernel may be given numbers that are no arguments of the function.

    Raises:
        ValueError: its parameters and those of the function do not fit.
    """
    takes = f"the kernel {kernel.name} in the source"
    arrays = [parameter for parameter in kernel.parameters if parameter.is_array]
    outputs = [parameter for parameter in arrays if parameter.is_written]
    inputs = [parameter for parameter in arrays if not parameter.is_written]
    if len(outputs) != 1 or not inputs:
        raise ValueError(
            f"Expected {takes} to take arrays that are const, its arguments, and one that is "
            f"not, its result; received {len(inputs)} and {len(outputs)}."
        )
    named = signature.parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in named):
        raise ValueError(f"{kernel.name}{signature}: expected arguments with names.")
    for parameter in kernel.parameters:
        if parameter.type not in DTYPES and not _LETTER.fullmatch(parameter.type):
            raise ValueError(
                f"{takes} declares {parameter.name} as {parameter.type}: expected T or one of "
                f"{', '.join(DTYPES)}."
            )
        if parameter.is_written or parameter.name in signature.parameters:
            continue
        if parameter.is_array:
            _refuse(takes, "array", parameter, kernel, signature, "")
        elif not has_sizes and parameter.name != COUNT:
            _refuse(takes, "number", parameter, kernel, signature, ", nor given by sizes=")
    return inputs, outputs[0]


def _refuse(
    takes: str,
    kind: str,
    parameter: Parameter,
    kernel: Kernel,
    signature: inspect.Signature,
    more: str,
) -> None:
    raise ValueError(
        f"{takes} takes the {kind} {parameter.name!r}, which is no argument of "
        f"{kernel.name}{signature}{more}."
    )
