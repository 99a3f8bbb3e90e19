"""Attention layers of many heads."""

from __future__ import annotations

import math
import string
from typing import Any

from gpunet import functions, regularizers
from gpunet.arguments import boolean, integer, positive_integer, refuse_unsupported
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.layers.attention import HIDDEN, as_bools, both, causal_mask
from gpunet.layers.einsum import EinsumDense
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.regularization import Dropout

__all__ = ["GroupQueryAttention", "GroupedQueryAttention", "MultiHeadAttention"]


class _Heads(Layer):
    """Attention of several heads, on projections of the inputs; its result is projected again.

    A subclass sets `heads`, `key_heads`, `depth` and `value_depth`. The scores are made in tiles
    and not kept, unless they are returned or dropped.
    """

    supports_masking = True
    heads: int
    key_heads: int
    depth: int
    value_depth: int
    attention_axes: tuple[int, ...] | None = None

    def __init__(
        self,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: None,
        bias_constraint: None,
        use_gate: bool,
        seed: int | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        self.dropout_layer = Dropout(dropout, seed=seed)
        self.dropout = self.dropout_layer.rate
        self.use_bias = boolean(use_bias, "use_bias", where)
        self.use_gate = boolean(use_gate, "use_gate", where)
        self.sliding_window = sliding_window
        if sliding_window is not None:
            self.sliding_window = positive_integer(sliding_window, "sliding_window", where)
        if flash_attention:
            raise ValueError(
                f"{where}: flash_attention must be None or False, received {flash_attention!r}: "
                "attention is computed in tiles anyway, where no scores are returned or dropped."
            )
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.projections_regularizer = regularizers.get(activity_regularizer)
        refuse_unsupported(
            where, kernel_constraint=kernel_constraint, bias_constraint=bias_constraint
        )

    def __call__(  # type: ignore[override]
        self, query: Any, value: Any = None, key: Any = None, **options: Any
    ) -> Any:
        """Return the attention of queries to keys; see the class."""
        if value is None:
            raise TypeError(
                f"{type(self).__name__} expects query and value, received one input: for "
                "self-attention call it as layer(x, x)."
            )
        given = (query, value) if key is None else (query, value, key)
        return super().__call__(*given, **options)

    # Weights

    def build(self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        self._check_shapes(query_shape, value_shape, key_shape)
        self.dropout_layer.build(None)  # it is called where scores are made, alone
        self.query_dense = self._projection("query", self.heads, self.depth)
        self.query_dense.build(query_shape)
        self.key_dense = self._projection("key", self.key_heads, self.depth)
        self.key_dense.build(key_shape)
        if self.use_gate:
            self.gate_dense = self._projection("gate", self.heads, self.value_depth, "sigmoid")
            self.gate_dense.build(query_shape)
        self.value_dense = self._projection("value", self.key_heads, self.value_depth)
        self.value_dense.build(value_shape)
        sizes = self.output_sizes(query_shape)
        letters = "".join(sorted(set(string.ascii_lowercase) - set("hd")))[: len(sizes)]
        self.output_dense = self._product(
            "attention_output", f"...hd,hd{letters}->...{letters}", sizes, letters
        )
        self.output_dense.build((*query_shape[:-1], self.heads, self.value_depth))

    def output_sizes(self, query_shape: Shape) -> Shape:
        """Return the sizes of the output's last axes."""
        return query_shape[-1:]

    def _projection(
        self, name: str, heads: int, depth: int, activation: str | None = None
    ) -> EinsumDense:
        return self._product(name, "...i,ihd->...hd", (heads, depth), "hd", activation)

    def _product(
        self, name: str, equation: str, sizes: Shape, axes: str, activation: str | None = None
    ) -> EinsumDense:
        layer = EinsumDense(
            equation,
            sizes,
            activation,
            bias_axes=axes if self.use_bias else None,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self.projections_regularizer,
            name=name,
            dtype=self.dtype,
        )
        layer.supports_masking = True  # its input has one; `call` takes it as an argument
        return layer

    def _check_shapes(self, query: Shape, value: Shape, key: Shape) -> None:
        fits = len(query) == len(value) == len(key) >= 3
        pairs = zip(value[1:-1], key[1:-1], strict=False)
        if not fits or any(a != b and None not in (a, b) for a, b in pairs):
            raise ValueError(
                f"{type(self).__name__} expects inputs of shape (batch, ..., features) of one rank "
                f"from 3, and keys and values of as many steps, received query {query}, value "
                f"{value} and key {key}."
            )

    # Calls

    def call(  # type: ignore[override]
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        self._check_shapes(query.shape, value.shape, key.shape)
        folds = _Folds(self.attended_axes(query.ndim), query.shape, key.shape)
        if query is key is value and not return_attention_scores and self._is_plain(folds):
            mask = self._mask(folds, query, query_mask, (value_mask, key_mask), attention_mask)
            layers = self.query_dense, self.key_dense, self.value_dense
            kernels, biases = ([getattr(a, n) for a in layers] for n in ("kernel", "bias"))
            y = functions.self_attention(query, *kernels, *biases, mask, is_causal=use_causal_mask)
            return self.output_dense(y)
        gate = self.gate_dense(query) if self.use_gate else None
        q = folds.fold(self.query_dense(query))  # (batch, queries, heads, depth)
        k, v = folds.fold(self.key_dense(key)), folds.fold(self.value_dense(value))
        mask = self._mask(folds, q, query_mask, (value_mask, key_mask), attention_mask)
        weights = None
        if return_attention_scores or self.dropout > 0:
            y, weights = self._by_scores(q, k, v, mask, use_causal_mask)
        else:
            y = functions.dot_product_attention(q, k, v, mask, is_causal=use_causal_mask)
        y = folds.unfold(y)
        y = self.output_dense(y if gate is None else y * gate)
        return (y, folds.unfold_scores(weights)) if return_attention_scores else y

    def _is_plain(self, folds: _Folds) -> bool:
        """Return whether the projections of one input can be made together."""
        layers = self.query_dense, self.key_dense, self.value_dense
        usual = all(type(a) is EinsumDense and "call" not in vars(a) for a in layers)
        others = self.use_gate or self.dropout > 0 or self.projections_regularizer is not None
        return folds.is_plain and usual and not others

    def attended_axes(self, rank: int) -> tuple[int, ...]:
        """Return the axes of the inputs that attention goes over, in order."""
        axes = self.attention_axes or tuple(range(1, rank - 1))
        found = tuple(axis % rank if -rank <= axis < rank else 0 for axis in axes)
        if 0 in found or rank - 1 in found or len(set(found)) < len(found):
            raise ValueError(
                f"{type(self).__name__}: attention_axes must be different axes between the batch "
                f"and the features of inputs of {rank} axes, received {self.attention_axes}."
            )
        return found

    def _by_scores(
        self, q: Any, k: Any, v: Any, mask: Array | None, causal: bool
    ) -> tuple[Any, Any]:
        """Return the output and the weights, which are 0 for a query that sees no key."""
        batch, queries, heads, depth = q.shape
        groups = (batch, queries, k.shape[2], heads // k.shape[2])
        q = functions.reshape(q * (1 / math.sqrt(depth)), (*groups, depth))
        scores = functions.einsum("bqkgd,bskd->bkgqs", q, k)
        scores = functions.reshape(scores, (batch, heads, queries, k.shape[1]))
        if causal:
            mask = both(mask, causal_mask(queries, k.shape[1], scores))
        if mask is not None:
            scores = functions.where(mask, scores, HIDDEN)
        weights = functions.softmax(scores)
        if mask is not None:
            weights = functions.where(mask, weights, 0)
        dropped = self.dropout_layer(weights)
        shape = (batch, *groups[2:], queries, k.shape[1])
        y = functions.einsum("bkgqs,bskd->bqkgd", functions.reshape(dropped, shape), v)
        return functions.reshape(y, (batch, queries, heads, v.shape[-1])), weights

    def _mask(
        self, folds: _Folds, q: Any, query_mask: Any, key_masks: Any, attention_mask: Any
    ) -> Array | None:
        """Return bools that broadcast to (batch, heads, queries, keys), or None."""
        where, found = type(self).__name__, None
        if query_mask is not None:
            found = folds.steps(as_bools(query_mask, q), 0, where, "query_mask")
        for name, mask in zip(("value_mask", "key_mask"), key_masks, strict=True):
            if mask is not None:
                found = both(found, folds.steps(as_bools(mask, q), 1, where, name))
        if attention_mask is not None:
            found = both(found, folds.scores(as_bools(attention_mask, q), self.heads, where))
        if self.sliding_window is not None:
            xp = get_array_module(q.value)
            apart = xp.arange(folds.lengths[0])[:, None] - xp.arange(folds.lengths[1])
            found = both(found, (abs(apart) < self.sliding_window)[None, None])
        return found


class _Folds:
    """How inputs (batch, ..., features) become (batch, time, ...): attended axes are the time."""

    def __init__(self, axes: tuple[int, ...], query_shape: Shape, key_shape: Shape) -> None:
        rank = len(query_shape)
        self.axes, self.others = axes, [a for a in range(rank - 1) if a not in axes]
        self.batch = [query_shape[a] for a in self.others]
        self.sizes = [[shape[a] for a in axes] for shape in (query_shape, key_shape)]
        self.lengths = [math.prod(sizes) for sizes in self.sizes]  # type: ignore[arg-type]
        self.order = (*self.others, *axes, rank - 1, rank)  # of a projection, which has heads
        self.is_plain = rank == 3

    def fold(self, x: Any) -> Any:
        """Return a projection (batch, ..., heads, depth) as (batch, time, heads, depth)."""
        if self.is_plain:
            return x
        x = functions.transpose(x, self.order)
        batch = math.prod(self.batch)  # type: ignore[arg-type]
        return functions.reshape(x, (batch, -1, *x.shape[-2:]))

    def unfold(self, y: Any) -> Any:
        """Return what has the queries' time in the order of the inputs' axes again."""
        if self.is_plain:
            return y
        y = functions.reshape(y, (*self.batch, *self.sizes[0], *y.shape[-2:]))
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return functions.transpose(y, tuple(back))

    def unfold_scores(self, scores: Any) -> Any:
        """Return scores as (batch, ..., heads, attended axes of queries, those of keys)."""
        if self.is_plain:
            return scores
        shape = (*self.batch, scores.shape[1], *self.sizes[0], *self.sizes[1])
        return functions.reshape(scores, shape)

    def steps(self, mask: Array, of_keys: int, where: str, name: str) -> Array:
        """Return a mask of steps, (batch, time), as one of scores."""
        batch, length = math.prod(self.batch), self.lengths[of_keys]  # type: ignore[arg-type]
        expected = (batch, length)
        if mask.shape != expected:
            raise ValueError(
                f"{where} expects {name} of shape (batch, {'keys' if of_keys else 'queries'}), "
                f"here {expected}, one bool a step, received {tuple(mask.shape)}."
            )
        return mask[:, None, None, :] if of_keys else mask[:, None, :, None]

    def scores(self, mask: Array, heads: int, where: str) -> Array:
        """Return a mask of scores with axes for those that it lacks before the attended ones."""
        full = (*self.batch, heads, *self.sizes[0], *self.sizes[1])
        attended = 2 * len(self.axes)
        given = mask.shape
        if mask.ndim < len(full) and mask.ndim >= attended:
            first = mask.ndim - attended
            missing = (1,) * (len(full) - mask.ndim)
            mask = mask.reshape(*mask.shape[:first], *missing, *mask.shape[first:])
        fits = mask.ndim == len(full)
        if not fits or any(a not in (1, b) for a, b in zip(mask.shape, full, strict=True)):
            raise ValueError(
                f"{where} expects attention_mask of shape (batch, queries, keys) or (batch, heads, "
                f"queries, keys), here {full}, with 1 where it is the same for all, received "
                f"{tuple(given)}."
            )
        return self._fold_scores(mask, full)

    def _fold_scores(self, mask: Array, full: tuple[Any, ...]) -> Array:
        """Return a mask (batch, ..., heads, ..., ...) as (batch, heads, queries, keys)."""
        count, parts, start = len(self.batch), [], 0
        for length in (count, 1, len(self.axes), len(self.axes)):
            sizes, wanted = mask.shape[start : start + length], full[start : start + length]
            if set(sizes) != {1} and sizes != wanted:  # some axes broadcast: all must be there
                shape = (*mask.shape[:start], *wanted, *mask.shape[start + length :])
                mask = get_array_module(mask).broadcast_to(mask, shape)
            parts.append(math.prod(mask.shape[start : start + length]))
            start += length
        return mask.reshape(parts)


class MultiHeadAttention(_Heads):
    """Attention of several heads (Vaswani et al., 2017), as Keras 3.15 has it.

    Call it as ``layer(query, value, key=None)`` on (batch, queries, features), (batch, keys, ...)
    and (batch, keys, ...); by default the value is the key. More axes than one between are attended
    together, or by `attention_axes`. A query that sees no key gets the mean of all values where no
    scores are returned and `dropout` is 0, and else the output's bias alone.

    Arguments:
        num_heads: how many heads.
        key_dim: size of a head's queries and keys.
        value_dim: size of a head's values; None for `key_dim`.
        dropout: share of the attention weights that is set to 0 in training.
        use_bias: whether the projections have biases.
        output_shape: size of the output's last axis, or of several; None for the query's.
        attention_axes: axes that attention goes over; None for all but the batch and the features.
        sliding_window: hide keys this many positions or more away from the query; None for none.
        flash_attention: None or False; scores are made in tiles anyway.
        kernel_initializer, bias_initializer: names or instances of `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: names or instances of
            `gpunet.regularizers`, functions, or None; the last is of the output of each projection.
        kernel_constraint, bias_constraint: None; they are not supported.
        use_gate: whether a sigmoid projection of the query multiplies the heads' outputs.
        seed: of dropout; None to draw from `gpunet.random`'s numbers.
        options: those of every `Layer`.

    Arguments of a call:
        query_mask, value_mask, key_mask: bool (batch, time), False where a step is padding.
        attention_mask: bool (batch, queries, keys) or (batch, heads, queries, keys), False where a
            key is hidden.
        return_attention_scores: whether the result is a pair, the output and the attention weights
            (batch, heads, queries, keys).
        use_causal_mask: hide keys at later positions than the query's.

    >>> import numpy as np
    >>> x = np.ones((2, 5, 16), "float32")
    >>> MultiHeadAttention(num_heads=2, key_dim=8)(x, x, use_causal_mask=True).shape
    (2, 5, 16)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        use_gate: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dropout, use_bias, sliding_window, flash_attention, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, use_gate, seed, **options,
        )  # fmt: skip
        where = "MultiHeadAttention"
        self.num_heads = self.heads = self.key_heads = positive_integer(
            num_heads, "num_heads", where
        )
        self.key_dim = self.depth = positive_integer(key_dim, "key_dim", where)
        self.value_dim = self.value_depth = positive_integer(
            key_dim if value_dim is None else value_dim, "value_dim", where
        )
        sizes = () if output_shape is None else output_shape
        sizes = sizes if isinstance(sizes, list | tuple) else (sizes,)
        self._sizes = tuple(positive_integer(size, "output_shape", where) for size in sizes)
        if attention_axes is not None:
            axes = attention_axes if isinstance(attention_axes, list | tuple) else (attention_axes,)
            self.attention_axes = tuple(integer(axis, "attention_axes", where) for axis in axes)

    def output_sizes(self, query_shape: Shape) -> Shape:
        return self._sizes or query_shape[-1:]

    def compute_output_shape(
        self, query_shape: Shape, value_shape: Any = None, key_shape: Any = None
    ) -> Shape:
        return (*query_shape[:-1], *self.output_sizes(query_shape))


class GroupedQueryAttention(_Heads):
    """Attention whose heads of keys and values each serve several of the queries (Ainslie, 2023).

    Inputs are (batch, time, features); arguments of a call and those not listed are as in
    `MultiHeadAttention`.

    Arguments:
        head_dim: size of a head's queries, keys and values.
        num_query_heads: heads of the queries.
        num_key_value_heads: heads of keys and values, which divide those of the queries.

    >>> import numpy as np
    >>> x = np.ones((2, 5, 16), "float32")
    >>> GroupedQueryAttention(8, num_query_heads=4, num_key_value_heads=2)(x, x).shape
    (2, 5, 16)
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        use_gate: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dropout, use_bias, sliding_window, flash_attention, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, use_gate, seed, **options,
        )  # fmt: skip
        where = "GroupedQueryAttention"
        self.head_dim = self.depth = self.value_depth = positive_integer(
            head_dim, "head_dim", where
        )
        self.num_query_heads = self.heads = positive_integer(
            num_query_heads, "num_query_heads", where
        )
        self.num_key_value_heads = self.key_heads = positive_integer(
            num_key_value_heads, "num_key_value_heads", where
        )
        if self.heads % self.key_heads:
            raise ValueError(
                f"{where}: num_query_heads must be a multiple of num_key_value_heads, received "
                f"{num_query_heads} and {num_key_value_heads}."
            )

    def build(self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None) -> None:
        if len(query_shape) != 3:
            raise ValueError(
                "GroupedQueryAttention expects inputs of shape (batch, time, features), received "
                f"{query_shape}."
            )
        super().build(query_shape, value_shape, key_shape)

    def compute_output_shape(
        self, query_shape: Shape, value_shape: Any = None, key_shape: Any = None
    ) -> Shape:
        return query_shape


GroupQueryAttention = GroupedQueryAttention  # the name under which Keras has it in `keras.layers`
