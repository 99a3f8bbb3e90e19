"""Roles: what fusion may do with a layer.

A layer class declares its role by a method ``fusion_role(self)``, which returns one of the types
here, or None if the options of the layer rule fusion out. The method counts on the class that
defines it alone: a subclass may compute something else. It may depend on the attributes of the
layer and on `is_training`: fusion asks again when an attribute of any layer was set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "Apply",
    "Depthwise",
    "Flat",
    "Normalize",
    "Pass",
    "Pool",
    "Product",
    "Role",
    "Scale",
    "Sum",
    "attribute_was_set",
    "attributes_version",
    "role_of",
]

_version = 0


class Product(NamedTuple):
    """A product with a kernel: of rows with a matrix, or of images with a convolution's kernel."""

    activation: Any
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)


class Pool(NamedTuple):
    """The largest or the mean of each window of images.

    Attributes:
        pool_size: of a window; None for all pixels, whose axes then are gone.
        strides: None for the size of the window.
        padding: as of a convolution.
        largest: whether the largest is taken, else the mean.
    """

    pool_size: Any
    strides: Any = None
    padding: Any = "valid"
    largest: bool = True

    @property
    def is_fusible(self) -> bool:
        """True if convolutions can do it: the largest of windows side by side, no padding."""
        side_by_side = self.strides in (None, self.pool_size) and self.padding in ("valid", 0)
        return self.largest and side_by_side and self.pool_size is not None


class Apply(NamedTuple):
    """An activation by itself."""

    activation: Any


class Flat(NamedTuple):
    """Images become rows, without moving an element."""


class Pass(NamedTuple):
    """The input is returned, now."""


class Depthwise(NamedTuple):
    """A convolution of each channel of images by itself."""

    activation: Any
    strides: tuple[int, int]
    padding: Any
    dilation: tuple[int, int]


class Normalize(NamedTuple):
    """Normalization of the last axis by the statistics of the batch, with `layer.normalize`."""


class Scale(NamedTuple):
    """Normalization of the last axis by moving averages, which `layer.affine` returns."""


class Sum(NamedTuple):
    """The sum of the inputs."""


Role = Apply | Depthwise | Flat | Normalize | Pass | Pool | Product | Scale | Sum


def role_of(layer: Any) -> Role | None:
    """Return the role that the layer's own class declares; None if its call does more than that."""
    declared = vars(type(layer)).get("fusion_role")
    if declared is None or "call" in vars(layer) or layer.activity_regularizer is not None:
        return None
    return declared(layer)


def attributes_version() -> int:
    """Return a number that changes whenever an attribute of a layer is set: a cache key."""
    return _version


def attribute_was_set() -> None:
    """Change the number of `attributes_version`."""
    global _version
    _version += 1
