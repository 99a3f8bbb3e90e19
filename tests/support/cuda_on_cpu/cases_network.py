"""Cases of networks: each kind of operation, and values that several of them read."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.primitives import Network, as_activation
from gpunet.primitives.network_operations import (
    Activate,
    Affine,
    Flatten,
    Operation,
    Pooling,
    Product,
    Sum,
)

from .cases import Arguments, Case

SINGLE = ("float32", "float64")
RELU, RELU6 = as_activation("relu"), as_activation("clipped_relu", max_value=6.0)


def kernel_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))


def affine(rng: np.random.Generator, channels: int, *, plain: bool = False) -> Affine:
    gamma, beta, mean = rng.standard_normal((3, channels))
    variance = 0.5 + rng.random(channels)
    return Affine(None if plain else gamma, None if plain else beta, mean, variance, 1e-3)


def residual(rng: np.random.Generator) -> list[Operation]:
    """Return convolutions around which two values pass, pooling of each kind, and dense layers."""
    same = {"padding": "same"}
    return [
        Product((0,), kernel_of(rng, 3, 3, 2, 9), rng.standard_normal(9), affine(rng, 9), RELU,
                **same),
        Product((1,), kernel_of(rng, 3, 3, 9, 9), None, affine(rng, 9, plain=True), RELU6, **same),
        Sum((1, 2)),
        Activate((3,), RELU),
        Product((4,), kernel_of(rng, 3, 2, 1, 9), rng.standard_normal(9), None, RELU, (1, 2),
                "same", is_depthwise=True),
        Sum((5, 5)),
        Pooling((6,), largest=True, pool_size=(3, 2), strides=(1, 1), padding="same"),
        Product((7,), kernel_of(rng, 1, 1, 9, 4), rng.standard_normal(4), pool_size=(2, 1)),
        Pooling((8,), largest=False, pool_size=(2, 2)),
        Flatten((9,)),
        Product((10,), kernel_of(rng, 4, 5), rng.standard_normal(5), activation=RELU),
        Sum((11, 11)),
        Product((12,), kernel_of(rng, 5, 3), None),
    ]  # fmt: skip


def whole_images(rng: np.random.Generator) -> list[Operation]:
    """Return pooling over all pixels, beside the same by the largest."""
    return [
        Product((0,), kernel_of(rng, 2, 2, 2, 8), None, activation=as_activation("tanh")),
        Pooling((1,), largest=False, pool_size=None),
        Pooling((1,), largest=True, pool_size=None),
        Sum((2, 3)),
    ]


def rows(rng: np.random.Generator) -> list[Operation]:
    """Return dense layers of the last of several axes."""
    return [
        Product((0,), kernel_of(rng, 2, 19), rng.standard_normal(19), affine(rng, 19), RELU6),
        Product((1,), kernel_of(rng, 19, 2), None),
        Sum((0, 2)),
    ]


def make(operations: object, shape: tuple[int, ...], rng: np.random.Generator) -> Arguments:
    network = Network(operations(rng))  # type: ignore[operator]
    return [rng.standard_normal(shape), network], {}


CASES = [
    Case("network_forward", label, partial(make, operations, shape), terms, dtypes=SINGLE)
    for label, operations, shape, terms in (
        ("residual", residual, (3, 4, 6, 2), 120),
        ("no image", residual, (0, 4, 6, 2), 120),
        ("whole images", whole_images, (2, 5, 4, 2), 20),
        ("rows", rows, (2, 3, 2), 24),
    )
]
