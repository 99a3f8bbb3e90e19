"""Bad inputs of layers: each error names the layer, what was expected and received, and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import Input, layers
from gpunet.models import Sequential


def zeros(*shape: int) -> Any:
    return np.zeros(shape, "float32")


def bools(*shape: int) -> Any:
    return np.ones(shape, bool)


X = zeros(2, 3, 4)

# Masks

MASKED = {
    "SimpleRNN": {"units": 2}, "LSTM": {"units": 2}, "GRU": {"units": 2},
    "GlobalAveragePooling1D": {}, "Softmax": {}, "BatchNormalization": {},
}  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3, 2), (2, 3, 5)])
@pytest.mark.parametrize("name", MASKED)
def test_masks_of_the_wrong_shape(name: str, shape: tuple[int, ...]) -> None:
    layer = getattr(layers, name)(**MASKED[name], name="mine")
    with pytest.raises(
        ValueError, match=rf"'mine' \({name}\).*\(2, 3.*{shape}".replace(", ", ". ")
    ):
        layer(X, mask=bools(*shape))


@pytest.mark.parametrize("shape", [(2,), (2, 3, 1), (2, 3, 4)])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_masks_of_the_wrong_rank(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{name} expects a mask of shape \(batch, time\)"):
        getattr(layers, name)(2)(X, mask=bools(*shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.Bidirectional(layers.LSTM(2))(X, mask=bools(2, 5)), r"\(2, 3\).*\(2, 5\)"),
        (
            lambda: layers.TimeDistributed(layers.Dense(2))(X, mask=bools(2, 5)),
            r"\(2, 3\).*\(2, 5\)",
        ),
        (lambda: layers.ConvLSTM1D(2, 2)(zeros(2, 3, 4, 1), mask=bools(2, 5)), r"\(2, 5\)"),
        (lambda: layers.Attention()([X, X], mask=[None, bools(2, 5)]), r"\(2, 3\).*\(2, 5\)"),
        (lambda: layers.Attention()([X, X], mask=bools(2, 3)), r"2 masks.*one of shape \(2, 3\)"),
        (lambda: layers.Attention()([X, X], mask=[None] * 3), "2 masks.*received 3"),
        (lambda: layers.AdditiveAttention()([X, X], mask=[bools(3, 3), None]), r"\(3, 3\)"),
        (
            lambda: layers.MultiHeadAttention(2, 2)(X, X, attention_mask=bools(2, 5, 3)),
            r"attention_mask of shape .*\(2, 2, 3, 3\).*\(2, 5, 3\)",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 2)(X, X, value_mask=bools(2, 5)),
            r"value_mask of shape \(batch, keys\), here \(2, 3\).*\(2, 5\)",
        ),
    ],
)
def test_masks_of_wrappers_and_attention(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_layers_without_masks_say_so() -> None:
    with pytest.raises(TypeError, match=r"Dense\.call takes no mask: leave mask= out"):
        layers.Dense(2)(X, mask=bools(2, 3))


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_a_mask_of_one_sample_is_that_of_all(name: str) -> None:
    layer, x = getattr(layers, name)(2), np.random.default_rng(0).standard_normal((2, 3, 4))
    one = np.array([[True, True, False]])
    expected = layer(x, mask=one.repeat(2, axis=0)).numpy()
    np.testing.assert_array_equal(layer(x, mask=one).numpy(), expected)


# States


@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (2, 3), (2,), (2, 2, 1)])
@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM"])
def test_states_of_the_wrong_size(name: str, shape: tuple[int, ...]) -> None:
    count = 2 if name == "LSTM" else 1
    states = [zeros(*shape), zeros(2, 2)][:count]
    with pytest.raises(ValueError, match=rf"{name} expects {count} .*\(2, 2\).*received.*batch"):
        getattr(layers, name)(2)(X, initial_state=states)


CELLS = [layers.LSTMCell, layers.GRUCell]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LSTM(2)(X, initial_state=[zeros(2, 2)]), "expects 2 states"),
        (lambda: layers.LSTM(2)(X, initial_state=[zeros(2, 2), None]), r"received \(2, 2\), \(\)"),
        (lambda: layers.GRU(2)(X, initial_state=0), r"1 state of shape \(2, 2\)"),
        (
            lambda: layers.Bidirectional(layers.LSTM(2))(X, initial_state=[zeros(3, 2)] * 4),
            r"2 states of shape \(2, 2\).*\(3, 2\)",
        ),
        (
            lambda: layers.RNN([c(2) for c in CELLS])(
                X, initial_state=[[zeros(2, 2), zeros(2, 2)], zeros(3, 2)]
            ),
            r"3 states of shape \(2, 2\).*\(3, 2\)",
        ),
        (
            lambda: layers.StackedRNNCells([c(2) for c in CELLS])(
                X[:, 0], [[zeros(2, 2), zeros(2, 2)], zeros(3, 2)]
            ),
            r"GRUCell expects 1 state of shape \(2, 2\), received \(3, 2\)",
        ),
        (lambda: layers.LSTMCell(2)(X[:, 0], [zeros(3, 2), zeros(2, 2)]), r"received \(3, 2\)"),
        (lambda: twice(layers.LSTM(2, stateful=True), (2, 3, 4), (3, 3, 4)), "of 2 samples"),
        (
            lambda: twice(layers.ConvLSTM1D(2, 2, stateful=True), (2, 3, 4, 1), (3, 3, 4, 1)),
            "ConvLSTM1D is stateful: its states are those of 2 samples, received a batch of 3",
        ),
    ],
)
def test_states_that_do_not_fit(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def twice(layer: Any, first: tuple[int, ...], second: tuple[int, ...]) -> Any:
    layer(zeros(*first) + 1)
    return layer(zeros(*second))


# Indices


@pytest.mark.parametrize("index", [5, -1, 100, 7.0, np.nan])
def test_an_index_beyond_the_vocabulary(index: Any) -> None:
    layer = layers.Embedding(5, 2, name="words")
    message = rf"'words' \(Embedding\).*from 0 to 4, received {index} at position \(1, 0\)"
    with pytest.raises(IndexError, match=message):
        layer(np.array([[1, 2], [index, 0]]))


def test_an_index_beyond_the_vocabulary_in_a_model_changes_nothing() -> None:
    model = Sequential(
        [Input((2,), dtype="int64"), layers.Embedding(5, 2, name="words"), layers.Flatten()]
    )
    model.add(layers.Dense(1))
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(IndexError, match=r"'words'.*received 7 at position \(0, 1\)"):
        model.fit(np.array([[1, 7]]), zeros(1, 1), verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Kernels and windows

SIZES = {1: (3,), 2: (5, 3), 3: (5, 3, 5)}
SHORT = {1: "length", 2: "width", 3: "height"}
WINDOWS = {
    "Conv": {"filters": 2, "kernel_size": 4}, "ConvLSTM": {"filters": 2, "kernel_size": 4},
    "DepthwiseConv": {"kernel_size": 4}, "SeparableConv": {"filters": 2, "kernel_size": 4},
    "MaxPooling": {"pool_size": 4}, "AveragePooling": {"pool_size": 4},
}  # fmt: skip


def windows() -> Iterator[tuple[str, int]]:
    for kind in WINDOWS:
        for rank in (1, 2, 3):
            if hasattr(layers, f"{kind}{rank}D"):
                yield kind, rank


def made(kind: str, rank: int, data_format: str, sizes: tuple[int | None, ...]) -> tuple[Any, Any]:
    """Return a layer, and the shape of one sample of these sizes."""
    layer = getattr(layers, f"{kind}{rank}D")(**WINDOWS[kind], data_format=data_format)
    shape = (2, *sizes) if data_format == "channels_first" else (*sizes, 2)
    return layer, ((3, *shape) if kind == "ConvLSTM" else shape)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("kind", "rank"), list(windows()))
def test_a_window_larger_than_its_input(kind: str, rank: int, data_format: str) -> None:
    message = f"{SHORT[rank]}: the window spans 4 elements, more than the 3 of the input: use a"
    layer, shape = made(kind, rank, data_format, SIZES[rank])
    for x in (zeros(2, *shape), Input(shape)):
        with pytest.raises(ValueError, match=message):
            layer(x)
    if kind != "ConvLSTM":  # which takes one size alone
        layer, larger = made(kind, rank, data_format, (6,) * rank)
        layer(zeros(2, *larger))
        with pytest.raises(ValueError, match=rf"\({kind}{rank}D\): {message}"):
            layer(zeros(2, *shape))
        layer, unknown = made(kind, rank, data_format, (None,) * rank)
        model = Sequential([Input(unknown), layer])
        with pytest.raises(ValueError, match=message):
            model.predict(zeros(2, *shape), verbose=0)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_dilated_kernel_larger_than_its_input(rank: int) -> None:
    layer = getattr(layers, f"Conv{rank}D")(2, 2, dilation_rate=3)
    with pytest.raises(ValueError, match=r"spans 4 elements \(2 at dilation 3\), more than the 3"):
        layer(zeros(2, *SIZES[rank], 2))


@pytest.mark.parametrize("value", [0, -1, (0, 1), 1.5, "3", None, True, (1, 2, 3, 4)])
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("Conv2D", "kernel_size"), ("MaxPooling2D", "pool_size"), ("UpSampling2D", "size"),
        ("AdaptiveMaxPooling2D", "output_size"), ("SeparableConv2D", "kernel_size"),
    ],
)  # fmt: skip
def test_sizes_that_are_none(name: str, argument: str, value: Any) -> None:
    others = {"filters": 2} if name in ("Conv2D", "SeparableConv2D") else {}
    message = rf"{name}: {argument}: expected .*integer.*, received "
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(layers, name)(**others, **{argument: value})


@pytest.mark.parametrize("padding", ["vlid", "causal", -1, 1.5, (1, 2, 3), ((1, 2),)])
def test_unknown_padding(padding: Any) -> None:
    for make in (
        lambda: layers.Conv2D(2, 2, padding=padding),
        lambda: layers.DepthwiseConv2D(2, padding=padding),
        lambda: layers.AveragePooling2D(2, padding=padding),
    ):
        with pytest.raises((TypeError, ValueError), match=r"2D: .*padding"):
            make()


# Groups


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_groups_that_do_not_divide(rank: int) -> None:
    kind = getattr(layers, f"Conv{rank}D")
    with pytest.raises(ValueError, match="multiple of groups, received filters=4 and groups=3"):
        kind(4, 2, groups=3)
    with pytest.raises(
        ValueError, match=r"channels must be a multiple.*\(3 channels\) and groups=2"
    ):
        kind(4, 2, groups=2)(zeros(2, *(4,) * rank, 3))
    with pytest.raises(ValueError, match="groups must be a positive integer, received 0"):
        kind(4, 2, groups=0)


def test_other_groups_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="groups=3 must divide the number of channels, 4"):
        layers.GroupNormalization(3)(X)
    with pytest.raises(ValueError, match="groups=32 must not be more than the number of channels"):
        layers.GroupNormalization()(X)
    with pytest.raises(ValueError, match="num_key_value_heads, received 6 and 4"):
        layers.GroupedQueryAttention(4, 6, 4)


# Arguments


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU", "LSTMCell"])
def test_a_misspelt_argument_of_recurrent_layers(name: str) -> None:
    with pytest.raises(
        TypeError, match=rf"{name} takes no argument 'dropuot': did you mean 'dropout'"
    ):
        getattr(layers, name)(2, dropuot=0.1)
