"""Images of bytes and the layer that rescales them: the bits of a float model, without its copies.

A model that begins with Rescaling(1 / 255) and is fed bytes does what the model without it does
with ``x.astype("float32") * float32(1 / 255)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import Tensor, check_gradients, primitives
from gpunet.layers import Conv2D, Dense, Flatten, Input, Layer, MaxPooling2D, Rescaling, Reshape
from gpunet.models import Model, Sequential
from gpunet.primitives.reference import memory
from tests.support.fake_cupy.module import fake_gpu
from tests.support.memory_use import peak_bytes

rng = np.random.default_rng(0)
BYTES = rng.integers(0, 256, (23, 6, 6, 1)).astype("uint8")
FLOATS = BYTES.astype("float32") * np.float32(1 / 255)
Y = np.eye(3, dtype="float32")[rng.integers(0, 3, 23)]
LARGE = np.arange(6 << 15, dtype="float32").reshape(6, -1)


def network(*first: Layer, data_format: str = "channels_last") -> Sequential:
    made = Sequential(
        [
            *first,
            Conv2D(4, 3, activation="relu", data_format=data_format),
            MaxPooling2D(2, data_format=data_format),
            Flatten(),
            Dense(3, activation="softmax"),
        ]
    )
    made.compile("adam", "categorical_crossentropy", ["accuracy"])
    return made


FIRST: dict[str, Callable[[], list[Any]]] = {
    "after the data": lambda: [Rescaling(1 / 255)],
    "input_shape": lambda: [Rescaling(1 / 255, input_shape=(6, 6, 1))],
    "Input": lambda: [Input((6, 6, 1)), Rescaling(1 / 255)],
    "nested": lambda: [Sequential([Sequential([Rescaling(1 / 255)])])],
}


def all_results(make: Callable[[], Sequential], x: Any, y: Any = Y) -> list[Any]:
    """Return all that training, evaluating and predicting give, as NumPy's."""
    gpunet.random.seed(5)
    model = make()
    fitted = model.fit(x, y, batch_size=5, epochs=2, verbose=0, validation_split=0.2)
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    return [
        *fitted.history.values(),
        *model.fit(batches, epochs=2, verbose=0, validation_data=batches).history.values(),
        *model.fit((pair for pair in batches), verbose=0).history.values(),
        model.train_on_batch(x, y),
        model.test_on_batch(x, y),
        model.evaluate(x, y, batch_size=5, verbose=0),
        model.predict(x, batch_size=5, verbose=0),
        model.predict_on_batch(x),
        model(x).numpy(),
        *model.get_weights(),
    ]


def assert_same_bits(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("name", FIRST)
def test_bytes_give_the_bits_of_floats(name: str) -> None:
    found = all_results(lambda: network(*FIRST[name]()), BYTES)
    assert_same_bits(found, all_results(network, FLOATS))


def test_bytes_give_the_bits_of_floats_in_channels_first() -> None:
    x, floats = BYTES.transpose(0, 3, 1, 2), FLOATS.transpose(0, 3, 1, 2)

    def rescaled() -> Sequential:
        return network(Rescaling(1 / 255), data_format="channels_first")

    expected = all_results(lambda: network(data_format="channels_first"), floats)
    assert_same_bits(all_results(rescaled, x), expected)


@pytest.mark.parametrize("where", ["host", "device"])
def test_bytes_give_the_bits_of_floats_on_a_gpu(where: str, cupy: Any) -> None:
    convert = cupy.asarray if where == "device" else np.asarray
    found = all_results(lambda: network(Rescaling(1 / 255)), convert(BYTES), convert(Y))
    assert_same_bits(found, all_results(network, convert(FLOATS), convert(Y)))


def test_a_gpu_rescales_to_the_bits_of_numpy(cupy: Any) -> None:
    layer = Rescaling(1 / 127.5, offset=-1.1)
    for kind in ("uint8", "int32", "bool"):
        x = BYTES.astype(kind)
        assert layer(cupy.asarray(x)).numpy().tobytes() == layer.call(Tensor(x)).numpy().tobytes()


def test_a_warmup_with_bytes_leaves_nothing_to_compile(cupy: Any) -> None:
    model = network(Rescaling(1 / 255))
    gpunet.warmup(model, 5, x=BYTES, verbose=0)
    before = len(fake_gpu.now().compiled)
    model.fit(BYTES[:20], Y[:20], batch_size=5, verbose=0)
    assert len(fake_gpu.now().compiled) == before


class Seen(Rescaling):
    """Writes down what reaches it."""

    def call(self, x: Any) -> Any:
        self.seen = x.dtype
        return super().call(x)


class SeenAndCast(Seen):
    def takes_integers(self) -> bool:
        return False


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int64", "bool"])
@pytest.mark.parametrize("nested", [False, True])
def test_integers_reach_the_first_layer_as_they_are(kind: str, nested: bool) -> None:
    x, layer = (BYTES > 99).astype(kind), Seen(0.5)
    model = network(Sequential([layer]) if nested else layer)
    model.fit(x, Y, verbose=0)
    assert layer.seen == kind
    model.predict(x, verbose=0)
    assert layer.seen == kind
    assert layer(x).dtype == np.float32
    model.predict(FLOATS.astype("float64"), verbose=0)
    assert layer.seen == np.float32


def test_to_other_first_layers_integers_are_cast() -> None:
    seen, cast = Seen(0.5), SeenAndCast(0.5)
    for layer, first in ((seen, [Reshape((6, 6, 1)), seen]), (cast, [cast])):
        model = network(*first)
        model.fit(BYTES, Y, verbose=0)
        assert layer.seen == np.float32
        model(BYTES)
        assert layer.seen == np.float32


def test_a_model_of_ones_own_can_take_integers() -> None:
    class Own(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.flatten, self.last = Seen(1 / 255), Flatten(), Dense(3)

        def takes_integers(self) -> bool:
            return True

        def call(self, x: Any) -> Any:
            return self.last(self.flatten(self.first(x)))

    model = Own()
    model.compile("sgd", "mse")
    model.fit(BYTES, Y, verbose=0)
    assert model.first.seen == np.uint8


def test_no_copy_of_all_data_is_made() -> None:
    """Of 16 MB of bytes, and 63 MB as floats, all that is done at once is some batches."""
    x = np.zeros((20_000, 28, 28, 1), "uint8")
    y = np.eye(10, dtype="float32")[np.arange(len(x)) % 10]
    model = Sequential([Rescaling(1 / 255), Flatten(), Dense(10, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy", ["accuracy"])
    options: dict[str, Any] = {"batch_size": 200, "verbose": 0}

    def run() -> None:
        model.fit(x, y, validation_split=0.1, **options)
        model.evaluate(x, y, **options)
        model.predict(x, **options)

    assert peak_bytes(run) < x.nbytes / 2


def test_batches_are_gathered_into_memory_used_before() -> None:
    x, rows = np.arange(400 * 784).reshape(400, 784).astype("uint8"), np.arange(0, 400, 2)
    memory._unused.clear()
    batch = primitives.gather_batch(x, rows)
    where = batch.ctypes.data
    np.testing.assert_array_equal(batch, x[rows])
    del batch
    batch = primitives.gather_batch(x, rows[::-1])
    assert batch.ctypes.data == where
    np.testing.assert_array_equal(batch, x[rows[::-1]])


@pytest.mark.parametrize(
    "data",
    [
        LARGE.astype(">f4"),
        LARGE.T.copy().T,
        np.frombuffer(bytes(1) + LARGE.tobytes(), "uint8")[1:].view("f4").reshape(LARGE.shape),
        LARGE[:, ::-1],
    ],
    ids=["bytes swapped", "transposed", "unaligned", "reversed"],
)
def test_data_in_any_layout_are_gathered_and_never_copied_whole(data: np.ndarray) -> None:
    rows = np.array([5, 0, 5])
    np.testing.assert_array_equal(primitives.gather_batch(data, rows), data[rows])
    assert peak_bytes(lambda: primitives.gather_batch(data, rows[:1])) < data.nbytes / 2


# The layer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "int8", "int64", "bool", "float32", "float64"])
def test_the_result_is_rounded_as_numpys(kind: str, dtype: str) -> None:
    x = (rng.normal(size=(7, 5)) * 99).astype(kind)
    number = np.dtype(dtype).type
    found = Rescaling(1 / 127.5, -1.1, dtype=dtype)(x)
    expected = x.astype(dtype) * number(1 / 127.5) + number(-1.1)
    assert found.dtype == dtype
    assert found.value.tobytes() == expected.tobytes()


def test_lists_and_tensors_and_views() -> None:
    layer = Rescaling(scale=2, offset=1)
    assert layer([[1, 2]]).numpy().tolist() == [[3.0, 5.0]]
    assert layer(Tensor(np.array([[1, 2]]))).numpy().tolist() == [[3.0, 5.0]]
    view = BYTES.transpose(2, 3, 0, 1)[:, :, ::2]
    np.testing.assert_array_equal(layer(view).value, view.astype("float32") * 2 + 1)
    assert layer.weights == []
    assert layer.compute_output_shape((None, 3, None)) == (None, 3, None)


def test_gradients() -> None:
    check_gradients(Rescaling(0.3, offset=-1), FLOATS)
    check_gradients(network(Rescaling(0.3)), FLOATS[:3], training=True)
    x = Tensor(FLOATS, requires_grad=True)
    Rescaling(np.float64(0.5))(x).sum().backward()
    assert x.grad.dtype == np.float32
    assert (x.grad == 0.5).all()


@pytest.mark.parametrize("argument", ["scale", "offset"])
@pytest.mark.parametrize("value", ["1", None, True, [1, 2], np.ones(3), np.nan, -np.inf, 1j])
def test_what_is_no_scale_and_no_offset(argument: str, value: Any) -> None:
    arguments = {"scale": 1.0, argument: value}
    with pytest.raises(ValueError, match=f"{argument} must be one finite number .* of float32"):
        Rescaling(**arguments)
    with pytest.raises(ValueError, match=f"rescale: expected {argument} as one finite number"):
        primitives.rescale_forward(FLOATS, **arguments)


def test_scales_are_numbers_of_the_dtype() -> None:
    with pytest.raises(ValueError, match=r"scale must be one .* of float32, received 1e"):
        Rescaling(1e39)
    assert Rescaling(1e39, dtype="float64")(np.array([[2]])).numpy().tolist() == [[2e39]]
    with pytest.raises(ValueError, match="range of float64"):
        Rescaling(10**400, dtype="float64")


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="scale"):
        Rescaling()
    with pytest.raises(TypeError, match="ofset"):
        Rescaling(1.0, ofset=1)
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        Rescaling(1.0, dtype="uint8")
    with pytest.raises(TypeError, match="floating-point dtype to compute in, received uint8"):
        primitives.rescale_forward(BYTES, scale=1.0)
    with pytest.raises(TypeError, match="floating-point dtype to compute in, received int64"):
        primitives.rescale_forward(FLOATS, scale=1.0, dtype="int64")


def test_data_of_a_wrong_type_or_shape() -> None:
    model = network(Rescaling(1 / 255, input_shape=(6, 6, 1)))
    with pytest.raises(
        ValueError, match=r"samples of shape \(6, 6, 1\).*received \((?:None|\d+), 6\)"
    ):
        model.fit(BYTES[..., 0, 0], Y, verbose=0)
    with pytest.raises(TypeError, match="array of numbers, received dtype <U3"):
        model.predict(BYTES.astype(str), verbose=0)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    row = "rescaling (Rescaling)         (None, 6, 6, 1)        0"
    assert row.split() in [line.split() for line in lines[0].splitlines()]
