"""Cases of augmentation: warps, means of channels, and uniform numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")

# Numbers that float32 holds, and places between pixels that nothing rounds to another pixel.
MATRICES = {
    "identity": [1, 0, 0, 0, 1, 0],
    "flips": [-1, 0, 5, 0, -1, 4],
    "moves": [1, 0, -2, 0, 1, 3],
    "turns": [0, 1, 0, -1, 0, 4],
    "zooms": [1.5, 0, -0.75, 0, 0.5, 0.25],
    "slants": [1, 0.5, -1.25, -0.25, 1, 1.125],
    "far": [0, 0, 1e20, 0, 1, -1e20],
}
PERSPECTIVE = [1, 0.25, 0.5, 0, 1, -0.25, 0.03125, 0.0625]


def warp(
    rng: np.random.Generator,
    matrix: list[float],
    batch: int = 2,
    channels: int = 3,
    kind: str = "float64",
    colored: bool = False,
    **options: Any,
) -> Arguments:
    x = rng.normal(size=(batch, 5, 6, channels)) if kind == "float64" else None
    if x is None:
        x = rng.integers(0, 2 if kind == "bool" else 100, (batch, 5, 6, channels)).astype(kind)
    # The second image and those after it lie still.
    matrices = np.zeros((batch, len(matrix)))
    matrices[:, [0, 4]] = 1
    matrices[:1] = matrix
    colors = rng.normal(size=(batch, channels, 2)) if colored else None
    return [x, matrices, colors], options


def large(rng: np.random.Generator) -> Arguments:
    args, options = warp(rng, MATRICES["slants"])
    args[0], args[1] = rng.normal(size=(3, 90, 110, 1)), np.repeat(args[1][:1], 3, axis=0)
    return args, options


def view(rng: np.random.Generator) -> Arguments:
    (x, matrices, _), options = warp(rng, MATRICES["slants"], batch=4)
    colors = rng.normal(size=(2, 3, 4))[..., ::2]
    return [x[::2, :, ::-1], np.tile(matrices, 2)[::2, :6], colors], options


def recolored(
    rng: np.random.Generator, hue: float = 0.25, kind: str = "float64", **options: Any
) -> Arguments:
    x = rng.integers(0, 100, (3, 40, 7, 3)).astype(kind)
    x[0, :3] = x[0, :3, :, :1]  # gray
    colors = np.array([[hue, 0.5], [-hue, 2.0], [0.0, 1.0]])
    return [x, colors], options


def means(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str = "float64", **options: Any
) -> Arguments:
    x = rng.normal(size=shape) if kind == "float64" else rng.integers(0, 200, shape).astype(kind)
    return [x], options


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return [np.zeros(shape), rng.integers(0, 2**64, 2, dtype=np.uint64)], {}


def strided_key(rng: np.random.Generator) -> Arguments:
    return [np.zeros(20), rng.integers(0, 2**64, 4, dtype=np.uint64)[::2]], {}


CASES = [
    *(
        Case(
            "warp_images",
            f"{name}-{mode}-{how}",
            partial(warp, matrix=matrix, fill_mode=mode, interpolation=how, fill_value=0.5),
        )
        for name, matrix in MATRICES.items()
        for mode in ("constant", "nearest", "wrap", "reflect")
        for how in ("nearest", "bilinear")
        if how == "bilinear" or name not in ("zooms", "slants")
    ),
    *(
        Case(
            "warp_images",
            f"perspective-{mode}",
            partial(warp, matrix=PERSPECTIVE, fill_mode=mode, colored=True),
            dtypes=ALL if mode == "wrap" else ("float32", "float64"),
            terms=8,
        )
        for mode in ("constant", "wrap")
    ),
    *(
        Case(
            "warp_images",
            f"{kind}",
            partial(warp, matrix=MATRICES["slants"], kind=kind, colored=True, dtype="float32"),
            dtypes=("float32",),
            terms=4,
        )
        for kind in ("uint8", "int64", "bool")
    ),
    *(
        Case("warp_images", f"{name}-size={size}", partial(warp, matrix=MATRICES[name], size=size))
        for name in ("moves", "slants")
        for size in ((3, 2), (9, 8), (0, 4))
    ),
    *(
        Case("warp_images", f"channels={count}", partial(warp, matrix=MATRICES["turns"], **sizes))
        for count, sizes in {
            1: {"channels": 1}, 5: {"channels": 5}, "no images": {"batch": 0},
        }.items()
    ),
    Case(
        "warp_images",
        "colors",
        partial(warp, matrix=MATRICES["flips"], colored=True, value_range=(-0.5, 0.5)),
        dtypes=ALL,
    ),
    Case("warp_images", "large", large),
    Case("warp_images", "view", view, terms=2),
    *(
        Case("recolor_images", f"hue={hue}", partial(recolored, hue=hue, low=-1.0), terms=4)
        for hue in (0.0, 0.125, 0.5)
    ),
    Case("recolor_images", "rounded", partial(recolored, hue=0.0), terms=4, dtypes=ALL),
    Case(
        "recolor_images", "uint8", partial(recolored, kind="uint8", dtype="float32"),
        dtypes=("float32",), terms=4,
    ),
    *(
        Case("image_means", f"{shape}", partial(means, shape=shape), dtypes=ALL)
        for shape in ((2, 5, 6, 3), (3, 1, 1, 1), (1, 40, 30, 2), (0, 3, 3, 2))
    ),
    Case(
        "image_means", "uint8", partial(means, shape=(2, 5, 7, 3), kind="uint8", dtype="float32"),
        dtypes=("float32",),
    ),
    *(
        Case("uniform_like", f"{shape}", partial(drawn, shape=shape), dtypes=ALL)
        for shape in ((17, 59), (3,))
    ),
    *(
        Case("uniform_like", f"{shape}", partial(drawn, shape=shape))
        for shape in ((0, 3), (140_001,))  # the last goes round the grid again
    ),
    Case("uniform_like", "strided-key", strided_key),
]  # fmt: skip
