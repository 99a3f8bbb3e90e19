"""Layers that enlarge sequences, images and volumes."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_choice, lowered, positive_integer
from gpunet.functions.upsampling import INTERPOLATIONS
from gpunet.layers.grid import GridLayer

__all__ = ["UpSampling1D", "UpSampling2D", "UpSampling3D"]


class _UpSampling(GridLayer):
    interpolation = "nearest"

    def __init__(self, size: Any, data_format: Any = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.size = self.each_axis(size, "size")

    def output_size(self, position: int, size: int) -> int:
        return size * self.size[position]

    def call(self, x: Any) -> Any:
        factors = dict(zip(self.axes, self.size, strict=True))
        each = tuple(factors.get(axis, 1) for axis in range(x.ndim))
        return functions.upsample(x, each, interpolation=self.interpolation)


class UpSampling1D(_UpSampling):
    """Repeat each step of a sequence, (batch, steps, channels).

    Arguments:
        size: how many times.
        options: those of every `Layer`.

    >>> UpSampling1D(3).compute_output_shape((None, 4, 2))
    (None, 12, 2)
    """

    rank = 1

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(positive_integer(size, "size", "UpSampling1D"), **options)


class UpSampling2D(_UpSampling):
    """Enlarge images.

    Arguments:
        size: how many times, an integer or (height, width).
        data_format: 'channels_last' or 'channels_first'.
        interpolation: 'nearest' repeats pixels; 'bilinear', 'bicubic', 'lanczos3' and 'lanczos5'
            interpolate between their centers, as `functions.upsample` says.
        options: those of every `Layer`.

    >>> UpSampling2D((2, 3)).compute_output_shape((None, 4, 4, 2))
    (None, 8, 12, 2)
    """

    rank = 2

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: Any = None,
        interpolation: str = "nearest",
        **options: Any,
    ) -> None:
        super().__init__(size, data_format, **options)
        self.interpolation = check_choice(
            lowered(interpolation), INTERPOLATIONS, "interpolation", "UpSampling2D"
        )


class UpSampling3D(_UpSampling):
    """Repeat the voxels of volumes.

    Arguments:
        size: how many times, an integer or one for each spatial axis.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> UpSampling3D().compute_output_shape((None, 4, 4, 4, 2))
    (None, 8, 8, 8, 2)
    """

    rank = 3

    def __init__(self, size: Any = (2, 2, 2), data_format: Any = None, **options: Any) -> None:
        super().__init__(size, data_format, **options)
