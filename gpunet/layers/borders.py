"""Layers that take pixels from the borders of their input, or put zeros around it."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.layers.grid import GridLayer, in_pairs

__all__ = [
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]


class _Cropping(GridLayer):
    def __init__(self, cropping: Any, data_format: Any = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.cropping = in_pairs(cropping, self.rank, "cropping", type(self).__name__)

    def output_size(self, position: int, size: int) -> int:
        left = size - sum(self.cropping[position])
        if left <= 0:
            raise ValueError(
                f"{type(self).__name__}: cropping must leave something of each axis, received "
                f"{self.cropping[position]} for an axis of size {size}."
            )
        return left

    def call(self, x: Any) -> Any:
        kept = [slice(None)] * x.ndim
        for axis, (before, after) in zip(self.axes, self.cropping, strict=True):
            kept[axis] = slice(before, x.shape[axis] - after)
        return functions.getitem(x, tuple(kept))


class Cropping1D(_Cropping):
    """Leave out steps at both ends of a sequence, (batch, steps, channels).

    Arguments:
        cropping: an integer, or (before, after).
        options: those of every `Layer`.

    >>> Cropping1D((1, 2)).compute_output_shape((None, 10, 3))
    (None, 7, 3)
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **options: Any) -> None:
        super().__init__(cropping, **options)


class Cropping2D(_Cropping):
    """Leave out pixels at the borders of an image.

    Arguments:
        cropping: an integer, (height, width), or ((top, bottom), (left, right)).
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> Cropping2D(((1, 2), 3)).compute_output_shape((None, 10, 10, 3))
    (None, 7, 4, 3)
    """

    rank = 2

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: Any = None, **options: Any
    ) -> None:
        super().__init__(cropping, data_format, **options)


class Cropping3D(_Cropping):
    """Leave out voxels at the borders of a volume.

    Arguments:
        cropping: an integer, one for each spatial axis, or (before, after) for each.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> Cropping3D().compute_output_shape((None, 4, 4, 4, 2))
    (None, 2, 2, 2, 2)
    """

    rank = 3

    def __init__(
        self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None, **options: Any
    ) -> None:
        super().__init__(cropping, data_format, **options)


class _ZeroPadding(GridLayer):
    def __init__(self, padding: Any, data_format: Any = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.padding = in_pairs(padding, self.rank, "padding", type(self).__name__)

    def output_size(self, position: int, size: int) -> int:
        return size + sum(self.padding[position])

    def call(self, x: Any) -> Any:
        pairs = dict(zip(self.axes, self.padding, strict=True))
        return functions.pad(x, [pairs.get(axis, (0, 0)) for axis in range(x.ndim)])


class ZeroPadding1D(_ZeroPadding):
    """Put zeros at both ends of a sequence, (batch, steps, channels).

    Arguments:
        padding: an integer, or (before, after).
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> ZeroPadding1D((1, 2)).compute_output_shape((None, 10, 3))
    (None, 13, 3)
    """

    rank = 1

    def __init__(self, padding: Any = 1, data_format: Any = None, **options: Any) -> None:
        super().__init__(padding, data_format, **options)


class ZeroPadding2D(_ZeroPadding):
    """Put zeros around an image.

    Arguments:
        padding: an integer, (height, width), or ((top, bottom), (left, right)).
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> ZeroPadding2D(((1, 0), 3)).compute_output_shape((None, 10, 10, 3))
    (None, 11, 16, 3)
    """

    rank = 2

    def __init__(self, padding: Any = (1, 1), data_format: Any = None, **options: Any) -> None:
        super().__init__(padding, data_format, **options)


class ZeroPadding3D(_ZeroPadding):
    """Put zeros around a volume.

    Arguments:
        padding: an integer, one for each spatial axis, or (before, after) for each.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> ZeroPadding3D(2).compute_output_shape((None, 4, 4, 4, 1))
    (None, 8, 8, 8, 1)
    """

    rank = 3

    def __init__(
        self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None, **options: Any
    ) -> None:
        super().__init__(padding, data_format, **options)
