"""Fashion-MNIST: 28x28 images of clothing in ten classes, a drop-in replacement for MNIST."""

from __future__ import annotations

from gpunet.datasets.cache import RemoteFile, cache_folder, fetch
from gpunet.datasets.files import Bytes, LabelledImages, check_labels, read_idx, read_npz

__all__ = ["load_data"]

# The authors' repository, pinned to a commit.
_FOLDER = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
)
_SHA256 = {
    "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``; download the files on first use.

    Images are uint8 (images, 28, 28), 60,000 for training and 10,000 for testing; labels are uint8
    (images,): 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker,
    8 bag, 9 ankle boot. Existing files in `gpunet.datasets.cache_folder()` are used unchanged:
    ``fashion_mnist.npz`` with the arrays of Keras' ``mnist.npz``, or the authors' four
    ``fashion-mnist/*-ubyte.gz``. Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image
    dataset for benchmarking machine learning algorithms", 2017.

    Raises:
        ConnectionError: a file is not in the cache and the download failed.
        ImportError: a download is needed and pooch is not installed.
        OSError: the cache folder cannot be written.
        ValueError: a file is damaged or has other content.

    Example:
        >>> from gpunet.datasets import fashion_mnist
        >>> (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((60000, 28, 28), (60000,))
    """
    whole = cache_folder() / "fashion_mnist.npz"
    if whole.is_file():
        return read_npz(whole)
    return _load_split("train"), _load_split("t10k")


def _load_split(split: str) -> tuple[Bytes, Bytes]:
    images, labels = (fetch(_remote(f"{split}-{kind}")) for kind in ("images-idx3", "labels-idx1"))
    x, y = read_idx(images, axes=3), read_idx(labels, axes=1)
    check_labels(labels, x, y)
    return x, y


def _remote(stem: str) -> RemoteFile:
    name = f"{stem}-ubyte.gz"
    return RemoteFile(f"fashion-mnist/{name}", f"{_FOLDER}/{name}", _SHA256[stem])
