"""Layers that change the colors of images at random in training."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import is_number, plain
from gpunet.autograd import Array
from gpunet.functions import augmentation as images_by
from gpunet.layers.image_layer import RandomImageLayer, factor_bounds, value_bounds

__all__ = [
    "RandomBrightness", "RandomColorJitter", "RandomContrast", "RandomGrayscale", "RandomHue",
    "RandomInvert", "RandomPosterization", "RandomSaturation", "Solarization",
]  # fmt: skip

UNIT = (0.0, 1.0)


class RandomBrightness(RandomImageLayer):
    """In training, add a random part of the range of values to each image, and clip it.

    Arguments:
        factor: the part: a pair to draw between, or one number f for (-f, f); from -1 to 1.
        value_range: (least, largest) value of the images.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        options: `data_format`, and those of every `Layer`.

    >>> RandomBrightness((0.5, 0.5), (0, 1))([[[[0.25, 0.75]]]]).numpy().ravel()
    array([0.75, 1.  ], dtype=float32)
    """

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed, **options)
        self.bounds = factor_bounds(factor, "factor", self, -1, 1)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        (shares,) = images_by.drawn_numbers(images, keys[0], self.bounds)
        return images_by.brightness(images, shares, self.value_bounds, self.result_dtype(images))


class RandomContrast(RandomImageLayer):
    """In training, scale how far each channel of an image is from its mean, and clip it.

    Arguments:
        factor: f for factors of (1 - f, 1 + f), or a pair (l, u) for (1 - l, 1 + u); from 0 to 1.
            (Keras 3.15 documents this; its one number draws from (1, 1 + f), and it sorts pairs.)
        value_range, seed, options: as in `RandomBrightness`.

    >>> RandomContrast((0.0, 0.0), (0, 1))([[[[0.25], [0.75]]]]).numpy().ravel()
    array([0.25, 0.75], dtype=float32)
    """

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed, **options)
        self.bounds = _contrast_bounds(factor, "factor", self)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        (factors,) = images_by.drawn_numbers(images, keys[0], self.bounds)
        return images_by.contrast(images, factors, self.value_bounds, self.result_dtype(images))


def _contrast_bounds(factor: Any, argument: str, layer: Any) -> tuple[float, float]:
    lower, upper = factor_bounds(factor, argument, layer, 0, 1)
    return (1 - abs(lower), 1 + upper)


class _OfColors(RandomImageLayer):
    """A layer for images of red, green and blue."""

    def changes_hues(self) -> bool:
        """Return whether there must be three channels."""
        return True

    def check_input(self, shape: Any) -> None:
        super().check_input(shape)
        images = shape["images"] if isinstance(shape, dict) else shape
        channels = images[-3 if self.data_format == "channels_first" else -1]
        if self.changes_hues() and channels not in (3, None):
            raise ValueError(
                f"{type(self).__name__} expects images of 3 channels, red, green and blue, "
                f"received {channels}: shape {tuple(images)}."
            )


class RandomGrayscale(_OfColors):
    """In training, replace the colors of some images by their luminance in each channel.

    Arguments:
        factor: the share of the images, from 0 to 1.
        data_format: 'channels_last' or 'channels_first'.
        seed, options: as in `RandomBrightness`.

    >>> RandomGrayscale(1.0)([[[[1.0, 0.0, 0.0]]]]).numpy().ravel()
    array([0.2989, 0.2989, 0.2989], dtype=float32)
    """

    def __init__(
        self, factor: float = 0.5, data_format: Any = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed, data_format, **options)
        found = plain(factor)
        if not is_number(found) or not 0 <= found <= 1:
            raise ValueError(
                f"RandomGrayscale: factor must be a number from 0 to 1, received {factor!r}."
            )
        self.factor = float(found)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        (numbers,) = images_by.drawn_numbers(images, keys[0], UNIT)
        return images_by.grayscale(images, numbers < self.factor, self.result_dtype(images))


class _HueAndSaturation(_OfColors):
    """A layer that draws hues or saturations, within a range of values."""

    value_bounds: tuple[float, float]

    def recolored(self, images: Array, hues: Array | None, saturations: Array | None) -> Array:
        low, dtype = self.value_bounds[0], self.result_dtype(images)
        return images_by.hue_and_saturation(images, hues, saturations, low, dtype)


class RandomSaturation(_HueAndSaturation):
    """In training, change how far images are from gray.

    Arguments:
        factor: 0 for gray, 0.5 for images as they are, 1 for pure colors: a pair to draw between,
            or one number f for (0, f); from 0 to 1. The saturation is multiplied by
            ``f / (1 - f)``, up to 1. (Keras 3.15 draws from (-f, f) for one number, and clips the
            saturation to the range of values.)
        value_range, data_format, seed, options: as in `RandomBrightness`.

    >>> RandomSaturation((0.0, 0.0))([[[[2.0, 6.0, 4.0]]]]).numpy().ravel()
    array([6., 6., 6.], dtype=float32)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, 0, 1, around_zero=False)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        (factors,) = images_by.drawn_numbers(images, keys[0], self.bounds)
        return self.recolored(images, None, _saturations(factors))


def _saturations(factors: Array) -> Array:
    return factors / (1 - factors + 1e-7)


class RandomHue(_HueAndSaturation):
    """In training, turn the hues of images along the circle of colors.

    Arguments:
        factor: part of half the circle, to either side: a pair to draw between, or one number f
            for (0, f); from 0 to 1.
        value_range, data_format, seed, options: as in `RandomBrightness`.

    >>> RandomHue((0.0, 0.0))([[[[2.0, 6.0, 4.0]]]]).numpy().ravel()
    array([2., 6., 4.], dtype=float32)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, 0, 1, around_zero=False)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        side, factors = images_by.drawn_numbers(images, keys[0], UNIT, self.bounds)
        return self.recolored(images, _hues(side, factors), None)


def _hues(side: Array, factors: Array) -> Array:
    return factors * (0.5 - (side > 0.5).astype("float64"))


class RandomColorJitter(_HueAndSaturation):
    """In training, change brightness, contrast, saturation and hue of images, in this order.

    Arguments:
        value_range: (least, largest) value of the images.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: as in
            `RandomBrightness`, `RandomContrast`, `RandomSaturation` and `RandomHue`; None for no
            change.
        seed, data_format, options: as in `RandomBrightness`.

    >>> jitter = RandomColorJitter((0, 1), brightness_factor=(0.5, 0.5))
    >>> jitter([[[[0.0, 0.25, 0.75]]]]).numpy().ravel()
    array([0.5 , 0.75, 1.  ], dtype=float32)
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.value_bounds = value_bounds(value_range, self)
        self.bounds: dict[str, tuple[float, float]] = {}
        if brightness_factor is not None:
            self.bounds["brightness"] = factor_bounds(
                brightness_factor, "brightness_factor", self, -1, 1
            )
        if contrast_factor is not None:
            self.bounds["contrast"] = _contrast_bounds(contrast_factor, "contrast_factor", self)
        for name, factor in (("saturation", saturation_factor), ("hue", hue_factor)):
            if factor is not None:
                self.bounds[name] = factor_bounds(
                    factor, f"{name}_factor", self, 0, 1, around_zero=False
                )

    def changes_hues(self) -> bool:
        return not self.bounds.keys().isdisjoint(("saturation", "hue"))

    def changed(self, images: Array, keys: list[Array]) -> Array:
        bounds, dtype = self.bounds, self.result_dtype(images)
        names = ("brightness", "contrast", "saturation", "hue")
        drawn = images_by.drawn_numbers(
            images, keys[0], *(bounds.get(name, UNIT) for name in names), UNIT
        )
        numbers = dict(zip((*names, "side"), drawn, strict=True))
        if "brightness" in bounds:
            images = images_by.brightness(images, numbers["brightness"], self.value_bounds, dtype)
        if "contrast" in bounds:
            images = images_by.contrast(images, numbers["contrast"], self.value_bounds, dtype)
        hues = _hues(numbers["side"], numbers["hue"]) if "hue" in bounds else None
        saturations = _saturations(numbers["saturation"]) if "saturation" in bounds else None
        if hues is None and saturations is None:
            return images.astype(dtype, copy=False)
        return self.recolored(images, hues, saturations)


class RandomInvert(RandomImageLayer):
    """In training, invert the values of some images: the largest value less each.

    Arguments:
        factor: bounds that each image's probability is drawn between, or one number f for (0, f);
            from 0 to 1.
        value_range, seed, data_format, options: as in `RandomBrightness`.

    >>> RandomInvert((1.0, 1.0))([[[[5.0]]]]).numpy().item()
    250.0
    """

    def __init__(
        self,
        factor: Any = 1.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.bounds = factor_bounds(factor, "factor", self, 0, 1, around_zero=False)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        probability, number = images_by.drawn_numbers(images, keys[0], self.bounds, UNIT)
        chosen = (number < probability).astype("float64")
        return images_by.linear_colors(
            images, 1 - 2 * chosen, chosen * self.value_bounds[1], None, self.result_dtype(images)
        )


class RandomPosterization(RandomImageLayer):
    """In training, keep a random number of the 8 bits of each value.

    Arguments:
        factor: bits to keep: a pair, the second excluded unless they are equal, or one number for
            exactly that; from 1 to 8. (Keras 3.15 documents one number so, and draws below it.)
        value_range, data_format, seed, options: as in `RandomBrightness`.

    >>> RandomPosterization((2, 2))([[[[63.0, 64.0, 200.0]]]]).numpy().ravel()
    array([  0.,  64., 192.], dtype=float32)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        low, high = factor_bounds(factor, "factor", self, 1, 8)
        self.bounds = (low, high) if isinstance(factor, list | tuple) else (high, high)
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        (bits,) = images_by.drawn_numbers(images, keys[0], self.bounds)
        return images_by.posterize(images, bits, self.value_bounds, self.result_dtype(images))


class Solarization(RandomImageLayer):
    """In training, add to the values of images, then invert those from a threshold on.

    Arguments:
        addition_factor, threshold_factor: parts of 255 to add, and of the threshold: pairs to draw
            between, or one number f for (0, f); from 0 to 1.
        value_range, seed, options: as in `RandomBrightness`.

    >>> Solarization(0.0, (0.5, 0.5))([[[[100.0, 200.0]]]]).numpy().ravel()
    array([100.,  55.], dtype=float32)
    """

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, **options)
        given = {"addition_factor": addition_factor, "threshold_factor": threshold_factor}
        self.bounds = [
            factor_bounds(each, name, self, 0, 1, around_zero=False) for name, each in given.items()
        ]
        self.value_bounds = value_bounds(value_range, self)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        additions, thresholds = images_by.drawn_numbers(images, keys[0], *self.bounds)
        return images_by.solarize(
            images, 255 * additions, 255 * thresholds, self.value_bounds, self.result_dtype(images)
        )
