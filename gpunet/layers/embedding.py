"""The layer that replaces integers by vectors."""

from __future__ import annotations

from typing import Any

from gpunet import functions, regularizers
from gpunet.arguments import boolean, positive_integer, refuse_unsupported
from gpunet.layers.layer import Layer, Shape

__all__ = ["Embedding"]


class Embedding(Layer):
    """A table of vectors, of which integers choose rows: (batch, ...) to (batch, ..., output_dim).

    An index beyond the table is an `IndexError` on the CPU. On a GPU it gives a row of NaN, since
    nothing is read back there; the loss shows it.

    Arguments:
        input_dim: rows of the table: the largest index, and 1.
        output_dim: size of a vector.
        embeddings_initializer: a name or instance of `gpunet.initializers`.
        embeddings_regularizer: a name or instance of `gpunet.regularizers`, a function, or None.
        embeddings_constraint: None; constraints are not there yet.
        mask_zero: whether index 0 is padding; `compute_mask` then returns where others stand.
        weights: the table to begin with, (input_dim, output_dim), or a list of it.
        lora_rank, lora_alpha, quantization_config: None; they are not supported.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> layer = Embedding(3, 2, weights=np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]))
    >>> layer(np.array([[2, 1]])).numpy()
    array([[[3., 4.],
            [1., 2.]]], dtype=float32)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim = positive_integer(input_dim, "input_dim", "Embedding")
        self.output_dim = positive_integer(output_dim, "output_dim", "Embedding")
        self.embeddings_initializer = embeddings_initializer
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.mask_zero = boolean(mask_zero, "mask_zero", "Embedding")
        refuse_unsupported(
            "Embedding",
            embeddings_constraint=embeddings_constraint,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
        )
        if weights is not None:
            self.build((None,))
            self.input_shape = None
            self.set_weights(list(weights) if isinstance(weights, list | tuple) else [weights])

    def build(self, input_shape: Shape) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            name="embeddings",
            regularizer=self.embeddings_regularizer,
        )

    def takes_integers(self) -> bool:
        return True

    def call(self, x: Any) -> Any:
        return functions.embedding(self.embeddings, x)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return a bool array of the shape of the inputs, False where they are 0, or None."""
        return inputs != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, without the table to begin with: it is a weight."""
        config = super().get_config()
        config.pop("weights", None)
        return config
