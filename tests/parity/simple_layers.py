"""Drawn arguments of layers that have no kernels of their own: one list for all their tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["CASES", "Case"]

Case = tuple[str, dict[str, Any], tuple[int, ...]]

FORMATS = ["channels_last", "channels_first"]
DRAWS = 4


def _cases() -> Iterator[Case]:
    """Yield (class, arguments, shape of the input); the same in every run."""
    rng = np.random.default_rng(11)

    def number(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    def shape(rank: int) -> tuple[int, ...]:
        return tuple(int(size) for size in rng.integers(2, 6, rank))

    def pairs(rank: int, most: int) -> Any:
        kind = rng.integers(3)
        if kind == 0:
            return int(rng.integers(most + 1))
        found = tuple(tuple(int(n) for n in rng.integers(0, most + 1, 2)) for _ in range(rank))
        if rank == 1:
            return found[0]
        return found if kind == 1 else tuple(pair[0] for pair in found)

    for _ in range(DRAWS):
        yield "ReLU", {}, shape(3)
        slope, threshold = number(0, 1), number(0, 1)
        yield "ReLU", {"max_value": number(0.5, 2), "negative_slope": slope}, shape(2)
        yield "ReLU", {"negative_slope": slope, "threshold": threshold}, shape(2)
        yield "LeakyReLU", {}, shape(3)
        yield "LeakyReLU", {"negative_slope": slope}, shape(3)
        yield "ELU", {"alpha": number(0, 2)}, shape(3)
        yield "PReLU", {"alpha_initializer": "random_normal"}, shape(3)
        shared = sorted({int(axis) for axis in rng.integers(1, 4, 2)})
        initializer = {"alpha_initializer": "random_uniform"}
        yield "PReLU", {**initializer, "shared_axes": shared}, shape(4)
        yield "Softmax", {"axis": int(rng.integers(-3, 3))}, shape(3)
        yield "Softmax", {"axis": [-1, 1]}, shape(4)
        yield "Identity", {}, shape(3)
        rank = int(rng.integers(1, 5))
        yield "Flatten", {"data_format": str(rng.choice(FORMATS))}, shape(rank)
        dims = tuple(int(axis) for axis in rng.permutation(np.arange(1, rank + 1)))
        yield "Permute", {"dims": dims}, shape(rank + 1)
        yield "RepeatVector", {"n": int(rng.integers(1, 5))}, shape(2)
        batch, rows, columns = shape(3)
        yield "Reshape", {"target_shape": (columns, rows)}, (batch, rows, columns)
        yield "Reshape", {"target_shape": (-1, rows)}, (batch, rows, columns)
        for n in (1, 2, 3):
            sizes = tuple(size + 4 for size in shape(n + 2))
            layout = {} if n == 1 else {"data_format": str(rng.choice(FORMATS))}
            yield f"Cropping{n}D", {"cropping": pairs(n, 2), **layout}, sizes
            layout = {"data_format": str(rng.choice(FORMATS))}
            yield f"ZeroPadding{n}D", {"padding": pairs(n, 2), **layout}, shape(n + 2)
            keepdims = {"keepdims": bool(rng.integers(2)), **layout}
            yield f"GlobalAveragePooling{n}D", keepdims, shape(n + 2)
            yield f"GlobalMaxPooling{n}D", keepdims, shape(n + 2)
        yield "UpSampling1D", {"size": int(rng.integers(1, 4))}, shape(3)
        for interpolation in ("nearest", "bilinear"):
            size = tuple(int(n) for n in rng.integers(1, 5, 2))
            options = {"interpolation": interpolation, "data_format": str(rng.choice(FORMATS))}
            yield "UpSampling2D", {"size": size, **options}, shape(4)
        size = tuple(int(n) for n in rng.integers(1, 4, 3))
        yield "UpSampling3D", {"size": size, "data_format": str(rng.choice(FORMATS))}, shape(5)
    for name in ("Cropping1D", "Cropping3D", *(f"ZeroPadding{n}D" for n in (1, 2, 3))):
        yield name, {}, (2, 5, 4, 6, 3)[: 2 + int(name[-2])]
    for name in ("UpSampling1D", "UpSampling2D", "UpSampling3D"):
        yield name, {}, (2, 3, 4, 2, 3)[: 2 + int(name[-2])]
    yield "Flatten", {}, (5,)
    yield "Cropping2D", {}, (2, 3, 4, 1)
    yield "Reshape", {"target_shape": (2, -1, 1, 3)}, (2, 4, 9)


CASES = list(_cases())
