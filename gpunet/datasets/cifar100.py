"""CIFAR-100: 32x32 color images of 100 classes in 20 groups, 50,000 for training."""

from __future__ import annotations

from gpunet.datasets.cache import RemoteFile
from gpunet.datasets.cifar import Archive, load_archive
from gpunet.datasets.files import LabelledImages

__all__ = ["load_data"]

# The author's file, with its checksum in Keras.
_ARCHIVE = Archive(
    RemoteFile(
        "cifar-100-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
    keras_names=("cifar-100-python-target_archive", "cifar-100-python_archive"),
    train=("train",),
    test=("test",),
)
_CLASSES = {"fine": 100, "coarse": 20}


def load_data(label_mode: str = "fine") -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``; download the archive on first use.

    Images are uint8 (images, 32, 32, 3), 50,000 for training and 10,000 for testing; labels are
    uint8 (images, 1). An existing ``cifar-100-python.tar.gz`` in `gpunet.datasets.cache_folder()`
    is used unchanged, and so is the archive that Keras has downloaded. Source: Krizhevsky,
    "Learning multiple layers of features from tiny images", 2009.

    Arguments:
        label_mode: ``"fine"`` for labels of the 100 classes, ``"coarse"`` for the 20 groups.

    Raises:
        ConnectionError: the archive is not there and the download failed.
        ImportError: a download is needed and pooch is not installed.
        OSError: the cache folder cannot be written.
        ValueError: for another label mode, or a damaged file.

    Example:
        >>> from gpunet.datasets import cifar100
        >>> (x_train, y_train), (x_test, y_test) = cifar100.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((50000, 32, 32, 3), (50000, 1))
    """
    if label_mode not in _CLASSES:
        raise ValueError(f"label_mode is 'fine' or 'coarse', received {label_mode!r}.")
    return load_archive(_ARCHIVE, f"{label_mode}_labels", _CLASSES[label_mode])
