"""Datasets of images, speech and text, each read from a file or downloaded once."""

from gpunet.datasets import (
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    mnist,
    shakespeare,
    spoken_digits,
)
from gpunet.datasets.cache import cache_folder

__all__ = [
    "cache_folder", "cifar10", "cifar100", "digits", "fashion_mnist", "mnist", "shakespeare",
    "spoken_digits",
]  # fmt: skip
