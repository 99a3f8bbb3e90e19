"""Spectrograms of the spoken digits, and what the examples that classify them do alike."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet as keras
from gpunet.datasets import spoken_digits

BANDS = 40  # of frequency, evenly spaced in mel
WINDOW, STEP = 256, 128  # samples of a frame, and between the starts of two: 32 and 16 ms


def load_spectrograms(
    samples: int | None,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return spectrograms (n, 61, BANDS) and labels (n,) to train and to test on; or exit.

    Arguments:
        samples: how many recordings to train and to test on at most; None for all.
    """
    try:
        (x_train, y_train), (x_test, y_test) = spoken_digits.load_data()
    except (OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    order = np.random.default_rng(0).permutation(len(x_train))[:samples]
    rest = np.random.default_rng(1).permutation(len(x_test))[:samples]
    x_train, x_test = spectrograms(x_train[order]), spectrograms(x_test[rest])
    mean, std = x_train.mean(), x_train.std()
    return ((x_train - mean) / std, y_train[order]), ((x_test - mean) / std, y_test[rest])


def spectrograms(recordings: np.ndarray) -> np.ndarray:
    """Return the logarithm of the power in bands of frequency, for each frame of each recording.

    Arguments:
        recordings: int16 (n, samples), each scaled to its loudest sample.
    """
    loudest = np.maximum(np.abs(recordings.astype("float32")).max(axis=1, keepdims=True), 1)
    frames = np.lib.stride_tricks.sliding_window_view(recordings / loudest, WINDOW, axis=1)
    spectra = np.fft.rfft(frames[:, ::STEP] * np.hanning(WINDOW))
    return np.log(np.abs(spectra) ** 2 @ mel_filters() + 1e-4).astype("float32")


def mel_filters() -> np.ndarray:
    """Return triangles (WINDOW // 2 + 1, BANDS), each from the centre before to the one after.

    The scale is O'Shaughnessy's, 2595 log10(1 + hertz / 700).
    """
    top = 2595 * np.log10(1 + spoken_digits.SAMPLING_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(WINDOW, 1 / spoken_digits.SAMPLING_RATE)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def train_and_test(build_model: Callable[[int, int], Any], description: str, epochs: int) -> None:
    """Train a model on spectrograms as the command line says, and print its test accuracy.

    Arguments:
        build_model: takes the number of frames and of bands, returns a compiled model.
        description: of the program.
        epochs: to train for by default.
    """
    args = parse_arguments(description, epochs)
    keras.random.seed(args.seed)
    (x_train, y_train), (x_test, y_test) = load_spectrograms(args.samples)
    print(f"Spectrograms: {len(x_train):,} to train on, {len(x_test):,} to test, {x_train.shape}")
    model = build_model(*x_train.shape[1:])
    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=32, epochs=args.epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy: {accuracy:.4f}, after {seconds:.1f} s of training")


def parse_arguments(description: str, epochs: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--samples", type=int, help="recordings to train and test on; all of them")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("epochs", "samples"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(args, name)}")
    return args
