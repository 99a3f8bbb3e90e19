"""How much work an operation is: floating-point operations, and bytes that it reads and writes.

A product that is added to a sum counts as two operations; biases, activations and comparisons are
not counted. Each array counts once, whether it is read or written, and whatever stays in a cache.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from gpunet.primitives import Network, Stage, reference
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.launch import Launch

__all__ = ["Work", "work_of_call", "work_of_launch"]


class Work(NamedTuple):
    """Floating-point operations, None where they are not known; and bytes."""

    operations: int | None
    bytes: int


def work_of_launch(launch: Launch) -> Work:
    """Return the work of a CUDA kernel, by the sizes that it is given."""
    names = [parameter.name for parameter in launch.kernel.parameters]
    given = dict(zip(names, launch.arguments, strict=True))
    sizes = {key: int(value) for key, value in given.items() if getattr(value, "shape", 0) == ()}
    for name, text in launch.build.macros:  # of some kernels sizes are macros
        if text.isdigit():
            sizes[name.lower()] = int(text)
    return Work(_of_kernel(launch.kernel.name, sizes, given), _bytes_in(launch.arguments))


def _of_kernel(name: str, sizes: dict[str, int], given: dict[str, Any]) -> int | None:
    if name.startswith("conv2d"):
        taps = sizes["kernel_height"] * sizes["kernel_width"] * sizes["channels"]
        if "small" in name:  # of windows; a gradient is that of one of the four outputs
            outputs = sizes["batch"] * sizes["rows"] * sizes["columns"]
            return 2 * taps * sizes["filters"] * outputs * (4 if "forward" in name else 1)
        outputs = sizes["batch"] * sizes["out_height"] * sizes["out_width"]
        return 2 * taps * sizes["filters"] * outputs // sizes["groups"]
    if name == "matmul":
        return 2 * sizes["matrices"] * sizes["rows"] * sizes["columns"] * sizes["inner"]
    if name == "dense_cross_entropy":
        hidden = [sizes["units"]] if sizes["units"] else []
        layers = [sizes["inputs"], *hidden, sizes["classes"]]
        products = [2 * sizes["batch"] * a * b for a, b in pairwise(layers)]
        return 3 * sum(products) - (products[0] if given["input_grad"] is None else 0)
    return None


def work_of_call(name: str, arguments: Sequence[Any], result: Any) -> Work:
    """Return the work of a twin, by its arguments."""
    bound = inspect.signature(getattr(reference, name)).bind(*arguments)
    moved = _bytes_in([*bound.arguments.values(), result])
    return Work(_of_primitive(name, bound.arguments, result), moved)


def _of_primitive(name: str, given: dict[str, Any], result: Any) -> int | None:
    if name == "matmul":
        a, inner = given["a"], given["a"].shape[-2 if given["transpose_a"] else -1]
        return 2 * result.size * inner if a.size else 0
    if name.startswith("conv2d"):
        return _of_convolution(given["conv" if "max_pool" in name else "g"])
    if name.startswith("chain"):
        return _of_chain(name, given)
    if name == "network_forward":
        geometries = [g[0] for g in given["geometries"] if isinstance(g[0], Conv2DGeometry)]
        return sum(map(_of_convolution, geometries))
    return None


def _of_chain(name: str, given: dict[str, Any]) -> int:
    """Return the operations of a chain: those of its gradients are as many for each, as forward."""
    each = [_of_convolution(stage.conv) for stage in given["g"].stages]
    times = {"chain_backward": 2, "chain_cross_entropy": 3}.get(name, 1)
    without_input = times > 1 and not given["with_input_grad"]
    return times * sum(each) - (each[0] if without_input else 0)


def _of_convolution(g: Conv2DGeometry) -> int:
    """Return the operations of a convolution, or a dense layer; only what reaches its pool."""
    # A filter sees the channels of its group, as many as its kernel has.
    return 2 * math.prod(g.output_shape[:3]) * math.prod(g.kernel_shape)


def _bytes_in(values: Iterable[Any]) -> int:
    return sum(array.nbytes for array in {id(a): a for a in _arrays_in(values)}.values())


def _arrays_in(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, Network):
            yield from value.arrays
        elif isinstance(value, list | tuple | Stage):
            yield from _arrays_in(value)
        elif getattr(value, "ndim", 0) > 0 and hasattr(value, "nbytes"):
            yield value
