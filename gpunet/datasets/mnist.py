"""MNIST: 28x28 images of handwritten digits, 60,000 for training and 10,000 for testing."""

from __future__ import annotations

from gpunet.datasets.cache import RemoteFile, fetch
from gpunet.datasets.files import LabelledImages, read_npz

__all__ = ["load_data"]

# Keras' file, with its checksum in Keras.
_FILE = RemoteFile(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``; download the file on first use.

    Images are uint8 (images, 28, 28), from 0 (background) to 255 (ink); labels are uint8 (images,),
    0 to 9. An existing ``mnist.npz`` in `gpunet.datasets.cache_folder()` is used unchanged. Source:
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998.

    Raises:
        ConnectionError: the file is not in the cache and the download failed.
        ImportError: a download is needed and pooch is not installed.
        OSError: the cache folder cannot be written.
        ValueError: the file is damaged or has other arrays.

    Example:
        >>> from gpunet.datasets import mnist
        >>> (x_train, y_train), (x_test, y_test) = mnist.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((60000, 28, 28), (60000,))
    """
    return read_npz(fetch(_FILE))
