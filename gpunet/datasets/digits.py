"""Digits: the 1,797 real handwritten digits of scikit-learn, scaled to 28x28; needs no network."""

from __future__ import annotations

import numpy as np

from gpunet.datasets.files import LabelledImages

__all__ = ["load_data"]

_TEST_IMAGES = 360
_OLD, _NEW = 8, 28
_OLD_MAXIMUM = 16


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``, with the shapes and dtypes of MNIST.

    Images are uint8 of shape (images, 28, 28), 0 for background and 255 for ink, enlarged from 8x8
    by bilinear interpolation; labels are uint8 of shape (images,), 0 to 9. scikit-learn's order
    stays: the first 1,437 images are to train on, the last 360 to test.
    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "gpunet.datasets.digits takes its images from scikit-learn, which is not installed. "
            'Install it: pip install "gpunet[datasets]".'
        ) from error
    data = load_digits()
    x, y = _enlarge(data.images.astype(np.int64)), data.target.astype(np.uint8)
    return (x[:-_TEST_IMAGES], y[:-_TEST_IMAGES]), (x[-_TEST_IMAGES:], y[-_TEST_IMAGES:])


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Return integer images (n, 8, 8) of values 0 to 16 as uint8 (n, 28, 28) of values 0 to 255.

    Pixel i of 28 lies at (i + 1/2) 8/28 - 1/2 = (4 i - 5) / 14 of 8, held within the image. Weights
    are counted in fourteenths, so that all sums are exact and the same on every machine.
    """
    unit = 14
    position = np.clip(4 * np.arange(_NEW) - 5, 0, unit * (_OLD - 1))
    distance = np.abs(position[:, np.newaxis] - unit * np.arange(_OLD))
    weights = np.maximum(unit - distance, 0)  # (28, 8); each row sums to 14
    scaled = 255 * (weights @ images @ weights.T)
    largest = unit * unit * _OLD_MAXIMUM
    return ((scaled + largest // 2) // largest).astype(np.uint8)
