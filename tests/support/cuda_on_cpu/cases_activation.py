"""Cases of the activations."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives.checks import OUTPUT_ACTIVATIONS
from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (*OUTPUT_ACTIVATIONS, "silu", "gelu")),
    ("leaky_relu", {"negative_slope": 1.5}),
    ("elu", {"alpha": 0.3}),
    ("gelu", {"approximate": True}),
]


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers on both sides of the bends, some of them large."""
    x = rng.normal(size=shape) * rng.choice([0.1, 2.0, 10.0], shape)
    x.reshape(-1)[:3] = [0.0, 100.0, -100.0][: x.size]
    return x


def forward(rng: np.random.Generator, shape: tuple[int, ...], options: Any) -> Arguments:
    return [numbers(rng, shape)], options


def backward(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], options: Any
) -> Arguments:
    saved = numbers(rng, shape)
    if name in OUTPUT_ACTIVATIONS:
        saved = getattr(reference, f"{name}_forward")(saved, **options)
    return [rng.normal(size=shape), saved], options


def fused_backward(rng: np.random.Generator, name: str) -> Arguments:
    (output_grad, output), _ = backward(rng, name, (7, 9), {})
    return [output_grad, output, name], {}


def no_activation(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(7, 9)), None, None], {}


def strided(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(9, 8)).T, numbers(rng, (8, 9))[:, ::-1]], {}


CASES = [
    # 1,003 elements leave a rest of every vector width.
    *(
        Case(
            f"{name}_{way}",
            f"{shape}-{options}",
            partial(make, shape=shape, options=options),
            # The form of gelu in tanh multiplies 1 - tanh^2, which cancels, by up to about 10.
            terms=16 if name == "gelu" else 1,
            dtypes=ALL if not options else ("float32", "float64"),
        )
        for name, options in OPTIONS
        for way, make in (("forward", forward), ("backward", partial(backward, name=name)))
        for shape in ((17, 59), (3, 2, 4))
    ),
    *(
        Case("activation_backward", name, partial(fused_backward, name=name))
        for name in OUTPUT_ACTIVATIONS
    ),
    Case("activation_backward", "None", no_activation),
    # More than the grid has threads for: they go round again.
    Case("relu_forward", "large", partial(forward, shape=(70_003,), options={})),
    Case("relu_backward", "large", partial(backward, name="relu", shape=(70_003,), options={})),
    Case("relu_forward", "empty", partial(forward, shape=(0, 3), options={})),
    Case("relu_backward", "views", strided),
]
