"""Vocabularies, hashes and texts: values of Keras' documentation and by hand, wrong input."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, layers
from gpunet.layers import (
    Dense,
    Embedding,
    HashedCrossing,
    Hashing,
    Input,
    IntegerLookup,
    StringLookup,
    TextVectorization,
)
from gpunet.layers.fingerprints import farmhash64, siphash64
from gpunet.models import Model, Sequential

WORDS = ["a", "b", "c", "d"]
ROWS = [["a", "c", "d"], ["d", "z", "b"]]
LONGER = [["a", "c", "d", "d"], ["d", "z", "b", "z"]]
NUMBERS = [12, 36, 1138, 42]


def values(result: Any) -> Any:
    return (result.value if isinstance(result, Tensor) else result).tolist()


# Strings


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({}, ROWS, [[1, 3, 4], [4, 0, 2]]),
        ({"num_oov_indices": 2}, [["a", "c", "d"], ["m", "z", "b"]], [[2, 4, 5], [0, 1, 3]]),
        ({"mask_token": ""}, ["a", "", "z"], [2, 0, 1]),
        ({"num_oov_indices": 0}, ["a", "d"], [0, 3]),
        ({"num_oov_indices": 0, "mask_token": "b2"}, ["a", "b2"], [1, 0]),
        ({"output_mode": "one_hot"}, ["a", "z"], [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]),
        ({"output_mode": "multi_hot"}, LONGER, [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
        ({"output_mode": "count"}, LONGER, [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]),
        ({"output_mode": "count", "mask_token": "z"}, LONGER, [[0, 1, 0, 1, 2], [0, 0, 1, 0, 1]]),
        (
            {"output_mode": "multi_hot", "max_tokens": 7, "pad_to_max_tokens": True},
            ["a", "d"],
            [0, 1, 0, 0, 1, 0, 0],
        ),
        ({"invert": True}, [[1, 3, 4], [4, 0, 2]], [["a", "c", "d"], ["d", "[UNK]", "b"]]),
        ({"invert": True, "mask_token": ""}, [0, 1, 2, 9], ["", "[UNK]", "a", "[UNK]"]),
    ],
    ids=str,
)
def test_string_lookup(options: dict[str, Any], data: Any, expected: Any) -> None:
    """Examples in Keras' documentation, and some by hand."""
    layer = StringLookup(vocabulary=WORDS, **options)
    assert values(layer(data)) == expected
    assert values(layer(np.array(data))) == expected
    for other in (
        StringLookup.from_config(layer.get_config()),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ):
        assert values(other(data)) == expected
    if "invert" not in options:
        bytes_of = np.char.encode(np.array(data))
        assert values(layer(bytes_of)) == expected
        mode = options.get("output_mode", "int")
        assert layer(data).dtype == ("int64" if mode == "int" else "float32")


def test_weights_of_words() -> None:
    """Examples in Keras' documentation."""
    layer = StringLookup(output_mode="tf_idf")
    layer.set_vocabulary(WORDS, idf_weights=[0.25, 0.75, 0.6, 0.4])
    expected = [[0, 0.25, 0, 0.6, 0.8], [1.0, 0, 0.75, 0, 0.4]]
    np.testing.assert_allclose(layer(LONGER).value, expected, rtol=1e-6)
    layer.set_vocabulary(["[UNK]", *WORDS], idf_weights=[0.9, 0.25, 0.75, 0.6, 0.4])
    expected[1][0] = 1.8
    np.testing.assert_allclose(layer(LONGER).value, expected, rtol=1e-6)
    wide = StringLookup(8, vocabulary=WORDS, idf_weights=[1, 1, 1, 1], output_mode="tf-idf",
                        pad_to_max_tokens=True)  # fmt: skip
    assert values(wide(["a", "a"])) == [0, 2, 0, 0, 0, 0, 0, 0]
    adapted = StringLookup(output_mode="tf_idf")
    adapted.adapt([["a", "a"], ["a", "b"]])
    assert adapted.get_vocabulary() == ["[UNK]", "a", "b"]
    both = np.log(1 + 2 / (1 + np.array([2, 1])))
    np.testing.assert_allclose(adapted(["a", "b", "z"]).value, [both.mean(), *both], rtol=1e-6)


def test_learned_vocabularies() -> None:
    """The most frequent first, then the last of the alphabet, as in Keras' documentation."""
    layer = StringLookup()
    layer.adapt(ROWS)
    assert layer.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]
    assert layer.get_vocabulary(include_special_tokens=False) == ["d", "z", "c", "b", "a"]
    assert values(layer(ROWS)) == [[5, 3, 1], [1, 2, 4]]
    assert layer.vocabulary_size() == 6
    small = StringLookup(max_tokens=4, mask_token="z")
    small.adapt(["d", "z", "z", "z", "c", "b", "d", "[UNK]"])
    assert small.get_vocabulary() == ["z", "[UNK]", "d", "c"]
    batches = StringLookup()
    batches.adapt(np.array(row) for row in ROWS)
    assert batches.get_vocabulary() == layer.get_vocabulary()
    batches.adapt((np.array(row) for row in ROWS), steps=1)
    assert batches.get_vocabulary() == ["[UNK]", "d", "c", "a"]


def test_vocabulary_files(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("a\nb\nß\n", encoding="utf-8")
    layer = StringLookup(vocabulary=str(path))
    assert values(layer(["ß", "a"])) == [3, 1]
    path.unlink()
    assert layer.get_config()["vocabulary"] == ["a", "b", "ß"]
    path = tmp_path / "numbers.txt"
    path.write_text("12\n-7")
    assert values(IntegerLookup(vocabulary=path)([-7, 12, 5])) == [2, 1, 0]


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_learned_state_is_saved_and_loaded(tmp_path: Path, mode: str) -> None:
    """As Keras does: the vocabulary in a file, the weights of 'tf_idf' among the variables."""
    for make, data in (
        (lambda: StringLookup(output_mode=mode), np.array(ROWS)),
        (lambda: IntegerLookup(output_mode=mode, mask_token=3), np.array([[5, 7], [7, 9]])),
        (lambda: TextVectorization(output_mode=mode), np.array(["a b", "b c"])),
    ):
        layer, store = make(), {}
        layer.adapt(data)
        layer.save_assets(tmp_path)
        layer.save_own_variables(store)
        assert list(store) == (["idf_weights"] if mode == "tf_idf" else [])
        again = type(layer).from_config(layer.get_config())
        again.load_assets(tmp_path)
        again.load_own_variables(store)
        assert again.get_vocabulary() == layer.get_vocabulary()
        np.testing.assert_array_equal(again(data).value, layer(data).value)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer))(data).value, again(data))


# Integers


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({}, [[12, 1138, 42], [42, 1000, 36]], [[1, 3, 4], [4, 0, 2]]),
        ({"num_oov_indices": 2}, [[12, 1138, 42], [37, 1000, 36]], [[2, 4, 5], [1, 0, 3]]),
        ({"num_oov_indices": 3}, [-1, -2, 7], [2, 1, 1]),
        ({"mask_token": 0}, [0, 36, 5], [0, 3, 1]),
        ({"num_oov_indices": 0}, [42, 12], [3, 0]),
        ({"num_oov_indices": 0, "mask_token": 0}, [0, 12], [0, 1]),
        ({"output_mode": "one_hot"}, [12, 7], [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]),
        (
            {"output_mode": "multi_hot"},
            [[12, 42, 42], [1, 2, 36]],
            [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]],
        ),
        (
            {"output_mode": "count", "mask_token": 0},
            [[0, 42, 42], [1, 2, 36]],
            [[0, 0, 0, 0, 2], [2, 0, 1, 0, 0]],
        ),
        ({"invert": True}, [[1, 3, 4], [4, 0, 2]], [[12, 1138, 42], [42, -1, 36]]),
        ({"invert": True, "mask_token": 7}, [0, 1, 2, -1, 9], [7, -1, 12, -1, -1]),
    ],
    ids=str,
)
def test_integer_lookup(options: dict[str, Any], data: Any, expected: Any) -> None:
    """Examples in Keras' documentation, and some by hand."""
    layer = IntegerLookup(vocabulary=np.array(NUMBERS), **options)
    x = np.array(data)
    assert values(layer(data)) == values(layer(x)) == values(layer(Tensor(x))) == expected
    for other in (
        IntegerLookup.from_config(layer.get_config()),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ):
        assert values(other(data)) == expected
    symbol = Input(x.shape[1:], dtype="int64")
    y = layer(symbol)
    found = layer(x)
    assert y.dtype == found.dtype
    if x.ndim > 1 or options.get("output_mode") in (None, "int"):
        assert y.shape == (None, *found.shape[1:])
        assert values(Model(symbol, y)(x)) == expected


def test_integer_lookup_by_data_and_in_models() -> None:
    layer = IntegerLookup()
    data = np.array([[12, 1138, 42], [42, 1000, 36]])
    layer.adapt(data)
    assert layer.get_vocabulary() == [-1, 42, 1138, 1000, 36, 12]
    assert values(layer(data)) == [[5, 2, 1], [1, 3, 4]]
    assert values(layer([10**15, 42])) == [0, 1]
    large = IntegerLookup(vocabulary=[10**15 + 1, 10**15])
    assert values(large([10**15, 10**15 + 1])) == [2, 1]
    hashed = IntegerLookup(vocabulary=[5], num_oov_indices=3, oov_method="farmhash")
    assert values(hashed([0, 1, 2, 3, 4, 5])) == [1, 0, 1, 0, 2, 3]  # as Hashing(3)
    salted = IntegerLookup(
        vocabulary=[5], num_oov_indices=3, oov_method="farmhash", salt=[133, 137]
    )
    assert values(salted(np.arange(5))) == [1, 1, 2, 0, 1]
    model = Sequential(
        [Input((3,), dtype="int64"), layer, Embedding(6, 2), layers.Flatten(), Dense(1)]
    )
    model.compile("sgd", "mse")
    model.fit(data, np.zeros((2, 1)), verbose=0)
    assert model.predict(data, verbose=0).shape == (2, 1)


# Hashes


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({"num_bins": 3}, [["A"], ["B"], ["C"], ["D"], ["E"]], [[1], [0], [1], [1], [2]]),
        (
            {"num_bins": 3, "mask_value": ""},
            [["A"], ["B"], [""], ["C"], ["D"]],
            [[1], [1], [0], [2], [2]],
        ),
        ({"num_bins": 3, "salt": [133, 137]}, ["A", "B", "C", "D", "E"], [1, 2, 1, 0, 2]),
        ({"num_bins": 3, "salt": 133}, ["A", "B", "C", "D", "E"], [0, 0, 2, 1, 0]),
        ({"num_bins": 2}, ["omar", "stringer", "marlo", "wire", "skywalker"], [0, 0, 1, 0, 0]),
        (
            {"num_bins": 3, "mask_value": "omar"},
            ["omar", "stringer", "marlo", "wire", "skywalker"],
            [0, 1, 2, 1, 1],
        ),
        ({"num_bins": 2, "salt": [211, 137]}, ["omar", "stringer", "marlo"], [1, 0, 1]),
        ({"num_bins": 3}, [0, 1, 2, 3, 4], [1, 0, 1, 0, 2]),
        ({"num_bins": 3, "salt": [133, 137]}, [0, 1, 2, 3, 4], [1, 1, 2, 0, 1]),
        ({"num_bins": 1}, ["A", "B"], [0, 0]),
        ({"num_bins": 3, "output_mode": "one_hot"}, [0, 1, 4], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        ({"num_bins": 3, "output_mode": "multi_hot"}, [[0, 1, 2, 3, 4]], [[1, 1, 1]]),
        ({"num_bins": 3, "output_mode": "count"}, [[0, 1, 2, 3, 4]], [[2, 2, 1]]),
    ],
    ids=str,
)
def test_hashing(options: dict[str, Any], data: Any, expected: Any) -> None:
    """Values in Keras' documentation and tests, those of TensorFlow on every platform."""
    layer = Hashing(**options)
    assert values(layer(data)) == values(layer(np.array(data))) == expected
    assert values(Hashing.from_config(layer.get_config())(data)) == expected
    x = np.array(data)
    assert layer.compute_output_shape(x.shape) == np.shape(expected)
    if x.dtype.kind == "i" and x.ndim > 1:
        model = Model(symbol := Input(x.shape[1:], dtype="int64"), layer(symbol))
        assert values(model(x)) == expected
    assert Hashing(3, dtype="int32")(x).dtype == np.int32


def text_of(size: int) -> bytes:
    return bytes(33 + (i * 7 + i * i) % 90 for i in range(size))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0x9AE16A3B2F90404F), (1, 0xEBBF7FF11EFF54B2), (5, 0xC619F74E0382AF7D),
        (12, 0xCAD71B74D48F95B0), (16, 0x3A5F9ED5C5D188E2), (20, 0xFB28480EA5FD7736),
        (32, 0xFAB3FE4AF9EBE92D), (33, 0xF1311FDEF59A311F), (50, 0x4B53C32B4A564414),
        (64, 0x18ADDC353FDF9F6C), (65, 0x5AD6BB671B17C545), (100, 0x747EC912B3C7C2F),
        (128, 0xF56A160AC8812BC7), (129, 0xD1E3C712838AB099), (200, 0x47208CCABB548D63),
    ],
)  # fmt: skip
def test_farmhash(size: int, expected: int) -> None:
    """Values of the C++ library, by pyfarmhash 0.5.1, for each way that it goes by the size."""
    assert farmhash64(text_of(size)) == expected


def test_siphash() -> None:
    """The example of the paper (appendix A), and no bytes, by its reference implementation."""
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash64(bytes(range(15)), key) == 0xA129CA6149BE45E5
    assert siphash64(b"", key) == 0x726FDB47DD0E0E31


def test_hashed_crossing() -> None:
    """Values in Keras' documentation."""
    layer = HashedCrossing(5)
    features = np.array(["A", "B", "A", "B", "A"]), np.array([101, 101, 101, 102, 102])
    assert values(layer(features)) == [1, 4, 1, 1, 3]
    columns = [each[:, None] for each in features]
    assert values(layer(columns)) == [[1], [4], [1], [1], [3]]
    assert values(layer(["A", 101])) == 1
    one_hot = HashedCrossing(5, output_mode="one_hot")
    assert values(one_hot(features)) == np.eye(5)[[1, 4, 1, 1, 3]].tolist()
    assert one_hot(columns).shape == (5, 5) and one_hot(columns).dtype == np.float32


# Texts

TEXTS = ["foo bar", "bar baz", "baz bada boom"]


def test_text_vectorization_by_data() -> None:
    """The examples in Keras' documentation."""
    layer = TextVectorization(5000, output_mode="int", output_sequence_length=4)
    layer.adapt(TEXTS)
    assert values(layer([["foo qux bar"], ["qux baz"]])) == [[4, 1, 3, 0], [1, 2, 0, 0]]
    assert layer.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    layer = TextVectorization(vocabulary=["earth", "wind", "and", "fire"])
    assert layer.get_vocabulary() == ["", "[UNK]", "earth", "wind", "and", "fire"]
    assert layer.vocabulary_size() == 6


def split_at_commas(texts: Any) -> Any:
    return [text.split(",") for text in texts]


VOCABULARY = ["to", "be", "or", "not"]


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({}, ["To be, or not?", "BE"], [[2, 3, 4, 5], [3, 0, 0, 0]]),
        ({}, [["to"], ["be or"]], [[2, 0], [3, 4]]),
        ({}, "to be", [2, 3]),
        ({}, ["", " \t\n"], [[], []]),
        ({"output_sequence_length": 3}, ["to be or not", "to"], [[2, 3, 4], [2, 0, 0]]),
        ({"standardize": None}, ["To be,"], [[1, 1]]),
        ({"standardize": "lower"}, ["To be,"], [[2, 1]]),
        ({"standardize": "strip_punctuation"}, ["To be,"], [[1, 3]]),
        ({"standardize": np.char.lower}, ["TO", "be"], [[2], [3]]),
        ({"split": None}, ["to", "no", "be"], [2, 1, 3]),
        ({"split": None}, [["to", "no"], ["be", ""]], [[2, 1], [3, 0]]),
        ({"split": None, "output_sequence_length": 3}, [["to", "or"]], [[2, 4, 0]]),
        ({"split": split_at_commas, "standardize": None}, ["to,be", "or"], [[2, 3], [4, 0]]),
        ({"split": "character", "vocabulary": ["b", "é"]}, ["Bé!"], [[2, 3]]),
        ({"output_mode": "multi_hot"}, ["to be to", "x"], [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
        ({"output_mode": "count"}, ["to be to", ""], [[0, 2, 1, 0, 0], [0, 0, 0, 0, 0]]),
        (
            {"output_mode": "tf_idf", "idf_weights": [0.5, 1, 2, 4]},
            ["to be to x"],
            [[1.875, 1, 1, 0, 0]],
        ),
        (
            {"output_mode": "count", "max_tokens": 6, "pad_to_max_tokens": True},
            ["not"],
            [[0, 0, 0, 0, 1, 0]],
        ),
        ({"ngrams": 2, "vocabulary": ["a", "a b"]}, ["a b c"], [[2, 1, 1, 3, 1]]),
        ({"ngrams": (2,), "vocabulary": ["a b", "b c"]}, ["a b c", "a"], [[2, 3], [0, 0]]),
        ({"ngrams": (3, 1), "vocabulary": ["a b c", "c"]}, ["a b c"], [[2, 1, 1, 3]]),
    ],
)
def test_text_vectorization(options: dict[str, Any], data: Any, expected: Any) -> None:
    layer = TextVectorization(**{"vocabulary": VOCABULARY, **options})
    assert values(layer(data)) == expected
    assert values(layer(np.array(data))) == expected
    again = TextVectorization.from_config(layer.get_config())
    assert values(again(data)) == values(copy.deepcopy(layer)(data)) == expected
    assert values(pickle.loads(pickle.dumps(layer))(data)) == expected
    mode = options.get("output_mode", "int")
    assert layer(data).dtype == ("int64" if mode == "int" else "float32")


def test_letters_of_ascii_alone_are_made_small() -> None:
    """As TensorFlow's strings.lower and strings.split do, on whose bytes Keras counts."""
    layer = TextVectorization(vocabulary=["É", "e", "a\u00a0b"])
    assert values(layer(["É E", "a\u00a0b"])) == [[2, 3], [4, 0]]


def test_text_by_batches_for_a_model() -> None:
    def batches() -> Iterator[Any]:
        yield np.array(TEXTS[:2]), np.zeros(2)
        yield np.array(TEXTS[2:])[:, None], np.zeros(1)

    layer, whole = TextVectorization(output_mode="tf_idf"), TextVectorization(output_mode="tf_idf")
    layer.adapt(batches())
    whole.adapt(np.array(TEXTS))
    assert layer.get_vocabulary() == whole.get_vocabulary()
    np.testing.assert_array_equal(layer(TEXTS).value, whole(TEXTS).value)
    assert layer.compute_output_shape((None, 1)) == (None, 6)
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    model.fit(layer(TEXTS).numpy(), np.zeros((3, 1)), verbose=0)


# Wrong input

IDS = {"vocabulary": NUMBERS}
ABC = {"vocabulary": WORDS}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StringLookup()(["a"]), "no vocabulary yet: call adapt"),
        (lambda: IntegerLookup()([1]), "no vocabulary yet: call adapt"),
        (lambda: IntegerLookup(output_mode="count")(Input((2,))), "no vocabulary yet"),
        (lambda: TextVectorization()(["a"]), "no vocabulary yet: call adapt"),
        (lambda: StringLookup(**ABC, num_oov_indices=0)(["a", "q", "x"]), "received 'q', 'x'"),
        (lambda: IntegerLookup(**IDS, num_oov_indices=0)([12, 7]), "unknown tokens, received 7"),
        (lambda: StringLookup(**ABC, output_mode="hot"), "output_mode must be one of"),
        (lambda: IntegerLookup(**IDS, output_mode=None), "output_mode must be one of"),
        (lambda: TextVectorization(output_mode="one_hot"), "output_mode must be one of"),
        (lambda: Hashing(3, output_mode="tf_idf"), "output_mode must be one of"),
        (lambda: StringLookup(**ABC, output_mode="count", sparse=True), "sparse=True is not"),
        (lambda: TextVectorization(ragged=True), "ragged=True is not"),
        (lambda: StringLookup(**ABC, invert=True, output_mode="count"), "'int' with invert"),
        (lambda: StringLookup(1), "at least 2 or None"),
        (lambda: StringLookup(3, **ABC), "has 5 tokens.*max_tokens=3"),
        (lambda: StringLookup(pad_to_max_tokens=True), "needs max_tokens"),
        (lambda: StringLookup(num_oov_indices=-1), "num_oov_indices must be an integer of at"),
        (lambda: StringLookup(vocabulary=[]), "received none"),
        (lambda: StringLookup(vocabulary=["a", "b", "a"]), "'a' several times"),
        (lambda: StringLookup(vocabulary=["a", "m"], mask_token="m"), "'m' at index 1"),
        (lambda: StringLookup(vocabulary=["a", "[UNK]"], invert=True), "'.UNK.' at index 1"),
        (lambda: StringLookup(vocabulary="/no/such/file"), "there is no vocabulary file"),
        (lambda: StringLookup(vocabulary=[1, 2]), "expects strings, received 1"),
        (lambda: IntegerLookup(vocabulary=["a"]), "expects integers, received 'a'"),
        (lambda: IntegerLookup(vocabulary_dtype="int32"), "vocabulary_dtype must be one of"),
        (lambda: IntegerLookup(oov_method="sip"), "oov_method must be one of"),
        (lambda: IntegerLookup(salt=3), "salt goes with"),
        (lambda: StringLookup(**ABC, output_mode="tf_idf"), "idf_weights go with"),
        (lambda: StringLookup(**ABC, idf_weights=[1, 1, 1, 1]), "idf_weights go with"),
        (lambda: StringLookup(output_mode="tf_idf", idf_weights=[1]), "received them alone"),
        (
            lambda: StringLookup(**ABC, output_mode="tf_idf", idf_weights=[1, 2]),
            "expects 4 idf_weights",
        ),
        (lambda: StringLookup(**ABC).adapt(["a"]), "was given a vocabulary"),
        (lambda: StringLookup().adapt([]), "received none"),
        (lambda: TextVectorization().adapt(["..."]), "found no tokens"),
        (lambda: StringLookup().adapt([["a"], ["b", "c"]]), "several lengths"),
        (lambda: StringLookup(**ABC)([["a"], ["b", "c"]]), "several lengths"),
        (lambda: StringLookup(**ABC)([1, 2]), "expects strings, received 1"),
        (lambda: StringLookup(**ABC)(Input((1,))), "call TextVectorization or StringLookup on"),
        (lambda: TextVectorization(**ABC)(Input((1,))), "call TextVectorization or StringLookup"),
        (lambda: Input((1,), dtype="string"), "feed these to the model"),
        (lambda: Sequential([Dense(1)])(np.array([["a"]])), "feed these to the model"),
        (lambda: TextVectorization(**ABC)([["a", "b"]]), r"\(batch, 1\), received"),
        (lambda: TextVectorization(standardize="upper"), "standardize must be one of"),
        (lambda: TextVectorization(split="words"), "split must be one of"),
        (lambda: TextVectorization(ngrams=0), "ngrams must be a positive integer"),
        (lambda: TextVectorization(output_sequence_length=0), "output_sequence_length must be"),
        (
            lambda: TextVectorization(output_mode="count", output_sequence_length=3),
            "is for output_mode='int'",
        ),
        (
            lambda: TextVectorization(**ABC, split=lambda x: [["a"]])(["a", "b"]),
            "2 lists of tokens",
        ),
        (lambda: TextVectorization(**ABC, standardize=lambda x: x[:1])(["a", "b"]), "of shape"),
        (lambda: Hashing(0), "num_bins must be a positive integer"),
        (lambda: Hashing(2, salt="string"), "salt must be an integer, or two"),
        (lambda: Hashing(2, salt=[1]), "salt must be an integer, or two"),
        (lambda: Hashing(2)([None]), "expects strings, received None"),
        (lambda: HashedCrossing(3)(np.array(1)), "a list of at least two"),
        (lambda: HashedCrossing(3)([np.array([1])]), "a list of at least two"),
        (lambda: HashedCrossing(3)([np.ones((2, 2), int)] * 2), "features of one shape"),
        (lambda: HashedCrossing(3)([np.ones(2)] * 2), "received floats"),
        (lambda: HashedCrossing(3)([Input((1,))] * 2), "cannot stand in a model"),
        (lambda: HashedCrossing(3, "count"), "output_mode must be one of"),
    ],
)
def test_wrong_input(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        make()
