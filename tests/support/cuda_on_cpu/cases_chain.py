"""Cases of layers one after another: a small network, and each kind of stage alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import Stage
from tests.support.doors import reference

from .cases import Arguments, Case

SINGLE = ("float32", "float64")


def make(
    shape: tuple[int, ...], kernels: list[tuple[Any, ...]], rng: np.random.Generator
) -> Arguments:
    """Return inputs of a shape, and a stage for each (kernel shape, bias, activation, options)."""
    stages = []
    for kernel_shape, bias, activation, options in kernels:
        kernel = rng.standard_normal(kernel_shape) / np.sqrt(np.prod(kernel_shape[:-1]))
        stages.append(
            Stage(
                kernel,
                rng.standard_normal(kernel_shape[-1]) if bias else None,
                activation,
                **options,
            )
        )
    return [rng.standard_normal(shape), stages], {}


POOL: dict[str, Any] = {"pool_size": (2, 2)}
NETWORK: list[tuple[Any, ...]] = [
    ((3, 3, 1, 4), True, "relu", POOL),
    ((3, 3, 4, 6), False, None, {"padding": "same", "strides": (2, 1)}),
    ((30, 5), True, "tanh", {}),
    ((5, 3), True, None, {}),
]
# Without relu before the pool, where maxima that are all 0 may have the index of any of them.
UNTIED = [((3, 3, 1, 4), True, None, POOL), *NETWORK[1:]]


def make_backward(with_input_grad: bool, rng: np.random.Generator) -> Arguments:
    """Return what the way back through the network is given."""
    (x, stages), _ = make((3, 6, 12, 1), NETWORK, rng)
    y, kept = reference.chain_forward(x, stages)
    options = {"with_input_grad": with_input_grad}
    return [rng.standard_normal(y.shape), x, stages, kept], options


def make_cross_entropy(
    shape: tuple[int, ...],
    kernels: list[tuple[Any, ...]],
    rng: np.random.Generator,
    sparse: bool = False,
    with_input_grad: bool = False,
) -> Arguments:
    """Return inputs, stages and the labels of as many classes as the last stage has outputs."""
    (x, stages), _ = make(shape, kernels, rng)
    labels = rng.integers(0, kernels[-1][0][-1], shape[0])
    if not sparse:
        labels = np.eye(kernels[-1][0][-1])[labels]
    return [x, stages, labels], {"with_input_grad": with_input_grad}


DENSE: list[tuple[Any, ...]] = [
    ((7, 6), True, "relu", {}),
    ((6, 5), False, "sigmoid", {}),
    ((5, 9), True, "tanh", {}),
    ((9, 4), True, None, {}),
]

CASES = [
    Case("chain_forward", "network", partial(make, (3, 6, 12, 1), UNTIED), 36, dtypes=SINGLE),
    Case("chain_forward", "no image", partial(make, (0, 6, 12, 1), UNTIED), dtypes=SINGLE),
    Case("chain_backward", "network", partial(make_backward, False), 100, dtypes=SINGLE),
    Case("chain_backward", "with input", partial(make_backward, True), 100, dtypes=SINGLE),
    Case(
        "chain_forward",
        "dense",
        partial(make, (5, 7), [((7, 3), True, "relu", {})]),
        7,
        dtypes=SINGLE,
    ),
    *(
        Case("chain_cross_entropy", f"{label}{' sparse' * sparse}{' with input' * wanted}",
             partial(make_cross_entropy, shape, kernels, sparse=sparse, with_input_grad=wanted),
             100, dtypes=SINGLE)
        for label, shape, kernels in (
            ("network", (5, 6, 12, 1), NETWORK),
            ("one dense", (4, 7), [((7, 3), False, None, {})]),
            ("dense", (37, 7), DENSE),
        )
        for sparse in (False, True)
        for wanted in (False, True)
    ),
]  # fmt: skip
