"""Layers that give images another size."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import (
    boolean,
    check_choice,
    check_data_format,
    lowered,
    number,
    positive_integer,
)
from gpunet.functions.resizing import INTERPOLATIONS, image_axes
from gpunet.layers.layer import Layer, Shape
from gpunet.symbolic import Symbol

__all__ = ["CenterCrop", "Resizing"]


class _ToSize(Layer):
    """A layer of images, or of one image without the batch, whose results have a fixed size."""

    def __init__(self, height: int, width: int, data_format: Any, **options: Any) -> None:
        super().__init__(**options)
        kind = type(self).__name__
        self.height = positive_integer(height, "height", kind)
        self.width = positive_integer(width, "width", kind)
        self.data_format = check_data_format(data_format, kind)

    def takes_integers(self) -> bool:
        return True

    def check_input(self, shape: Any) -> None:
        kind = type(self).__name__
        if isinstance(shape, dict | list):
            raise TypeError(
                f"{kind} takes images alone, received a {type(shape).__name__} of inputs: labels "
                "and boxes are not changed with them."
            )
        image_axes(shape, self.data_format, kind)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = list(input_shape)
        rows, columns = image_axes(sizes, self.data_format, type(self).__name__)
        sizes[rows], sizes[columns] = self.height, self.width
        return tuple(sizes)


class Resizing(_ToSize):
    """Images of another size: (batch, height, width, channels), or one image without the batch.

    Images of integers stay integers. Values of 'bicubic', 'lanczos3' and 'lanczos5' are those of
    TensorFlow and JAX; those that run beyond the range of an integer type end at its limits.

    Arguments:
        height, width: of the results.
        interpolation: 'bilinear', 'nearest', 'bicubic', 'lanczos3', 'lanczos5' or 'area', as in
            `functions.resample`.
        crop_to_aspect_ratio: whether to cut off first what does not fit the shape of the result.
        pad_to_aspect_ratio: whether to put borders around first, so that the images fit it.
        fill_mode, fill_value: 'constant', and the value of the borders.
        antialias: whether images that get smaller are smoothed.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> Resizing(1, 4)(np.array([[[0.0], [1.0]]])).numpy().ravel()
    array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(height, width, data_format, **options)
        kind = "Resizing"
        self.interpolation = check_choice(
            lowered(interpolation), INTERPOLATIONS, "interpolation", kind
        )
        self.crop_to_aspect_ratio = boolean(crop_to_aspect_ratio, "crop_to_aspect_ratio", kind)
        self.pad_to_aspect_ratio = boolean(pad_to_aspect_ratio, "pad_to_aspect_ratio", kind)
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ValueError(
                "Resizing: crop_to_aspect_ratio and pad_to_aspect_ratio cannot both be True: cut "
                "the images, or put borders around them."
            )
        self.fill_mode = check_choice(fill_mode, ("constant",), "fill_mode", kind)
        self.fill_value = number(fill_value, "fill_value", kind)
        self.antialias = boolean(antialias, "antialias", kind)

    def call(self, x: Any) -> Any:
        return functions.resize(
            x,
            (self.height, self.width),
            self.interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )

    def output_symbols(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = super().output_symbols(args, kwargs)
        dtype = args[0].dtype
        return Symbol(made.shape, dtype if dtype.kind in "iu" else made.dtype)


class CenterCrop(_ToSize):
    """The middle of images: (batch, height, width, channels), or of one image without the batch.

    Images that are smaller along an axis are cut to the shape of the result first, and then
    enlarged by 'bilinear'. Where as many rows or columns cannot stand on both sides, there is one
    more at the end. The results are floating-point numbers.

    Arguments:
        height, width: of the results.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> CenterCrop(1, 2)(np.arange(12.0).reshape(3, 4, 1)).numpy().ravel()
    array([5., 6.], dtype=float32)
    """

    def __init__(self, height: int, width: int, data_format: Any = None, **options: Any) -> None:
        super().__init__(height, width, data_format, **options)

    def call(self, x: Any) -> Any:
        if x.dtype.kind != "f":
            x = functions.astype(x, self.dtype)
        size, index = (self.height, self.width), [slice(None)] * x.ndim
        for axis, target in zip(
            image_axes(x.shape, self.data_format, "CenterCrop"), size, strict=True
        ):
            start = (x.shape[axis] - target) // 2
            if start < 0:
                return functions.resize(
                    x, size, crop_to_aspect_ratio=True, data_format=self.data_format
                )
            index[axis] = slice(start, start + target)
        return x[tuple(index)]
