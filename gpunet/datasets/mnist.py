"""MNIST: 28x28 images of handwritten digits, 60,000 to train on and 10,000 to test."""

from __future__ import annotations

from gpunet.datasets.cache import RemoteFile, fetch
from gpunet.datasets.files import LabelledImages, read_npz

__all__ = ["load_data"]

# Keras' file and the checksum that Keras holds it against.
_FILE = RemoteFile(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``, downloading them the first time.

    Images are uint8 of shape (images, 28, 28), 0 for background and 255 for ink; labels are uint8
    of shape (images,), 0 to 9. A ``mnist.npz`` in `gpunet.datasets.cache_folder()` is taken as it
    is. Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
    recognition", 1998.

    Raises:
        ConnectionError: if the file is not in the cache and cannot be downloaded.
        ImportError: if it must be downloaded and pooch is not installed.
        OSError: if the cache folder cannot be written.
        ValueError: if the file is damaged or holds other arrays.
    """
    return read_npz(fetch(_FILE))
