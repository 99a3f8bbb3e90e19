"""Spectral normalization of another layer's kernel."""

from __future__ import annotations

from typing import Any

from gpunet import primitives
from gpunet.arguments import positive_integer
from gpunet.autograd import Array, Parameter
from gpunet.backend import get_array_module
from gpunet.initializers import TruncatedNormal
from gpunet.layers.layer import Layer, Shape

__all__ = ["SpectralNormalization"]

_LEAST_LENGTH = 1e-7  # that a vector is divided by


class SpectralNormalization(Layer):
    """Divide the kernel of a layer by its largest singular value, in each call in training.

    The value is estimated by power iteration from a vector that is kept between calls. The layer
    keeps the divided kernel, and in a training step the optimizer goes on from it: as in Keras, no
    gradient goes through the division. A kernel of zeros stays as it is.

    Miyato, Kataoka, Koyama and Yoshida, "Spectral normalization for generative adversarial
    networks", 2018.

    Arguments:
        layer: a layer with a weight `kernel`, or `embeddings`.
        power_iterations: in each call, at least 1.
        options: those of every `Layer`.

    >>> from gpunet.layers import Dense
    >>> SpectralNormalization(Dense(4)).compute_output_shape((None, 8))
    (None, 4)
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, Layer):
            raise TypeError(
                f"SpectralNormalization expects a layer to wrap, received {type(layer).__name__}."
            )
        self.power_iterations = positive_integer(
            power_iterations, "power_iterations", "SpectralNormalization"
        )
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        self.layer.build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if not isinstance(kernel, Parameter):
            raise ValueError(
                "SpectralNormalization expects a layer with a weight 'kernel' or 'embeddings', "
                f"received {type(self.layer).__name__}, which has none."
            )
        self._weights.append(kernel)  # the first of the weights
        self.kernel = kernel
        self.vector_u = self.add_weight(
            (1, kernel.shape[-1]),
            TruncatedNormal(stddev=0.02),
            name="vector_u",
            trainable=False,
            dtype=kernel.dtype,
        )

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return self.layer(x)
        kept = self.kernel.value
        vector, divided = self._divided(kept)
        try:
            self.kernel.value = divided  # of which the gradient is
            y = self.layer(x)
        finally:
            self.kernel.value = kept
        self.add_update(self.vector_u, vector)
        self.add_update(self.kernel, divided)
        return y

    def _divided(self, kernel: Array) -> tuple[Array, Array]:
        """Return the vector after power iteration, and the kernel divided by what it finds."""
        xp = get_array_module(kernel)
        matrix = kernel.reshape(-1, kernel.shape[-1])
        u = self.vector_u.value
        for _ in range(self.power_iterations):
            v = _of_length_1(primitives.matmul(u, matrix, transpose_b=True), xp)
            u = _of_length_1(primitives.matmul(v, matrix), xp)
        largest = (primitives.matmul(v, matrix) * u).sum()
        is_zero = (kernel == 0).all()
        divided = xp.where(is_zero, kernel, kernel / xp.where(is_zero, 1, largest))
        return xp.where(is_zero, self.vector_u.value, u), divided.astype(kernel.dtype, copy=False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)


def _of_length_1(vector: Array, xp: Any) -> Array:
    return vector / xp.maximum((vector * vector).sum() ** 0.5, _LEAST_LENGTH)
