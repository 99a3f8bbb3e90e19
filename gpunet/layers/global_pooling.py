"""Pooling over all of a sequence, an image or a volume."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import boolean
from gpunet.autograd import Tensor
from gpunet.layers.grid import GridLayer
from gpunet.layers.layer import Shape
from gpunet.layers.roles import Pool, Role

__all__ = [
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
]


class _GlobalPooling(GridLayer):
    def __init__(self, data_format: Any = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.keepdims = boolean(keepdims, "keepdims", type(self).__name__)

    def output_size(self, position: int, size: int) -> int:
        if size == 0:
            raise ValueError(f"{type(self).__name__} expects at least one element to pool.")
        return 1

    def pool_all(self, *, largest: bool = True) -> Role | None:
        """Return the role of pooling all pixels of images."""
        if self.axes != (1, 2) or self.keepdims:
            return None
        return Pool(None, largest=largest)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        pooled = super().compute_output_shape(input_shape)
        if self.keepdims:
            return tuple(1 if axis in self.axes else size for axis, size in enumerate(pooled))
        return tuple(size for axis, size in enumerate(pooled) if axis not in self.axes)


class _GlobalAveragePooling(_GlobalPooling):
    def call(self, x: Any) -> Any:
        return functions.mean(x, axis=self.axes, keepdims=self.keepdims)


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, x: Any) -> Any:
        return functions.max(x, axis=self.axes, keepdims=self.keepdims)


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over the steps of a sequence: (batch, steps, channels) to (batch, channels).

    Arguments:
        data_format: 'channels_last' or 'channels_first'.
        keepdims: whether the axis of the steps stays, with size 1.
        options: those of every `Layer`.

    Called with ``mask``, (batch, steps), the mean is over the steps where it is True.

    >>> import numpy as np
    >>> GlobalAveragePooling1D()([[[1.0], [3.0], [8.0]]], mask=np.array([[1, 1, 0]])).numpy()
    array([[2.]], dtype=float32)
    """

    rank = 1
    supports_masking = True

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(x)
        used = (mask.value if isinstance(mask, Tensor) else mask).astype(bool)
        steps = self.axes[0]
        if used.shape != (x.shape[0], x.shape[steps]):
            raise ValueError(
                f"GlobalAveragePooling1D expects a mask of shape {(x.shape[0], x.shape[steps])}, "
                f"received one of shape {used.shape}."
            )
        used = used[:, :, None] if steps == 1 else used[:, None, :]
        total = functions.sum(functions.where(used, x, 0.0), axis=steps, keepdims=self.keepdims)
        return total / used.sum(axis=steps, keepdims=self.keepdims, dtype=x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: the steps are gone."""


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over all pixels: (batch, height, width, channels) to (batch, channels).

    Arguments:
        data_format: 'channels_last' or 'channels_first'.
        keepdims: whether the spatial axes stay, with size 1.
        options: those of every `Layer`.
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        return self.pool_all(largest=False)


class GlobalAveragePooling3D(_GlobalAveragePooling):
    """The mean over all voxels: (batch, depth, height, width, channels) to (batch, channels).

    Arguments are those of `GlobalAveragePooling2D`.
    """

    rank = 3


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The largest of all steps: (batch, steps, channels) to (batch, channels).

    Arguments are those of `GlobalAveragePooling2D`.
    """

    rank = 1


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The largest of all pixels: (batch, height, width, channels) to (batch, channels).

    Arguments are those of `GlobalAveragePooling2D`.
    """

    rank = 2

    def fusion_role(self) -> Role | None:
        return self.pool_all()


class GlobalMaxPooling3D(_GlobalMaxPooling):
    """The largest of all voxels: (batch, depth, height, width, channels) to (batch, channels).

    Arguments are those of `GlobalAveragePooling2D`.
    """

    rank = 3


GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D
GlobalAvgPool3D, GlobalMaxPool3D = GlobalAveragePooling3D, GlobalMaxPooling3D
