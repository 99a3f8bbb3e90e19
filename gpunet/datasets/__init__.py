"""Datasets: MNIST and Fashion-MNIST, downloaded once, and digits, which needs no network."""

from gpunet.datasets import digits, fashion_mnist, mnist
from gpunet.datasets.cache import cache_folder

__all__ = ["cache_folder", "digits", "fashion_mnist", "mnist"]
