"""Layers that number the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import check_choice
from gpunet.autograd import Tensor
from gpunet.backend import asarray, get_array_module, to_numpy
from gpunet.layers.adapting import as_numpy
from gpunet.layers.categories import Constant
from gpunet.layers.strings import StringLayer, as_strings, bucket, unique_map
from gpunet.layers.vocabulary import Lookup

__all__ = ["IntegerLookup", "StringLookup"]


class StringLookup(Lookup, StringLayer):
    """The index of each string in a vocabulary, which is given or learned by `adapt`.

    The indices of 'int' are int64, vectors float32 (Keras 3.15 computes int64 where its own symbols
    say float32). A layer called before there is a vocabulary is an error; in Keras every string is
    then unknown.

    Arguments:
        max_tokens: the most tokens, special ones included; None for no limit.
        num_oov_indices: places for unknown strings, which share them by their hash; 0 makes an
            unknown string an error.
        mask_token: a string of index 0 in 'int', and left out of vectors; None for none.
        oov_token: what `invert` returns for unknown strings.
        vocabulary: strings in a sequence or array, or the path of a file of one a line.
        idf_weights: for 'tf_idf' the weights of the vocabulary.
        invert: whether indices are made strings, in a NumPy array.
        output_mode: 'int', or vectors: 'one_hot', 'multi_hot', 'count' or 'tf_idf'.
        pad_to_max_tokens: whether vectors have `max_tokens` elements.
        sparse: False; sparse results are not supported.
        encoding: of bytes, and of the file.
        name, options: those of every `Layer`; `dtype` is that of vectors.
        salt: an integer, or two, for SipHash64 in place of FarmHash64 in the hash.

    >>> StringLookup(vocabulary=["a", "b", "c"])([["a", "c"], ["z", "b"]]).numpy()
    array([[1, 3],
           [0, 2]])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **options: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
            output_mode, pad_to_max_tokens, sparse, salt, name=name, **options,
        )  # fmt: skip

    def as_token(self, item: Any) -> Any:
        if isinstance(item, bytes):
            return item.decode(self.encoding)
        if not isinstance(item, str):
            raise TypeError(f"StringLookup expects strings, received {item!r}.")
        return str(item)

    def call(self, x: Any) -> Any:
        if self.invert:
            indices = x.astype(np.int64)
            words = np.array([*self.special_tokens, *self._known_tokens(), self.oov_token])
            known = (indices >= 0) & (indices < len(words) - 1)
            return words[np.where(known, indices, len(words) - 1)]
        words = as_strings(x, "StringLookup", self.encoding)
        found = self.indices(words.reshape(-1).tolist()).reshape(words.shape)
        return self.weighted(asarray(found))

    def indices(self, words: Sequence[str]) -> np.ndarray:
        """Return the indices of strings."""
        self._known_tokens()
        index, count, first = self._index, self.num_oov_indices, self.first_oov
        mask = {} if self.mask_token is None else {self.mask_token: self.mask_index}
        table = index | mask
        self.refuse_unknown([word for word in words if word not in table])
        if count < 2:
            return np.array([table.get(word, first) for word in words], np.int64)
        return unique_map(
            words, lambda w: table[w] if w in table else first + bucket(w, count, self.salt)
        )


class IntegerLookup(Lookup):
    """The index of each integer in a vocabulary, which is given or learned by `adapt`.

    Arguments:
        max_tokens, num_oov_indices: as in `StringLookup`; unknown integers share their places by
            the remainder of a division.
        mask_token, oov_token: as in `StringLookup`, integers.
        vocabulary: integers in a sequence or array, or the path of a file of one a line.
        vocabulary_dtype: 'int64'.
        idf_weights, invert, output_mode, sparse, pad_to_max_tokens: as in `StringLookup`.
        oov_method: 'floormod', or 'farmhash' for the hash of the digits.
        salt: with 'farmhash', as in `StringLookup`.
        name, options: those of every `Layer`; `dtype` is that of vectors.

    >>> IntegerLookup(vocabulary=[12, 36, 1138])(np.array([36, 12, 7])).numpy()
    array([2, 1, 0])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        kind = "IntegerLookup"
        check_choice(vocabulary_dtype, ("int64",), "vocabulary_dtype", kind)
        self.oov_method = check_choice(oov_method, ("floormod", "farmhash"), "oov_method", kind)
        if salt is not None and oov_method != "farmhash":
            raise ValueError(f"{kind}: salt goes with oov_method='farmhash', received {salt!r}.")
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
            output_mode, pad_to_max_tokens, sparse, salt, name=name, **options,
        )  # fmt: skip

    def as_token(self, item: Any) -> Any:
        try:
            return int(item)
        except (TypeError, ValueError):
            raise TypeError(f"IntegerLookup expects integers, received {item!r}.") from None

    def _store(self, tokens: list[Any], weights: np.ndarray | None) -> None:
        super()._store(tokens, weights)
        keys = np.array(tokens, np.int64)
        order = np.argsort(keys)
        self._keys = Constant(keys[order])
        self._places = Constant(order + self.first_token)
        self._words = Constant(
            [self.oov_token if t is None else t for t in (*self.special_tokens, *tokens)], np.int64
        )

    def _as_inputs(self, x: Any) -> Any:
        return super()._as_inputs(as_numpy(x, "IntegerLookup") if isinstance(x, list) else x)

    def call(self, x: Any) -> Any:
        self._known_tokens()
        value = x.value.astype(np.int64)
        xp = get_array_module(value)
        if self.invert:
            words = self._words.like(value)
            known = (value >= 0) & (value < len(words))
            return Tensor(xp.where(known, words[xp.where(known, value, 0)], self.oov_token))
        keys = self._keys.like(value)
        spots = xp.minimum(xp.searchsorted(keys, value), len(keys) - 1)
        known, places = keys[spots] == value, self._places.like(value)[spots]
        if self.mask_token is not None:
            is_mask = value == self.mask_token
            known, places = known | is_mask, xp.where(is_mask, self.mask_index, places)
        if xp is np and self.num_oov_indices == 0:
            self.refuse_unknown(value[~known].tolist())
        return self.weighted(xp.where(known, places, self._places_of_unknown(value)))

    def _places_of_unknown(self, value: Any) -> Any:
        count, first = self.num_oov_indices, self.first_oov
        if count < 2:
            return first if count else -1
        if self.oov_method == "floormod":
            return value % count + first
        words = to_numpy(value).reshape(-1).tolist()
        places = unique_map(words, lambda word: first + bucket(word, count, self.salt))
        return asarray(places.reshape(value.shape), like=value)
