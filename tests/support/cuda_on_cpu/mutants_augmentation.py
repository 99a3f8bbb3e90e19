"""Mistakes put into the kernels of augmentation."""

from __future__ import annotations

from .mutants import Mutant

FILE = "augmentation.cu"


def mutant(label: str, primitive: str, before: str, after: str) -> Mutant:
    return Mutant(label, FILE, primitive, before, after)


MUTANTS = [
    mutant("rows for columns", "warp_images", "m[1], i) + m[2]", "m[1], j) + m[2]"),
    mutant(
        "a pixel past the border", "warp_images", "i < height && j >= 0", "i <= height && j >= 0"
    ),
    mutant(
        "a border twice as near", "warp_images", "2 * size - 1 - folded", "2 * size - 2 - folded"
    ),
    mutant("no turn of what is negative", "warp_images", "rest < 0 ? rest + size : rest", "rest"),
    mutant("a clip off", "warp_images", "value > high ? high : value", "value"),
    mutant(
        "the first image's colors", "warp_images", "(image * channels + channel) * 2", "channel * 2"
    ),
    mutant(
        "down for right",
        "warp_images",
        "from.value(second, channel), right)",
        "from.value(second, channel), down)",
    ),
    mutant("a half left out", "image_means", "half = MEAN_THREADS / 2", "half = MEAN_THREADS / 4"),
    mutant(
        "no wait",
        "image_means",
        "    sums[threadIdx.x] = sum;\n    __syncthreads();",
        "    sums[threadIdx.x] = sum;",
    ),
    mutant("a bit too many", "uniform_like", "random, k) >> 8", "random, k) >> 7"),
    mutant(
        "one number too many",
        "uniform_like",
        "if (place < count) y[place]",
        "if (place <= count) y[place]",
    ),
    mutant("green for blue", "recolor_images", "red - blue + 2", "blue - red + 2"),
    mutant(
        "no bound of saturation",
        "recolor_images",
        "color[1] < whole ? color[1] : whole",
        "color[1]",
    ),
    mutant(
        "past the circle", "recolor_images", "distance > 3 ? distance - 6 : distance", "distance"
    ),
]
