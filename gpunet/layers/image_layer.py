"""The base of layers that change images at random, and the checks of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import functions, random
from gpunet.arguments import check_data_format, is_number, plain
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.functions.augmentation import transformed
from gpunet.layers.layer import Layer, Shape, is_training

__all__ = ["RandomImageLayer", "factor_bounds", "value_bounds"]

_LEFT_OUT = ("bounding_boxes", "segmentation_masks")


class RandomImageLayer(Layer):
    """A layer that changes each image by its own random numbers in training.

    Images are (batch, height, width, channels), or one (height, width, channels), of any type of
    numbers; integers become floating-point. A dictionary with 'images', and 'labels' if there are
    some, gives one of the same keys. As in Keras a call outside of a model, without `training`, is
    one in training; with ``training=False``, and in `predict` and `evaluate`, images stay as they
    are. No gradient passes in training.

    A subclass sets `draws`, the number of keys that a call takes, and writes `changed`.
    """

    draws = 1

    def __init__(self, seed: int | None, data_format: Any = None, **options: Any) -> None:
        if "bounding_box_format" in options:
            raise ValueError(
                f"{type(self).__name__} changes images and labels alone, received "
                "bounding_box_format: leave it out, and move bounding boxes yourself."
            )
        super().__init__(**options)
        self.data_format = check_data_format(data_format, type(self).__name__)
        self.seed = seed
        self.generator: random.Generator | None = None if seed is None else random.Generator(seed)

    def changed(self, images: Array, keys: list[Array]) -> Array:
        """Return arrays of images, channels last, changed by the numbers of keys."""
        raise NotImplementedError

    def changed_labels(self, labels: Array, images: Array, keys: list[Array]) -> Array:
        """Return the labels of changed images; by default as they are."""
        return labels

    def unchanged(self, images: Any) -> Any:
        """Return a tensor of images where it is not training."""
        return functions.astype(images, self.dtype) if images.dtype.kind in "biu" else images

    def image_shape(self, shape: Shape) -> Shape:
        """Return the shape of changed images of a shape, both channels last."""
        return shape

    def result_dtype(self, images: Array) -> np.dtype[Any]:
        """Return the type of the result: the layer's for integers, else the images'."""
        return self.dtype if images.dtype.kind in "biu" else images.dtype

    def takes_integers(self) -> bool:
        return True

    def check_input(self, shape: Any) -> None:
        name = type(self).__name__
        if isinstance(shape, dict):
            if unknown := sorted(set(shape) - {"images", "labels"}):
                left_out = [key for key in unknown if key in _LEFT_OUT]
                hint = f"; {left_out[0]} are not moved with the images here" if left_out else ""
                raise ValueError(
                    f"{name} expects a dictionary with 'images' and 'labels', received "
                    f"{list(shape)}{hint}: leave {unknown[0]!r} out."
                )
            shape = shape.get("images")
        if not isinstance(shape, tuple) or len(shape) not in (3, 4):
            raise ValueError(
                f"{name} expects images of shape (batch, height, width, channels) or (height, "
                f"width, channels), received {shape}."
            )

    def call(self, x: Any) -> Any:
        data = x if isinstance(x, dict) else {"images": x}
        images = data["images"]
        if not is_training(default=True):
            results = data | {"images": self.unchanged(images)}
        else:
            keys = [self._next_key() for _ in range(self.draws)]
            results = data | {"images": self._transformed(images, keys)}
            if "labels" in data:
                results["labels"] = self._labels(data["labels"], images, keys)
        return results if isinstance(x, dict) else results["images"]

    def _next_key(self) -> Array:
        return random.next_key() if self.generator is None else self.generator.next_key()

    def _transformed(self, images: Tensor, keys: list[Array]) -> Any:
        return transformed(
            images,
            transform=lambda array: self._restored(
                self.changed(self._arranged(array), keys), array.ndim
            ),
            where=self.name,
        )

    def _labels(self, labels: Tensor, images: Tensor, keys: list[Array]) -> Any:
        arranged = self._arranged(images.value)
        single = images.ndim == 3
        return transformed(
            labels,
            transform=lambda array: (
                self.changed_labels(array[None], arranged, keys)[0]
                if single
                else self.changed_labels(array, arranged, keys)
            ),
            where=self.name,
        )

    def _arranged(self, images: Array) -> Array:
        """Return images as a batch, channels last."""
        images = images[None] if images.ndim == 3 else images
        first = self.data_format == "channels_first"
        return get_array_module(images).moveaxis(images, 1, 3) if first else images

    def _restored(self, images: Array, ndim: int) -> Array:
        """Return images in the layout of the input, which has `ndim` axes."""
        if self.data_format == "channels_first":
            images = get_array_module(images).moveaxis(images, 3, 1)
        return images[0] if ndim == 3 else images

    def compute_output_shape(self, input_shape: Any) -> Any:
        if isinstance(input_shape, dict):
            images = self.compute_output_shape(input_shape["images"])
            return {**input_shape, "images": images}
        *batch, height, width, channels = input_shape
        first = self.data_format == "channels_first"
        if first:
            channels, height, width = height, width, channels
        _, height, width, channels = self.image_shape((None, height, width, channels))
        return (*batch, channels, height, width) if first else (*batch, height, width, channels)


def factor_bounds(
    value: Any, argument: str, layer: Layer, low: float, high: float, *,
    around_zero: bool = True, low_excluded: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Return the bounds that a factor is drawn between.

    Arguments:
        value: a pair of numbers in any order, or one number f for (-f, f), or where not
            `around_zero` for (0, f).
        argument, layer: named in errors.
        low, high: the range of each number.
        low_excluded: whether `low` itself is out of the range.

    Raises:
        ValueError: something else is given.
    """
    pair = isinstance(value, list | tuple)
    numbers = [plain(each) for each in (value if pair else (value,))]
    if len(numbers) == (2 if pair else 1) and all(
        is_number(each) and low <= each <= high and not (low_excluded and each == low)
        for each in numbers
    ):
        if pair:
            return float(min(numbers)), float(max(numbers))
        size = abs(float(numbers[0]))
        return (-size if around_zero else 0.0), size
    raise ValueError(
        f"{type(layer).__name__}: {argument} must be a number "
        f"{'above' if low_excluded else 'from'} {low:g} to {high:g}, or a pair of such numbers to "
        f"draw between, received {value!r}."
    )


def value_bounds(value: Any, layer: Layer) -> tuple[float, float]:
    """Return the least and the largest value of images, as given by a pair of numbers.

    Raises:
        ValueError: something else is given.
    """
    numbers = [plain(each) for each in value] if isinstance(value, list | tuple) else []
    if len(numbers) == 2 and all(map(is_number, numbers)) and numbers[0] != numbers[1]:
        return float(min(numbers)), float(max(numbers))
    raise ValueError(
        f"{type(layer).__name__}: value_range must be two different numbers, the least and the "
        f"largest value of the images, received {value!r}: for example (0, 255)."
    )
