"""The vocabulary of layers that look tokens up: given, learned, read and written."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.arguments import boolean, positive_integer
from gpunet.autograd import Tensor
from gpunet.backend import asarray, to_numpy
from gpunet.layers.adapting import as_numpy, batches_of, is_one_batch
from gpunet.layers.categories import EncodingLayer, encode
from gpunet.layers.layer import Shape
from gpunet.layers.strings import checked_salt, listed

__all__ = ["Lookup"]


class Lookup(EncodingLayer):
    """A layer with a vocabulary, which begins with the special tokens.

    These are, for 'int', the mask token if there is one, and the places for unknown tokens.
    Arguments are those of `StringLookup`.
    """

    modes = ("int", "one_hot", "multi_hot", "count", "tf_idf")
    encoding = "utf-8"

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        sparse: bool,
        salt: Any,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, **options)
        kind = type(self).__name__
        if max_tokens is not None and positive_integer(max_tokens, "max_tokens", kind) < 2:
            raise ValueError(f"{kind}: max_tokens must be at least 2 or None, received 1.")
        self.max_tokens = max_tokens
        self.num_oov_indices = positive_integer(
            num_oov_indices, "num_oov_indices", kind, or_zero=True
        )
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert = boolean(invert, "invert", kind)
        self.pad_to_max_tokens = boolean(pad_to_max_tokens, "pad_to_max_tokens", kind)
        if self.pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"{kind}: pad_to_max_tokens=True needs max_tokens, received None.")
        if self.invert and self.output_mode != "int":
            raise ValueError(
                f"{kind}: output_mode must be 'int' with invert=True, received {output_mode!r}."
            )
        self.salt = checked_salt(salt, kind)
        self.tokens: list[Any] | None = None
        self.idf_weights: np.ndarray | None = None
        self.is_fixed, self._given = vocabulary is not None, None
        if vocabulary is not None:
            self._given = self._listed(vocabulary)
            self.set_vocabulary(self._given, idf_weights)
        elif idf_weights is not None:
            raise ValueError(f"{kind}: idf_weights go with a vocabulary, received them alone.")

    # The vocabulary

    @property
    def first_oov(self) -> int:
        """The index of the first place for unknown tokens."""
        return 1 if self.mask_token is not None and self.output_mode == "int" else 0

    @property
    def first_token(self) -> int:
        """The index of the first token of the vocabulary."""
        return self.first_oov + self.num_oov_indices

    @property
    def special_tokens(self) -> list[Any]:
        """The tokens before those of the vocabulary."""
        return [self.mask_token] * self.first_oov + [self.oov_token] * self.num_oov_indices

    @property
    def depth(self) -> int | None:
        return self.max_tokens if self.pad_to_max_tokens else self._known_size()

    def _known_size(self) -> int:
        return self.first_token + len(self._known_tokens())

    def _known_tokens(self) -> list[Any]:
        if self.tokens is None:
            raise ValueError(
                f"{type(self).__name__} has no vocabulary yet: call adapt(data) first, or give "
                "vocabulary=."
            )
        return self.tokens

    def vocabulary_size(self) -> int:
        """Return the number of tokens, special ones included."""
        return self.first_token + len(self.tokens or [])

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the tokens by their index, or those of the vocabulary alone."""
        return (self.special_tokens if include_special_tokens else []) + list(self.tokens or [])

    def as_token(self, item: Any) -> Any:
        """Return one token of a vocabulary as Python's; raise `TypeError` for something else."""
        raise NotImplementedError

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the vocabulary, and the weights of its tokens.

        Arguments:
            vocabulary: tokens, each once, in a sequence or array; or the path of a file of one a
                line. The special tokens may stand before them.
            idf_weights: for 'tf_idf' one for each token of `vocabulary`; unknown tokens have the
                mean of all where it does not have the special tokens.

        Raises:
            ValueError: a token stands twice, there are none or too many, or weights do not fit.
        """
        kind = type(self).__name__
        given = self._listed(vocabulary)
        special = self.special_tokens
        complete = given[: len(special)] == special
        tokens = given[len(special) :] if complete else given
        self._check_tokens(tokens)
        weights = None
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise ValueError(
                f"{kind}: idf_weights go with output_mode='tf_idf' and a vocabulary, received "
                f"idf_weights={idf_weights!r} and output_mode={self.output_mode!r}."
            )
        if idf_weights is not None:
            weights = np.asarray(to_numpy(idf_weights), float)
            if weights.shape != (len(given),):
                raise ValueError(
                    f"{kind} expects {len(given)} idf_weights, one for each token of the "
                    f"vocabulary, received shape {weights.shape}."
                )
            if not complete:
                weights = np.concatenate([np.full(len(special), weights.mean()), weights])
        self._store(tokens, weights)

    def _listed(self, vocabulary: Any) -> list[Any]:
        """Return the tokens of a sequence, an array or a file."""
        if isinstance(vocabulary, str | os.PathLike):
            path = Path(vocabulary)
            if not path.is_file():
                raise ValueError(
                    f"{type(self).__name__}: there is no vocabulary file {str(path)!r}: give a "
                    "path, or the tokens as a list."
                )
            items = path.read_text(encoding=self.encoding).removesuffix("\n").split("\n")
        else:
            items = as_numpy(vocabulary, type(self).__name__).reshape(-1).tolist()
        return [self.as_token(item) for item in items]

    def _check_tokens(self, tokens: Sequence[Any]) -> None:
        kind = type(self).__name__
        twice = [token for token, count in collections.Counter(tokens).items() if count > 1]
        if not tokens or twice:
            raise ValueError(
                f"{kind} expects a vocabulary of tokens that stand once each, received "
                + (f"{twice[0]!r} several times." if twice else "none.")
            )
        reserved = [self.mask_token] + ([self.oov_token] if self.invert else [])
        for token in reserved:
            if token is not None and token in tokens:
                raise ValueError(
                    f"{kind}: the vocabulary holds the special token {token!r} at index "
                    f"{list(tokens).index(token)}: leave special tokens out, or begin with all of "
                    f"them, in this order: {self.special_tokens}."
                )
        size = self.first_token + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"{kind}: the vocabulary has {size} tokens, special ones included, which are more "
                f"than max_tokens={self.max_tokens}."
            )

    def _store(self, tokens: list[Any], weights: np.ndarray | None) -> None:
        self.tokens, self._index = tokens, {t: self.first_token + i for i, t in enumerate(tokens)}
        if weights is not None:
            behind = (self.depth or 0) - len(weights)
            self.idf_weights = np.pad(weights, (0, behind)).astype("float32")

    # Learning

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Set the vocabulary by the tokens of some data: the most frequent first.

        Of tokens that are as frequent, the one that sorts last is first. For 'tf_idf' each row is a
        document.

        Arguments:
            data: an array or lists of tokens, or an iterable of batches of them.
            steps: the most batches that are read.

        Raises:
            ValueError: a vocabulary was given, or there are no data.
        """
        self.adapt_to_rows(self._documents(data, steps))

    def _documents(self, data: Any, steps: int | None) -> Iterator[list[Any]]:
        """Yield the tokens of each row; a batch of one axis is one, the items of a list each."""
        items_alone = is_one_batch(data)
        for batch in batches_of(data, f"{type(self).__name__}.adapt", steps):
            tokens = [self.as_token(item) for item in batch.reshape(-1).tolist()]
            width = batch.shape[-1] if batch.ndim > 1 else 1 if items_alone else batch.size
            yield from (tokens[i : i + width] for i in range(0, len(tokens), width))

    def adapt_to_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Set the vocabulary by the tokens of documents."""
        kind = type(self).__name__
        if self.is_fixed:
            raise ValueError(
                f"{kind}.adapt: the layer was given a vocabulary: make one without, to adapt it."
            )
        counts: collections.Counter[Any] = collections.Counter()
        documents: collections.Counter[Any] = collections.Counter()
        number = 0
        for row in rows:
            counts.update(row)
            documents.update(set(row))
            number += 1
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        tokens = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: max(self.max_tokens - self.first_token, 0)]
        if not tokens:
            raise ValueError(f"{kind}.adapt found no tokens: give data, or raise max_tokens.")
        weights = None
        if self.output_mode == "tf_idf":
            weights = np.log(1 + number / (1 + np.array([documents[t] for t in tokens])))
            weights = np.concatenate([np.full(self.first_token, weights.mean()), weights])
        self._store(tokens, weights)

    # Calls

    def weighted(self, indices: Any) -> Tensor:
        """Return indices as the output mode says; those of `depth` are left out of vectors."""
        if self.output_mode != "tf_idf":
            return self.encoded(indices)
        assert self.idf_weights is not None
        counts = encode(indices, "count", self.depth or 0, self.output_dtype)
        return Tensor(counts * asarray(self.idf_weights, self.output_dtype, like=counts))

    def refuse_unknown(self, unknown: Sequence[Any]) -> None:
        """Raise `ValueError` if there are tokens that have no place."""
        if unknown and self.num_oov_indices == 0:
            shown = ", ".join(repr(token) for token in dict.fromkeys(unknown[:5]))
            raise ValueError(
                f"{type(self).__name__} with num_oov_indices=0 has no place for unknown tokens, "
                f"received {shown}: set num_oov_indices=1, or extend the vocabulary."
            )

    @property
    def mask_index(self) -> int:
        """The index of the mask token; for vectors one that is left out."""
        return 0 if self.output_mode == "int" else self.depth or 0

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._known_tokens()
        return super().compute_output_shape(input_shape)

    # Files

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; a vocabulary of a file as a list. Learned ones are no argument."""
        config = super().get_config() | {"vocabulary": self._given}
        return config | {"idf_weights": listed(config.get("idf_weights"))}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Return a layer with these arguments; those that Keras adds for itself are left out."""
        added = ("vocabulary_size", "has_input_vocabulary")
        return super().from_config({k: item for k, item in config.items() if k not in added})

    def save_assets(self, dir_path: Any) -> None:
        """Write a learned vocabulary to the file vocabulary.txt of a folder, as Keras does."""
        if self.tokens is not None and not self.is_fixed:
            text = "\n".join(str(token) for token in self.get_vocabulary())
            (Path(dir_path) / "vocabulary.txt").write_text(text, encoding="utf-8", newline="\n")

    def load_assets(self, dir_path: Any) -> None:
        """Read a vocabulary that `save_assets` wrote."""
        path = Path(dir_path) / "vocabulary.txt"
        if not self.is_fixed and path.is_file():
            lines = path.read_text(encoding="utf-8").split("\n")
            tokens = [self.as_token(line) for line in lines[self.first_token :]]
            self._store(tokens, None)

    def save_own_variables(self, store: Any) -> None:
        """Put the weights of 'tf_idf' into a dictionary, under Keras' name."""
        if self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store: Any) -> None:
        """Take the weights of 'tf_idf' from a dictionary."""
        if self.output_mode == "tf_idf":
            self.idf_weights = np.asarray(store["idf_weights"], "float32")
