"""The layer that makes numbers of texts."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np

from gpunet.arguments import check_choice, positive_integer, refuse_unsupported
from gpunet.autograd import Tensor
from gpunet.backend import asarray
from gpunet.layers.adapting import as_numpy, batches_of
from gpunet.layers.layer import Shape
from gpunet.layers.lookup import StringLookup
from gpunet.layers.strings import StringLayer, as_strings, listed

__all__ = ["TextVectorization"]

_STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORDS = re.compile(r"[^ \t\n\v\f\r]+")


class TextVectorization(StringLayer):
    """Indices of the words of texts, or vectors of them, by a vocabulary given or learned.

    A text is standardized, split into words, and these perhaps joined to n-grams, which are looked
    up. As in Keras, letters of the ASCII alphabet alone are made small, and words are split at its
    white space.

    Arguments:
        max_tokens: the most tokens, those for padding and unknown words included.
        standardize: 'lower_and_strip_punctuation', 'lower', 'strip_punctuation', None, or a
            function of an array of strings that returns one of its shape.
        split: 'whitespace', 'character', None for texts that are tokens, or a function of an array
            of strings that returns a list of tokens for each.
        ngrams: None; n for all of 1 to n words; or a tuple of numbers of words.
        output_mode: 'int' for int64 indices, in which 0 is padding and 1 an unknown word;
            'multi_hot', 'count' or 'tf_idf' for vectors, in which 0 is an unknown word.
        output_sequence_length: of 'int': texts are cut, or filled up, to as many; by default they
            are filled up to the longest.
        pad_to_max_tokens: whether vectors have `max_tokens` elements.
        vocabulary, idf_weights: as in `StringLookup`.
        sparse, ragged: False; such results are not supported, texts are filled up with 0.
        encoding: of bytes, and of the vocabulary's file.
        name, options: those of every `Layer`; `dtype` is that of vectors.

    >>> layer = TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["foo bar", "bar baz", "baz bada boom"])
    >>> layer([["foo qux bar"], ["qux baz"]]).numpy()
    array([[4, 1, 3, 0],
           [1, 2, 0, 0]])
    """

    modes = ("int", "multi_hot", "count", "tf_idf")

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, name=name, **options)
        kind = "TextVectorization"
        refuse_unsupported(kind, ragged=ragged)
        self.standardize = standardize
        if standardize is not None and not callable(standardize):
            check_choice(standardize, _STANDARDS, "standardize", kind)
        self.split = split
        if split is not None and not callable(split):
            check_choice(split, ("whitespace", "character"), "split", kind)
        self.ngrams = _ngrams(ngrams)
        self.output_sequence_length = output_sequence_length
        if output_sequence_length is not None:
            positive_integer(output_sequence_length, "output_sequence_length", kind)
            if self.output_mode != "int":
                raise ValueError(
                    f"{kind}: output_sequence_length is for output_mode='int', received "
                    f"{output_sequence_length} and {output_mode!r}."
                )
        self.encoding = encoding
        self.lookup = StringLookup(
            max_tokens,
            mask_token="",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            output_mode=self.output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            encoding=encoding,
            dtype=self.output_dtype if self.output_mode != "int" else None,
        )

    @property
    def depth(self) -> int | None:
        return self.lookup.depth

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Set the vocabulary by the words of texts: the most frequent first.

        Arguments:
            data: an array or list of texts, or an iterable of batches of them.
            batch_size: not used, as in Keras.
            steps: the most batches that are read.

        Raises:
            ValueError: a vocabulary was given, or there are no words.
        """
        batches = batches_of(data, "TextVectorization.adapt", steps)
        self.lookup.adapt_to_rows(row for x in batches for row in self._rows(x)[1])

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """Return the words by their index, or those of the vocabulary alone."""
        return self.lookup.get_vocabulary(include_special_tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the vocabulary, as `StringLookup.set_vocabulary` does."""
        self.lookup.set_vocabulary(vocabulary, idf_weights)

    def vocabulary_size(self) -> int:
        """Return the number of words, special ones included."""
        return self.lookup.vocabulary_size()

    def _rows(self, x: np.ndarray) -> tuple[Shape, list[list[str]]]:
        """Return the shape of the texts, and the tokens of each."""
        texts = self._standardized(as_strings(x, "TextVectorization", self.encoding))
        if self.split is None:
            width = texts.shape[-1] if texts.ndim else 1
            flat = texts.reshape(-1).tolist()
            shape, rows = texts.shape[:-1], [flat[i : i + width] for i in _starts(flat, width)]
        else:
            if texts.ndim > 1 and texts.shape[-1] != 1:
                raise ValueError(
                    "TextVectorization splits texts of shape (batch,) or (batch, 1), received "
                    f"shape {texts.shape}: split=None takes tokens."
                )
            shape = texts.shape[:-1] if texts.ndim > 1 else texts.shape
            rows = self._split(texts.reshape(-1))
        return shape, [self._joined(row) for row in rows]

    def _standardized(self, texts: np.ndarray) -> np.ndarray:
        if self.standardize is None or texts.size == 0:
            return texts
        if callable(self.standardize):
            found = as_numpy(self.standardize(texts.astype(str)), "standardize")
            if found.shape != texts.shape:
                raise ValueError(
                    f"TextVectorization expects standardize to return strings of shape "
                    f"{texts.shape}, received shape {found.shape}."
                )
            return as_strings(found, "TextVectorization", self.encoding)
        changed = texts.copy()
        for place, text in enumerate(texts.reshape(-1)):
            if self.standardize != "strip_punctuation":
                text = text.translate(_LOWER)
            if self.standardize != "lower":
                text = text.translate(_NO_PUNCTUATION)
            changed.reshape(-1)[place] = text
        return changed

    def _split(self, texts: np.ndarray) -> list[list[str]]:
        if self.split == "whitespace":
            return [_WORDS.findall(text) for text in texts]
        if self.split == "character":
            return [list(text) for text in texts]
        rows = [[str(token) for token in row] for row in self.split(texts.astype(str))]
        if len(rows) != len(texts):
            raise ValueError(
                f"TextVectorization expects split to return {len(texts)} lists of tokens, one for "
                f"each text, received {len(rows)}."
            )
        return rows

    def _joined(self, row: list[str]) -> list[str]:
        if self.ngrams is None:
            return row
        return [" ".join(row[i : i + n]) for n in self.ngrams for i in range(len(row) - n + 1)]

    def call(self, x: Any) -> Any:
        if self.split is None and self.ngrams is None and x.ndim < 2:
            return self._of_tokens(x)
        shape, rows = self._rows(x)
        sizes: Any = shape
        length = self.output_sequence_length
        if length is None:
            length = max((len(row) for row in rows), default=0)
        found = np.full((len(rows), length), self.lookup.mask_index, np.int64)
        for place, row in enumerate(rows):
            found[place, : len(row)] = self.lookup.indices(row[:length])
        return self.lookup.weighted(asarray(found.reshape(*sizes, length)))

    def _of_tokens(self, x: np.ndarray) -> Tensor:
        """Return the result for one axis of tokens, or for one."""
        texts = self._standardized(as_strings(x, "TextVectorization", self.encoding))
        found = self.lookup.indices(texts.reshape(-1).tolist()).reshape(texts.shape)
        if self.output_sequence_length is not None and found.ndim:
            found = found[: self.output_sequence_length]
            found = np.pad(found, (0, self.output_sequence_length - len(found)))
        return self.lookup.weighted(asarray(found))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.output_mode == "int":
            return (input_shape[0], self.output_sequence_length)
        return (*(input_shape[:-1] if len(input_shape) > 1 else input_shape), self.depth)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; a vocabulary of a file as a list. Learned ones are no argument."""
        config, of_lookup = super().get_config(), self.lookup.get_config()
        ngrams = config["ngrams"]
        return config | {
            "vocabulary": of_lookup["vocabulary"],
            "idf_weights": listed(config["idf_weights"]),
            "ngrams": tuple(ngrams) if isinstance(ngrams, list) else ngrams,
        }

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Return a layer with these arguments; those that Keras adds for itself are left out."""
        return super().from_config({k: v for k, v in config.items() if k != "vocabulary_size"})

    def save_assets(self, dir_path: Any) -> None:
        """Write a learned vocabulary to the file vocabulary.txt of a folder, as Keras does."""
        self.lookup.save_assets(dir_path)

    def load_assets(self, dir_path: Any) -> None:
        """Read a vocabulary that `save_assets` wrote."""
        self.lookup.load_assets(dir_path)

    def save_own_variables(self, store: Any) -> None:
        """Put the weights of 'tf_idf' into a dictionary, under Keras' name."""
        self.lookup.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Take the weights of 'tf_idf' from a dictionary."""
        self.lookup.load_own_variables(store)


def _starts(flat: list[Any], width: int) -> range:
    return range(0, len(flat), max(width, 1))


def _ngrams(ngrams: Any) -> tuple[int, ...] | None:
    """Return the numbers of words of n-grams."""
    if ngrams is None:
        return None
    whole = isinstance(ngrams, list | tuple)
    found = [
        positive_integer(n, "ngrams", "TextVectorization") for n in (ngrams if whole else [ngrams])
    ]
    return tuple(found) if whole else tuple(range(1, found[0] + 1))
