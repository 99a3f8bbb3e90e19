"""Layers one after another as one layer, to prepare data."""

from __future__ import annotations

from typing import Any

from gpunet.layers.image_layer import RandomImageLayer
from gpunet.layers.layer import Layer, is_training
from gpunet.layers.masks import with_masks

__all__ = ["Pipeline"]


class Pipeline(Layer):
    """Layers that are called one after another, in a model or on batches of a data set.

    As in Keras a call outside of a model, without `training`, is one in training. Integers are
    handed to the first layer as they are if it takes them.

    Arguments:
        layers: of what each returns, the next is called with.
        name, options: those of every `Layer`.

    Attributes:
        layers: as given.

    >>> from gpunet.layers import RandomContrast, RandomFlip
    >>> augment = Pipeline([RandomFlip(seed=1), RandomContrast(0.2, seed=2)])
    >>> augment([[[[1.0, 2.0, 3.0]]]], training=False).numpy().ravel()
    array([1., 2., 3.], dtype=float32)
    """

    creates_mask = False

    def __init__(self, layers: Any, name: str | None = None, **options: Any) -> None:
        super().__init__(name=name, **options)
        if not isinstance(layers, list | tuple) or not all(isinstance(x, Layer) for x in layers):
            raise ValueError(
                f"Pipeline expects a list of layers, received {layers!r}: for example "
                "Pipeline([RandomFlip(), RandomZoom(0.2)])."
            )
        self.layers = list(layers)

    def takes_integers(self) -> bool:
        return bool(self.layers) and self.layers[0].takes_integers()

    def check_input(self, shape: Any) -> None:
        if self.layers and isinstance(self.layers[0], RandomImageLayer):
            self.layers[0].check_input(shape)

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is not None:
            x = with_masks(x, mask)
        training = is_training(default=True)
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None  # the layers give the output its mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape
