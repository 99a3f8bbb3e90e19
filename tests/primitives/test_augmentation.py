"""Warps against a naive oracle; every twin gives the same bits, whatever the number of threads."""

from __future__ import annotations

import colorsys
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gpunet import primitives, random
from gpunet.primitives import cuda, reference, use_twins
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler

fast = pytest.importorskip("gpunet.primitives.fast")
CHECKED = ("image_means", "recolor_images", "warp_images")  # here, of Numba's kernels

PAD = {"constant": "constant", "nearest": "edge", "wrap": "wrap", "reflect": "symmetric"}
MODES = list(PAD)
FAR = 40  # pixels that the oracle continues images by


def oracle(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], mode: str, bilinear: bool
) -> np.ndarray:
    """Return a warped image by pixels one after another, from one continued by np.pad."""
    options = {"constant_values": 7.0} if mode == "constant" else {}
    padded = np.pad(image, [(FAR, FAR), (FAR, FAR), (0, 0)], PAD[mode], **options)  # type: ignore[call-overload]
    a, b, c, d, e, f, g, h = [*matrix, 0, 0][:8]
    out = np.empty((*size, image.shape[2]))
    for i, j in np.ndindex(*size):
        depth = g * j + h * i + 1
        v, u = (a * j + b * i + c) / depth, (d * j + e * i + f) / depth
        if not bilinear:
            out[i, j] = padded[FAR + round(u), FAR + round(v)]
            continue
        top, left = int(np.floor(u)), int(np.floor(v))
        for row, column in np.ndindex(2, 2):
            weight = abs(1 - row - (u - top)) * abs(1 - column - (v - left))
            value = padded[FAR + top + row, FAR + left + column]
            out[i, j] = weight * value + (out[i, j] if row + column else 0)
    return out


def drawn(seed: int, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Return images and matrices that reach a few pixels past the border, the last in depth."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, 7, 5, 3)).astype(dtype)
    angles, zooms = rng.uniform(0, 6.3, 6), rng.uniform(0.5, 2, 6)
    matrices = np.zeros((6, 8), dtype)
    matrices[:, 0] = matrices[:, 4] = zooms * np.cos(angles)
    matrices[:, 1], matrices[:, 3] = -zooms * np.sin(angles), zooms * np.sin(angles)
    matrices[:, [2, 5]] = rng.uniform(-4, 6, (6, 2))
    matrices[-1, 6:] = 0.02, 0.03
    matrices[0] = [-1, 0, 4, 0, -1, 6, 0, 0]
    return x, matrices


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bilinear", [True, False])
def test_warps_are_those_of_a_continued_image(mode: str, bilinear: bool) -> None:
    x, matrices = drawn(3)
    size = (6, 8)
    with use_twins(reference):
        found = primitives.warp_images(
            x, matrices, size=size, fill_mode=mode, fill_value=7.0,
            interpolation="bilinear" if bilinear else "nearest",
        )  # fmt: skip
    expected = [
        oracle(image, matrix, size, mode, bilinear)
        for image, matrix in zip(x, matrices, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["bilinear", "nearest"])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("entries", [6, 8])
def test_every_twin_gives_the_same_bits(mode: str, how: str, kind: str, entries: int) -> None:
    x, matrices = drawn(5, np.float32)
    x = x if kind == "float32" else (x * 30 + 100).astype(kind)
    colors = np.random.default_rng(1).normal(size=(6, 3, 2)).astype("float32")
    options: dict[str, Any] = {
        "interpolation": how, "fill_mode": mode, "fill_value": 0.3, "value_range": (-100, 100),
    }  # fmt: skip
    found = []
    for twins in (reference, fast, *([cuda] if compiler() else [])):
        with use_twins(twins), use_executor(CpuExecutor("shuffled")):
            found.append(primitives.warp_images(x, matrices[:, :entries], colors, **options))
    for other in found[1:]:
        assert other.tobytes() == found[0].tobytes()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_every_twin_gives_the_same_means(kind: str) -> None:
    x = (np.random.default_rng(2).normal(size=(3, 37, 41, 3)) * 50 + 100).astype(kind)
    found = []
    for twins in (reference, fast, *([cuda] if compiler() else [])):
        with use_twins(twins), use_executor(CpuExecutor("shuffled")):
            found.append(primitives.image_means(x))
    for other in found[1:]:
        assert other.tobytes() == found[0].tobytes()
    np.testing.assert_allclose(found[0], x.mean((1, 2), dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("hue", [0.0, 0.21])
def test_every_twin_gives_the_same_colors(kind: str, hue: float) -> None:
    x = (np.random.default_rng(2).random((3, 9, 11, 3)) * 255).astype(kind)
    x[0, 0] = 7
    colors = np.array([[hue, 0.7], [-hue, 1.9], [hue, 1.0]])
    found = []
    for twins in (reference, fast, *([cuda] if compiler() else [])):
        with use_twins(twins), use_executor(CpuExecutor("shuffled")):
            found.append(primitives.recolor_images(x, colors, low=-3.0))
    for other in found[1:]:
        assert other.tobytes() == found[0].tobytes()


@pytest.mark.parametrize("hue", [-0.4, -0.1, 0.0, 0.3, 0.5])
@pytest.mark.parametrize("saturation", [0.0, 0.5, 1.0])
def test_colors_are_those_of_the_standard_library(hue: float, saturation: float) -> None:
    x = np.random.default_rng(3).random((1, 8, 9, 3))
    found = primitives.recolor_images(x, np.array([[hue, saturation]]))
    for ours, pixel in zip(found.reshape(-1, 3), x.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb((h + hue) % 1, s * saturation, v)
        np.testing.assert_allclose(ours, expected, atol=1e-12)


SCRIPT = """
import hashlib, numpy as np
from gpunet.layers import RandomContrast, RandomFlip, RandomRotation, RandomZoom
x = np.random.default_rng(0).integers(0, 256, (8, 64, 60, 3)).astype("uint8")
for layer in (RandomFlip(seed=1), RandomRotation(0.3, seed=2), RandomZoom(0.4, seed=3),
              RandomContrast(0.5, seed=4)):
    x = layer(x, training=True).value
print(hashlib.sha256(x.tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_no_bit() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True,
            env=os.environ | {"GPUNET_NUM_THREADS": str(count)},
        ).stdout
        for count in (1, 2)
    }  # fmt: skip
    assert len(found) == 1


def test_uniform_numbers_are_bits_of_the_key() -> None:
    key = random.Generator(3).next_key()
    numbers = primitives.uniform_like(np.zeros((1000, 50)), key)
    np.testing.assert_array_equal(
        numbers.ravel(), (random.bits(key, numbers.size) >> np.uint32(8)) * 2.0**-24
    )
    # The mean of n uniform numbers is off by 6 / sqrt(12 n) once in 5e8 times.
    assert abs(numbers.mean() - 0.5) < 6 / np.sqrt(12 * numbers.size)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    single = primitives.uniform_like(np.zeros(5, np.float32), key)
    np.testing.assert_array_equal(single, numbers.ravel()[:5].astype("float32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 3, 3))}, r"expected images of shape \(batch, height"),
        ({"matrices": np.zeros((3, 6))}, r"matrices of shape \(2, 6\) or \(2, 8\)"),
        ({"matrices": np.zeros((2, 7))}, "one for each image, received"),
        ({"colors": np.zeros((2, 2))}, "expected colors of shape"),
        ({"fill_mode": "mirror"}, "fill_mode must be one of"),
        ({"interpolation": "cubic"}, "interpolation must be one of"),
        ({"dtype": "int32"}, "expected a floating-point dtype"),
        ({"x": np.zeros((2, 0, 3, 1)), "size": (1, 1)}, "expected images with pixels"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"x": np.zeros((2, 3, 3, 1)), "matrices": np.zeros((2, 6))} | change
    with pytest.raises((TypeError, ValueError), match=message):
        primitives.warp_images(given.pop("x"), given.pop("matrices"), **given)
