"""Cases of layers one after another: a small network, and each kind of stage alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import Stage

from .cases import Arguments, Case

SINGLE = ("float32", "float64")


def make(
    shape: tuple[int, ...], kernels: list[tuple[Any, ...]], rng: np.random.Generator
) -> Arguments:
    """Return inputs of a shape, and a stage for each (kernel shape, bias, relu, options)."""
    stages = []
    for kernel_shape, bias, relu, options in kernels:
        kernel = rng.standard_normal(kernel_shape) / np.sqrt(np.prod(kernel_shape[:-1]))
        stages.append(
            Stage(kernel, rng.standard_normal(kernel_shape[-1]) if bias else None, relu, **options)
        )
    return [rng.standard_normal(shape), stages], {}


POOL: dict[str, Any] = {"pool_size": (2, 2)}
NETWORK: list[tuple[Any, ...]] = [
    ((3, 3, 1, 4), True, True, POOL),
    ((3, 3, 4, 6), False, False, {"padding": "same", "strides": (2, 1)}),
    ((30, 5), True, True, {}),
    ((5, 3), True, False, {}),
]

CASES = [
    Case("chain_forward", "network", partial(make, (3, 6, 12, 1), NETWORK), 36, dtypes=SINGLE),
    Case("chain_forward", "no image", partial(make, (0, 6, 12, 1), NETWORK), dtypes=SINGLE),
    Case(
        "chain_forward",
        "dense",
        partial(make, (5, 7), [((7, 3), True, True, {})]),
        7,
        dtypes=SINGLE,
    ),
]  # fmt: skip
