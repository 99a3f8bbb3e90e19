"""Data to train on: MNIST and Fashion-MNIST, downloaded once, and digits, which need no network."""

from gpunet.datasets import digits, fashion_mnist, mnist
from gpunet.datasets.cache import cache_folder

__all__ = ["cache_folder", "digits", "fashion_mnist", "mnist"]
