"""Attention layers of one head: by dot products, and by sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import boolean, check_choice
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.regularization import Dropout

__all__ = ["AdditiveAttention", "Attention"]

HIDDEN = -1e30  # the score of a key that a query does not see


def as_bools(mask: Any, like: Any) -> Array:
    """Return a mask as an array of bools where another array is; other numbers than 0 are True."""
    array = mask.value if isinstance(mask, Tensor) else mask
    array = asarray(array, like=like.value)
    return array if array.dtype == np.bool_ else array != 0


def causal_mask(queries: int, keys: int, like: Any) -> Array:
    """Return bools (queries, keys), True where the key is not later than the query."""
    xp = get_array_module(like.value)
    return xp.arange(keys) <= xp.arange(queries)[:, None]


def both(one: Array | None, other: Array | None) -> Array | None:
    """Return where two masks are True, of which either may be None."""
    return other if one is None else one if other is None else one & other


class Attention(Layer):
    """Attention by dot products: softmax(query @ key.T) @ value (Luong et al., 2015).

    Call it on ``[query, value]`` or ``[query, value, key]``: (batch, queries, dim), (batch, keys,
    value_dim) and (batch, keys, dim); without a key the value is the key. A query that sees no key
    gets the mean of all values.

    Arguments:
        use_scale: whether scores are multiplied by a weight, 1 at first.
        score_mode: 'dot'; or 'concat' for ``weight * sum(tanh(query + key))``.
        dropout: share of the attention weights that is set to 0 in training.
        seed: of dropout; None to draw from `gpunet.random`'s numbers.
        options: those of every `Layer`.

    Arguments of a call:
        mask: a list of bool arrays or None: (batch, queries), where False makes the output 0, and
            (batch, keys), False where a key is hidden.
        return_attention_scores: whether the result is a pair, the output and (batch, queries, keys)
            weights.
        use_causal_mask: hide keys at later positions than the query's.

    >>> import numpy as np
    >>> query, value = np.zeros((1, 1, 2)), np.array([[[1.0, 2.0], [3.0, 4.0]]])
    >>> Attention()([query, value]).numpy()
    array([[[2., 3.]]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        self.use_scale = boolean(use_scale, "use_scale", where)
        self.score_mode = check_choice(score_mode, ("dot", "concat"), "score_mode", where)
        self.dropout_layer = Dropout(dropout, seed=seed)
        self.dropout = self.dropout_layer.rate

    def build(self, input_shape: Any) -> None:
        self.check_input(input_shape)
        self.dropout_layer.build(None)  # it is called in training alone
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None
        self.concat_score_weight = (
            self.add_weight((), "ones", name="concat_score_weight")
            if self.score_mode == "concat"
            else None
        )

    def check_input(self, shape: Any) -> None:
        kind = type(self).__name__
        if not isinstance(shape, list) or not 2 <= len(shape) <= 3:
            count = f"{len(shape)} inputs" if isinstance(shape, list) else f"one of shape {shape}"
            raise ValueError(
                f"{kind} expects a list, [query, value] or [query, value, key], received {count}."
            )
        query, value, key = shape[0], shape[1], shape[-1]
        ranks = {len(query), len(value), len(key)}
        fits = len(ranks) == 1 and len(query) >= 3 and _agree(query[:-2], value[:-2])
        if not fits or not _agree((query[-1],), (key[-1],)) or not _agree(value[:-1], key[:-1]):
            raise ValueError(
                f"{kind} expects query (batch, queries, dim), value (batch, keys, value_dim) and "
                f"key (batch, keys, dim), by default the value, received shapes "
                f"{', '.join(str(tuple(s)) for s in shape)}."
            )

    def _take_mask(self, args: tuple[Any, ...], mask: Any) -> tuple[tuple[Any, ...], Any]:
        if isinstance(mask, list | tuple) and len(mask) == 2:  # those of query and value will do
            mask = [*mask, *[None] * (len(args[0]) - 2)]
        return super()._take_mask(args, mask)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = inputs[0], inputs[1], inputs[-1]
        query_mask, value_mask = self._masks(mask, query, value)
        drops = training and self.dropout > 0
        if self.score_mode == "dot" and not drops and not return_attention_scores:
            y, weights = self._in_tiles(query, value, key, value_mask, use_causal_mask), None
        else:
            scores = self.scores(query, key)
            if use_causal_mask:
                value_mask = both(value_mask, causal_mask(query.shape[-2], key.shape[-2], scores))
            if value_mask is not None:
                scores = functions.where(value_mask, scores, HIDDEN)
            weights = functions.softmax(scores)
            y = functions.matmul(self.dropout_layer(weights) if drops else weights, value)
        if query_mask is not None:
            y = functions.where(query_mask[..., None], y, 0)
        return (y, weights) if return_attention_scores else y

    def _in_tiles(self, query: Any, value: Any, key: Any, mask: Any, causal: bool) -> Any:
        """Return the output by a kernel that keeps no scores."""
        if self.scale is not None:
            query = query * self.scale
        batch = math.prod(query.shape[:-2])
        # (batch, time, one head, depth)
        heads = [functions.reshape(x, (batch, x.shape[-2], 1, x.shape[-1]))
                 for x in (query, key, value)]  # fmt: skip
        if mask is not None:
            mask = mask.reshape(batch, 1, 1, key.shape[-2])
        y = functions.dot_product_attention(*heads, mask, scale=1.0, is_causal=causal)
        return functions.reshape(y, (*query.shape[:-1], value.shape[-1]))

    def scores(self, query: Any, key: Any) -> Any:
        """Return the scores of all queries and keys, (batch, queries, keys)."""
        if self.score_mode == "dot":
            axes = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
            scores = functions.matmul(query, functions.transpose(key, axes))
            return scores if self.scale is None else scores * self.scale
        sums = functions.expand_dims(query, -2) + functions.expand_dims(key, -3)
        if self.scale is not None:
            sums = sums * self.scale
        return functions.sum(functions.tanh(sums), axis=-1) * self.concat_score_weight

    def _masks(self, mask: Any, query: Any, value: Any) -> tuple[Array | None, Array | None]:
        """Return the masks of queries, and of values as (batch, 1, keys)."""
        if mask is None:
            return None, None
        kind = type(self).__name__
        found: list[Array | None] = []
        for name, item, x in (("query", mask[0], query), ("value", mask[1], value)):
            array = None if item is None else as_bools(item, x)
            if array is not None and array.shape != x.shape[:-1]:
                raise ValueError(
                    f"{kind} expects a mask of the {name} of shape {x.shape[:-1]}, one bool a "
                    f"step, received {array.shape}."
                )
            found.append(array)
        return found[0], None if found[1] is None else found[1][..., None, :]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the queries, or None."""
        return previous_mask[0] if previous_mask else None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*input_shape[0][:-1], input_shape[1][-1])


class AdditiveAttention(Attention):
    """Attention by sums: scores are ``sum(scale * tanh(query + key))`` (Bahdanau et al., 2015).

    Inputs and arguments of a call are those of `Attention`.

    Arguments:
        use_scale: whether `scale` is a weight, (dim,); else it is 1.
        dropout, seed, options: as in `Attention`.

    >>> import numpy as np
    >>> AdditiveAttention()([np.zeros((2, 3, 4)), np.zeros((2, 5, 4))]).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(use_scale, "concat", dropout, seed, **options)

    def build(self, input_shape: Any) -> None:
        self.check_input(input_shape)
        self.dropout_layer.build(None)  # it is called in training alone
        dim = input_shape[0][-1]
        self.scale = self.add_weight((dim,), name="scale") if self.use_scale else None

    def scores(self, query: Any, key: Any) -> Any:
        sums = functions.tanh(functions.expand_dims(query, -2) + functions.expand_dims(key, -3))
        return functions.sum(sums if self.scale is None else sums * self.scale, axis=-1)


def _agree(one: Shape, other: Shape) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or None in (a, b) for a, b in pairs)
