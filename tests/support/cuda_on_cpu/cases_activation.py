"""Cases of the activations."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.primitives import RELU, Activation, as_activation, saves_output
from gpunet.primitives.activation_table import ACTIVATIONS
from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
OPTIONS = [
    as_activation("leaky_relu", negative_slope=1.5),
    as_activation("elu", alpha=0.3),
    as_activation("clipped_relu", max_value=3.0),
    as_activation("clipped_relu", negative_slope=0.5, max_value=3.0, threshold=1.0),
    as_activation("clipped_relu", threshold=1.0),
]


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers on both sides of the bends, some of them large."""
    x = rng.normal(size=shape) * rng.choice([0.1, 2.0, 10.0], shape)
    x.reshape(-1)[:3] = [0.0, 100.0, -100.0][: x.size]
    return x


def forward(rng: np.random.Generator, activation: Activation, shape: tuple[int, ...]) -> Arguments:
    return [numbers(rng, shape), activation], {}


def backward(rng: np.random.Generator, activation: Activation, shape: tuple[int, ...]) -> Arguments:
    saved = numbers(rng, shape)
    if saves_output(activation):
        saved = reference.activate(saved, activation)
    return [rng.normal(size=shape), saved, activation], {}


# At infinity they multiply it by 0 or divide it by itself, and NumPy warns of that.
UNDEFINED_AT_INFINITY = {"softsign", "silu", "hard_silu", "gelu", "gelu_tanh"}


def special(rng: np.random.Generator, activation: Activation) -> Arguments:
    """Return NaN, zeros, and infinities or large numbers."""
    end = 1e4 if activation.name in UNDEFINED_AT_INFINITY else np.inf
    return [np.array([np.nan, end, -end, 0.0, -0.0, 1.0]), activation], {}


def special_backward(rng: np.random.Generator, activation: Activation) -> Arguments:
    saved = special(rng, activation)[0][0]
    if saves_output(activation):
        saved = reference.activate(saved, activation)
    return [rng.normal(size=saved.shape), saved, activation], {}


def no_activation(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(7, 9)), None, None], {}


def strided(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(9, 8)).T, numbers(rng, (8, 9))[:, ::-1], RELU], {}


CASES = [
    # 1,003 elements leave a rest of every vector width.
    *(
        Case(
            primitive,
            f"{activation}-{shape}",
            partial(make, activation=activation, shape=shape),
            # The form of gelu in tanh multiplies 1 - tanh^2, which cancels, by up to about 10.
            terms=16 if activation.name.startswith("gelu") else 1,
            dtypes=("float32", "float64") if activation in OPTIONS else ALL,
        )
        for activation in (*map(as_activation, ACTIVATIONS), *OPTIONS)
        for primitive, make in (("activate", forward), ("activate_backward", backward))
        for shape in ((17, 59), (3, 2, 4))
    ),
    *(
        Case(primitive, f"{activation}-special", partial(make, activation=activation))
        for activation in (*map(as_activation, ACTIVATIONS), *OPTIONS)
        for primitive, make in (("activate", special), ("activate_backward", special_backward))
    ),
    Case("activate_backward", "None", no_activation),
    # More than the grid has threads for: they go round again.
    Case("activate", "large", partial(forward, activation=RELU, shape=(70_003,))),
    Case("activate_backward", "large", partial(backward, activation=RELU, shape=(70_003,))),
    Case("activate", "empty", partial(forward, activation=RELU, shape=(0, 3))),
    Case("activate_backward", "views", strided),
]
