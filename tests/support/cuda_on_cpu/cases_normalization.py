"""Cases of normalization: groups that lie together or apart, and moving averages."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives import cuda, reference
from gpunet.primitives.activation_table import as_activation
from gpunet.primitives.cuda import channels
from tests.support.doors import Doors
from tests.support.doors import reference as reference_doors

from .cases import Arguments, Case

Shape = tuple[int, int, int]

# (batch, positions, channels), groups.
SIZES: list[tuple[Shape, int]] = [
    ((1, 1, 4), 1),
    ((37, 1, 10), 1),  # rows: 8 lanes to each
    ((300, 1, 3), 1),  # one lane
    ((5, 1, 130), 1),  # a warp
    ((70, 1, 512), 1),  # as many as one kernel has for all gradients
    ((9, 1, 600), 1),
    ((3, 1, 1501), 1),  # a block
    ((700, 1, 40), 4),  # many rows, several to a sample
    ((1, 50, 40), 40),  # columns: one group to each, in chunks of rows
    ((1, 300, 5), 5),  # 4 positions to a line
    ((1, 37, 3), 3),  # none of them fit together
    ((1, 1000, 70), 70),
    ((3, 20, 12), 4),  # groups of several columns
    ((2, 130, 40), 2),
    ((2, 530, 6), 2),  # the last chunk has fewer rows
    ((2, 96, 12), 12),  # instance normalization
    ((0, 4, 6), 3),
]


def values(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(size=shape) * 2 + 0.5


def forward(
    rng: np.random.Generator, shape: Shape, groups: int, centered: bool, weights: str
) -> Arguments:
    gamma, beta = weights_of(rng, shape[-1], weights)
    options = {"groups": groups, "epsilon": 1e-3, "centered": centered}
    return [values(rng, shape), gamma, beta], options


def weights_of(rng: np.random.Generator, channels: int, weights: str) -> list[Any]:
    drawn = rng.uniform(0.5, 1.5, (2, channels))
    return [drawn[0] if "gamma" in weights else None, drawn[1] if "beta" in weights else None]


def backward(
    rng: np.random.Generator, shape: Shape, groups: int, centered: bool, weights: str
) -> Arguments:
    (x, gamma, beta), options = forward(rng, shape, groups, centered, weights)
    _, mean, variance = reference_doors.normalize_forward(
        x, gamma, beta, groups=groups, epsilon=1e-3, centered=centered
    )
    del options["centered"]
    return [rng.normal(size=shape), x, gamma, mean, variance], options


def inference(rng: np.random.Generator, shape: tuple[int, ...], weights: str) -> Arguments:
    gamma, beta = weights_of(rng, shape[-1], weights)
    mean, variance = rng.normal(size=shape[-1]), rng.uniform(0.5, 2, shape[-1])
    x = rng.normal(size=shape)
    return [x, mean if "mean" in weights else None, variance, gamma, beta], {"epsilon": 1e-3}


def averages(rng: np.random.Generator, count: int) -> Arguments:
    return list(rng.uniform(0.5, 2, (4, count))), {"momentum": 0.9}


def strided(rng: np.random.Generator) -> Arguments:
    x = values(rng, (5, 12, 6)).T[:, ::2]  # (6, 6, 5)
    return [x, rng.normal(size=10)[::2], None], {"groups": 1, "epsilon": 1e-3}


def of_16_bits(twins: Any, *args: Any, **options: Any) -> list[Any]:
    """Return the results in the type of the input: the statistics, too, are rounded to it."""
    doors = Doors(twins)
    x, gamma, beta, output_grad = args
    y, mean, variance = doors.normalize_forward(x, gamma, beta, **options)
    backward_options = {"groups": options["groups"], "epsilon": options["epsilon"]}
    grads = doors.normalize_backward(output_grad, x, gamma, mean, variance, **backward_options)
    return [y, *grads, mean.astype(x.dtype), variance.astype(x.dtype)]


def there_and_back(rng: np.random.Generator, shape: Shape, groups: int) -> Arguments:
    args, options = forward(rng, shape, groups, True, "gamma beta")
    return [*args, rng.normal(size=shape)], options


def fused(rng: np.random.Generator, shape: Shape, activation: str, added: bool) -> Arguments:
    drawn = rng.normal(size=(2, *shape))
    args = [values(rng, shape), rng.uniform(0.5, 1.5, shape[-1]), rng.normal(size=shape[-1])]
    return [*args, drawn[0] if added else None, drawn[1]], {"activation": activation}


def of_channels(rng: np.random.Generator, shape: tuple[int, int], activation: Any) -> Arguments:
    args = [values(rng, shape), rng.uniform(0.5, 1.5, shape[-1]), rng.normal(size=shape[-1])]
    options = {"epsilon": 1e-3, "activation": activation}
    return [*args, rng.normal(size=shape)], options


def of_channels_backward(
    rng: np.random.Generator, shape: tuple[int, int], activation: Any
) -> Arguments:
    (x, gamma, beta, added), options = of_channels(rng, shape, activation)
    y, mean, variance = reference_doors.normalize_channels(x, gamma, beta, added, **options)
    options |= {"output": y, "with_added": True}
    return [rng.normal(size=shape), x, gamma, mean, variance], options


def channels_by_kernels(
    x: Any, gamma: Any, beta: Any, added: Any, output_grad: Any, activation: str
) -> list[Any]:
    """Return a normalization with an activation, and all of its gradients."""
    chosen = as_activation(activation)
    y, mean, variance = channels.channels_forward(x, gamma, beta, 1e-3, added, chosen)
    grads = channels.channels_backward(
        output_grad, x, gamma, mean, variance, 1e-3, y, chosen, added is not None
    )
    return [y, *grads]


def channels_by_numpy(
    x: Any, gamma: Any, beta: Any, added: Any, output_grad: Any, activation: str
) -> list[Any]:
    options = {"groups": x.shape[-1], "epsilon": 1e-3}
    y, mean, variance = reference_doors.normalize_forward(x, gamma, beta, **options, centered=True)
    y = reference_doors.activate(y if added is None else y + added, activation)
    grad = reference_doors.activate_backward(output_grad, y, activation)
    grads = reference_doors.normalize_backward(grad, x, gamma, mean, variance, **options)
    return [y, *grads, None if added is None else grad]


WEIGHTS = ("gamma beta", "", "gamma", "beta")

CASES = [
    *(
        Case(
            f"normalize_{way}",
            f"{shape}-{groups}-{'centered' if centered else 'uncentered'}-{weights or 'plain'}",
            partial(make, shape=shape, groups=groups, centered=centered, weights=weights),
            # The gradients of gamma and beta are sums over all that share them.
            terms=max(shape[0] * shape[1], shape[1] * shape[2] // groups),
            dtypes=("float32", "float64") if i % 3 == 0 else ("float32",),
        )
        for i, (shape, groups) in enumerate(SIZES)
        for way, make in (("forward", forward), ("backward", backward))
        for centered, weights in ((True, WEIGHTS[i % 4]), (False, WEIGHTS[(i + 1) % 4]))
    ),
    *(
        Case(
            "normalize_inference", f"{shape}-{weights or 'plain'}",
            partial(inference, shape=shape, weights=weights), dtypes=dtypes,
        )
        for shape, weights, dtypes in (
            ((5,), "mean gamma beta", ("float32", "float64")),
            ((37, 10), "", ("float32", "float64", "float16", "bfloat16")),
            ((3, 20, 7, 40), "mean gamma", ("float32",)),
            ((1000, 3), "gamma beta", ("float32",)),
            ((0, 4), "mean", ("float32",)),
        )
    ),
    Case("normalize_forward", "views", strided, terms=12),
    *(
        Case(
            "channels", f"{shape}-{activation}-{'added' if added else 'alone'}",
            partial(fused, shape=shape, activation=activation, added=added),
            terms=shape[1], dtypes=dtypes,
            function=channels_by_kernels, oracle=channels_by_numpy,
        )
        for shape, activation, added, dtypes in (
            ((1, 50, 40), "relu", True, ("float32", "float64")),
            ((1, 300, 5), "tanh", False, ("float32",)),
            ((1, 1000, 70), "leaky_relu", True, ("float32",)),
        )
    ),
    *(
        Case(
            f"normalize_channels{way}", f"{shape}-{activation or 'linear'}",
            partial(make, shape=shape, activation=activation), terms=shape[0],
        )
        for shape, activation in (((50, 40), "relu"), ((1, 3), None), ((64, 16), None))
        for way, make in (("", of_channels), ("_backward", of_channels_backward))
    ),
    *(Case("moving_averages", f"{n}", partial(averages, count=n)) for n in (1, 300)),
    *(
        Case(
            "normalize_of_16_bits", f"{shape}-{groups}",
            partial(there_and_back, shape=shape, groups=groups),
            terms=shape[0] * shape[1],
            dtypes=("float16", "bfloat16"),
            function=partial(of_16_bits, cuda),
            oracle=partial(of_16_bits, reference),
        )
        for shape, groups in (((37, 1, 40), 1), ((1, 50, 40), 40), ((3, 20, 12), 4))
    ),
]  # fmt: skip
