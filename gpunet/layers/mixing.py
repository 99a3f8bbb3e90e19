"""Layers that mix images with one another, or erase parts of them, in training."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import is_number, number, plain
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.functions import augmentation as images_by
from gpunet.layers.image_layer import RandomImageLayer, factor_bounds, value_bounds

__all__ = ["CutMix", "MixUp", "RandomErasing"]

UNIT = (0.0, 1.0)


class _Mixture(RandomImageLayer):
    """A layer that mixes each image, and its label, with that of another of the batch."""

    def blended_labels(self, labels: Array, weights: Array, order: Array) -> Array:
        """Return labels mixed by the weights of their images."""
        if labels.ndim < 2:
            raise ValueError(
                f"{type(self).__name__} mixes labels, so it expects one row for each image, "
                f"received labels of shape {labels.shape}: make rows of class numbers, for example "
                "by gpunet.utils.to_categorical."
            )
        if len(labels) != len(order):
            raise ValueError(
                f"{type(self).__name__} expects one row of labels for each of the {len(order)} "
                f"images, received labels of shape {labels.shape}."
            )
        dtype = self.dtype if labels.dtype.kind in "biu" else labels.dtype
        return images_by.blend(labels, weights, order, dtype)


class MixUp(_Mixture):
    """In training, add each image of a batch to another: ``w x + (1 - w) x'``, labels likewise.

    Arguments:
        alpha: of the distribution Beta(alpha, alpha) of w; above 0. The smaller, the closer to one
            image of the two.
        data_format: 'channels_last' or 'channels_first'.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        options: those of every `Layer`.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018.

    >>> import numpy as np
    >>> batch = {"images": np.ones((4, 2, 2, 1)), "labels": np.eye(4)}
    >>> MixUp(seed=1)(batch)["labels"].numpy().sum(axis=1)
    array([1., 1., 1., 1.], dtype=float32)
    """

    draws = 3

    def __init__(
        self, alpha: float = 0.2, data_format: Any = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.alpha = number(alpha, "alpha", "MixUp")
        if self.alpha <= 0:
            raise ValueError(f"MixUp: alpha must be above 0, received {alpha!r}.")

    def changed(self, images: Array, keys: list[Array]) -> Array:
        return images_by.blend(images, *self._mixture(images, keys), self.result_dtype(images))

    def changed_labels(self, labels: Array, images: Array, keys: list[Array]) -> Array:
        return self.blended_labels(labels, *self._mixture(images, keys))

    def _mixture(self, images: Array, keys: list[Array]) -> tuple[Array, Array]:
        weights = images_by.drawn_beta(images, (keys[0], keys[1]), self.alpha)
        return weights, images_by.drawn_order(images, keys[2])


class CutMix(_Mixture):
    """In training, replace a box of each image by that of another; labels by the boxes' areas.

    Arguments:
        factor: bounds of the alpha of Beta(alpha, alpha), by which the part of an image that stays
            is drawn, or one number f for (0, f); from 0 to 1.
        seed, data_format, options: as in `MixUp`.

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers", 2019.

    >>> import numpy as np
    >>> batch = {"images": np.ones((4, 2, 2, 1)), "labels": np.eye(4)}
    >>> CutMix(seed=1)(batch)["images"].numpy().min()
    np.float32(1.0)
    """

    draws = 4

    def __init__(
        self, factor: Any = 1.0, seed: int | None = None, data_format: Any = None, **options: Any
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, 0, 1, around_zero=False)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        rows, columns, order = self._boxes(images, keys)
        images = images.astype(self.result_dtype(images), copy=False)
        masks = images_by.box_masks(images, rows, columns)
        return get_array_module(images).where(masks, images.take(order, axis=0), images)

    def changed_labels(self, labels: Array, images: Array, keys: list[Array]) -> Array:
        (top, bottom), (left, right), order = self._boxes(images, keys)
        area = (bottom - top) * (right - left) / (images.shape[1] * images.shape[2])
        return self.blended_labels(labels, 1 - area, order)

    def _boxes(self, images: Array, keys: list[Array]) -> tuple[Any, Any, Array]:
        """Return the rows and columns of boxes, and the images that fill them."""
        (alpha,) = images_by.drawn_numbers(images, keys[3], self.bounds, once=True)
        stays = images_by.drawn_beta(images, (keys[0], keys[1]), alpha + 1e-6)
        shares = (1 - stays) ** 0.5
        down, right, ranks = images_by.drawn_boxes(images, keys[2])
        rows = images_by.box_bounds(images.shape[1], shares, down)
        return rows, images_by.box_bounds(images.shape[2], shares, right), ranks


class RandomErasing(RandomImageLayer):
    """In training, fill a box of some images with noise or with a color.

    Arguments:
        factor: bounds that each image's probability is drawn between, or one number f for (0, f);
            from 0 to 1.
        scale: part of the image's area that each side of a box is the square root of, drawn
            for the width and the height apart: a pair, or one number s for (0, s); from 0 to 1.
        fill_value: a number, or one for each of three channels; None for normally distributed
            noise, scaled by the largest value and clipped.
        value_range: (least, largest) value of the images.
        seed, data_format, options: as in `MixUp`.

    Source: Zhong et al., "Random erasing data augmentation", 2017.

    >>> erase = RandomErasing((1.0, 1.0), (1.0, 1.0), fill_value=7)
    >>> erase([[[[1.0], [2.0]]]]).numpy().ravel()
    array([7., 7.], dtype=float32)
    """

    draws = 2

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, 0, 1, around_zero=False)
        self.scale_bounds = factor_bounds(scale, "scale", self, 0, 1, around_zero=False)
        self.value_bounds = low, high = value_bounds(value_range, self)
        several = isinstance(fill_value, list | tuple)
        colors = [plain(each) for each in (fill_value if several else (fill_value,))]
        if fill_value is not None and not (
            all(map(is_number, colors)) and len(colors) == (3 if several else 1)
        ):
            raise ValueError(
                "RandomErasing: fill_value must be a number, three of them, or None for noise, "
                f"received {fill_value!r}."
            )
        self.fill = [] if fill_value is None else [min(max(c, low), high) for c in colors]

    def changed(self, images: Array, keys: list[Array]) -> Array:
        xp, scale = get_array_module(images), self.scale_bounds
        images = images.astype(self.result_dtype(images), copy=False)
        width, height, right, down, probability, chance = images_by.drawn_numbers(
            images, keys[0], scale, scale, UNIT, UNIT, self.bounds, UNIT
        )
        masks = images_by.box_masks(
            images,
            images_by.box_bounds(images.shape[1], height**0.5, down),
            images_by.box_bounds(images.shape[2], width**0.5, right),
        )
        masks = masks & (chance < probability)[:, None, None, None]
        return xp.where(masks, self._filling(images, keys[1]), images)

    def _filling(self, images: Array, key: Array) -> Array:
        """Return what boxes are filled with: a number, a color, or as many as the images have."""
        if len(self.fill) == 1:
            return images.dtype.type(self.fill[0])
        if self.fill:
            return images_by.constant_color(images, self.fill)
        noise = images_by.drawn_normal(images, key, images.shape, images.dtype)
        low, high = self.value_bounds
        return get_array_module(noise).clip(noise * high, low, high)
