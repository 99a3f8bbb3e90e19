"""The 1,797 handwritten digits of scikit-learn, resized to 28x28; needs no network."""

from __future__ import annotations

import numpy as np

from gpunet.datasets.files import LabelledImages

__all__ = ["load_data"]

_TEST_IMAGES = 360
_OLD, _NEW = 8, 28
_OLD_MAXIMUM = 16


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``, with the shapes and dtypes of MNIST.

    Images are uint8 (images, 28, 28), from 0 (background) to 255 (ink), resized from 8x8 by
    bilinear interpolation; labels are uint8 (images,), 0 to 9. In scikit-learn's order, the first
    1,437 images are for training, the last 360 for testing.
    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998.

    Raises:
        ImportError: scikit-learn is not installed.

    Example:
        >>> from gpunet.datasets import digits
        >>> (x_train, y_train), (x_test, y_test) = digits.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((1437, 28, 28), (1437,))
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "gpunet.datasets.digits loads its images from scikit-learn, which is not installed. "
            'Install it: pip install "gpunet[datasets]".'
        ) from error
    data = load_digits()
    x, y = _enlarge(data.images.astype(np.int64)), data.target.astype(np.uint8)
    return (x[:-_TEST_IMAGES], y[:-_TEST_IMAGES]), (x[-_TEST_IMAGES:], y[-_TEST_IMAGES:])


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Resize integer images (n, 8, 8) from 0 to 16 to uint8 (n, 28, 28) from 0 to 255.

    Pixel i of 28 is at (i + 1/2) 8/28 - 1/2 = (4 i - 5) / 14 of 8, clipped to the image. Weights
    are integers in units of 1/14, so that sums are exact and equal on all machines.
    """
    unit = 14
    position = np.clip(4 * np.arange(_NEW) - 5, 0, unit * (_OLD - 1))
    distance = np.abs(position[:, np.newaxis] - unit * np.arange(_OLD))
    weights = np.maximum(unit - distance, 0)  # (28, 8); each row sums to 14
    scaled = 255 * (weights @ images @ weights.T)
    largest = unit * unit * _OLD_MAXIMUM
    return ((scaled + largest // 2) // largest).astype(np.uint8)
