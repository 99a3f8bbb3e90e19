"""Layers that move the pixels of images at random in training."""

from __future__ import annotations

from typing import Any

from gpunet import primitives
from gpunet.arguments import check_choice, number, positive_integer
from gpunet.autograd import Array
from gpunet.functions import augmentation as images_by
from gpunet.layers.image_layer import RandomImageLayer, factor_bounds
from gpunet.layers.layer import Shape
from gpunet.primitives.geometry import FILL_MODES, INTERPOLATIONS

__all__ = [
    "RandomCrop", "RandomFlip", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom",
]  # fmt: skip

_FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(RandomImageLayer):
    """In training, mirror every other image, left to right, upside down, or either by itself.

    Arguments:
        mode: 'horizontal' (left to right), 'vertical' or 'horizontal_and_vertical', where both
            are drawn apart. (Keras 3.15 flips both ways or not at all.)
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        data_format: 'channels_last' or 'channels_first'.
        options: those of every `Layer`.

    >>> RandomFlip("horizontal", seed=1)([[[[1.0], [2.0]]]] * 3).numpy()[:, 0, :, 0]
    array([[2., 1.],
           [1., 2.],
           [2., 1.]], dtype=float32)
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.mode = check_choice(mode, _FLIPS, "mode", type(self).__name__)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        numbers = images_by.drawn_numbers(images, keys[0], (0.0, 1.0), (0.0, 1.0))
        chosen = [
            (numbers[i] < 0.5).astype("float64") if direction in self.mode else 0
            for i, direction in enumerate(("vertical", "horizontal"))
        ]
        return primitives.warp_images(
            images,
            images_by.flip_matrices(images, *chosen),
            interpolation="nearest",
            dtype=self.result_dtype(images),
        )


class _Warp(RandomImageLayer):
    """A layer that warps images by a matrix each."""

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: int | None,
        fill_value: float,
        data_format: Any,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        where = type(self).__name__
        self.fill_mode = check_choice(fill_mode, FILL_MODES, "fill_mode", where)
        self.interpolation = check_choice(interpolation, INTERPOLATIONS, "interpolation", where)
        self.fill_value = number(fill_value, "fill_value", where)

    def matrices(self, images: Array, key: Array) -> Array:
        """Return a matrix for each image."""
        raise NotImplementedError

    def changed(self, images: Array, keys: list[Array]) -> Array:
        return primitives.warp_images(
            images, self.matrices(images, keys[0]), interpolation=self.interpolation,
            fill_mode=self.fill_mode, fill_value=self.fill_value, dtype=self.result_dtype(images),
        )  # fmt: skip


class RandomTranslation(_Warp):
    """In training, move images down and to the right by random parts of their size.

    Arguments:
        height_factor: part of the height to move down by, negative for up: a pair to draw
            between, or one number f for (-f, f); from -1 to 1.
        width_factor: part of the width to move to the right by, likewise.
        fill_mode: how the image continues past its border: 'reflect' (b a | a b c | c b),
            'constant' by `fill_value`, 'nearest' (a a | a b c | c c) or 'wrap' (b c | a b c | a b).
            (Keras on PyTorch mirrors about the last pixel for 'reflect', c b | a b c | b a.)
        interpolation: 'bilinear' or 'nearest'.
        seed, data_format, options: as in `RandomFlip`.
        fill_value: for 'constant'.

    >>> down = RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant")
    >>> down([[[[1.0]], [[2.0]]]]).numpy().ravel()
    array([0., 1.], dtype=float32)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.height_bounds = factor_bounds(height_factor, "height_factor", self, -1, 1)
        self.width_bounds = factor_bounds(width_factor, "width_factor", self, -1, 1)

    def matrices(self, images: Array, key: Array) -> Array:
        bounds = self.height_bounds, self.width_bounds
        return images_by.translation_matrices(
            images, *images_by.drawn_numbers(images, key, *bounds)
        )


class RandomRotation(_Warp):
    """In training, rotate images about their center by random angles.

    Arguments:
        factor: part of a full turn, positive counter-clockwise: a pair to draw between, or one
            number f for (-f, f); from -1 to 1. 0.5 is any angle.
        fill_mode, interpolation, seed, fill_value, data_format, options: as in
            `RandomTranslation`.

    >>> quarter = RandomRotation((0.25, 0.25))
    >>> quarter([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy()[0, :, :, 0]
    array([[2., 4.],
           [1., 3.]], dtype=float32)
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, -1, 1)

    def matrices(self, images: Array, key: Array) -> Array:
        return images_by.rotation_matrices(
            images, *images_by.drawn_numbers(images, key, self.bounds)
        )


class RandomZoom(_Warp):
    """In training, draw images smaller or larger about their center.

    Arguments:
        height_factor: 0.5 to divide the height by 1.5, -0.5 to multiply it by 2: a pair to draw
            between, or one number f for (-f, f); above -1, to 1.
        width_factor: of the width; None to keep the image's shape.
        fill_mode, interpolation, seed, fill_value, data_format, options: as in
            `RandomTranslation`.

    >>> smaller = RandomZoom((1.0, 1.0), fill_mode="constant", interpolation="nearest")
    >>> smaller([[[[1.0]] * 5] * 5]).numpy().sum()
    np.float32(9.0)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        bounds = [factor_bounds(height_factor, "height_factor", self, -1, 1, low_excluded=True)]
        if width_factor is not None:
            bounds += [factor_bounds(width_factor, "width_factor", self, -1, 1, low_excluded=True)]
        self.bounds = [(1 + low, 1 + high) for low, high in bounds]

    def matrices(self, images: Array, key: Array) -> Array:
        zooms = images_by.drawn_numbers(images, key, *self.bounds)
        return images_by.zoom_matrices(images, zooms[0], zooms[-1])


class RandomShear(_Warp):
    """In training, slant images: move rows sideways by part of their place, columns up or down.

    Arguments:
        x_factor: part of a row's place that it moves by: a pair to draw between, or one number f
            for (-f, f); from 0 to 1. Each image moves to either side.
        y_factor: of a column's place, likewise.
        interpolation, fill_mode, fill_value, data_format, seed, options: as in
            `RandomTranslation`.
    """

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.x_bounds = factor_bounds(x_factor, "x_factor", self, 0, 1)
        self.y_bounds = factor_bounds(y_factor, "y_factor", self, 0, 1)

    def matrices(self, images: Array, key: Array) -> Array:
        side, along_x, along_y = images_by.drawn_numbers(
            images, key, (0.0, 1.0), self.x_bounds, self.y_bounds
        )
        sign = 1 - 2 * (side > 0.5).astype("float64")
        return images_by.shear_matrices(images, along_x * sign, along_y * sign)


class RandomCrop(RandomImageLayer):
    """In training, cut the same window out of all images of a batch; else resize and crop them.

    Where it is not training, and for images smaller than the window, the result is the largest
    window of the center with the shape of the output, resized to it. (Keras 3.15 documents this
    and returns the images as they are.)

    Arguments:
        height, width: of the result.
        seed, data_format, name, options: as in `RandomFlip`.

    >>> RandomCrop(2, 3)([[[[0.0]] * 5] * 4]).shape
    (1, 2, 3, 1)
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, name=name, **options)
        self.height = positive_integer(height, "height", type(self).__name__)
        self.width = positive_integer(width, "width", type(self).__name__)

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def changed(self, images: Array, keys: list[Array]) -> Array:
        dtype, free = self.result_dtype(images), (
            images.shape[1] - self.height, images.shape[2] - self.width,
        )  # fmt: skip
        if min(free) < 0:
            return images_by.crop_and_resize(images, self.size, dtype)
        top, left = images_by.drawn_starts(images, keys[0], free)
        return primitives.warp_images(
            images, images_by.crop_matrices(images, top, left), size=self.size,
            interpolation="nearest", dtype=dtype,
        )  # fmt: skip

    def unchanged(self, images: Any) -> Any:
        return images_by.transformed(
            images,
            transform=lambda array: self._restored(
                images_by.crop_and_resize(
                    self._arranged(array), self.size, self.result_dtype(array)
                ),
                array.ndim,
            ),
            where=self.name,
        )

    def image_shape(self, shape: Shape) -> Shape:
        return shape[0], self.height, self.width, shape[3]
