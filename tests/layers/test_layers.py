"""Layers: shapes, weights, layouts, a user's own layer, names in errors."""

import threading

import numpy as np
import pytest

from gpunet import Parameter, Tensor, check_gradients, functions, random
from gpunet.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    InputLayer,
    Layer,
    MaxPooling2D,
    Rescaling,
    Reshape,
)
from gpunet.models import Sequential

rng = np.random.default_rng(0)


def images(*shape):
    return rng.normal(size=shape).astype("float32")


LAYERS = [
    (lambda: Dense(5, activation="tanh"), (2, 3)),
    (lambda: Dense(5, use_bias=False), (2, 4, 3)),
    (lambda: Conv2D(4, 3), (2, 7, 6, 3)),
    (lambda: Conv2D(4, (2, 3), strides=(2, 1), padding="same", activation="gelu"), (2, 7, 6, 3)),
    (lambda: Conv2D(4, 3, dilation_rate=2, groups=2, use_bias=False), (2, 7, 6, 2)),
    (lambda: Conv2D(4, 3, padding=((1, 0), (2, 1)), activation="relu"), (2, 7, 6, 3)),
    (lambda: MaxPooling2D(2), (2, 7, 6, 3)),
    (lambda: MaxPooling2D((3, 2), strides=1, padding="same"), (2, 7, 6, 3)),
    (lambda: AveragePooling2D((2, 3), padding="same"), (2, 7, 6, 3)),
    (lambda: Flatten(), (2, 3, 4, 5)),
    (lambda: Reshape((4, -1)), (2, 3, 8)),
    (lambda: Rescaling(0.5, offset=1), (2, 3)),
    (lambda: Activation("softplus"), (2, 3)),
    (lambda: Dropout(0.5), (2, 30)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_the_output_has_the_shape_that_was_computed_and_its_gradients_are_right(make, shape):
    layer = make()
    x = images(*shape)
    y = layer(x)
    assert y.dtype == np.float32
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *y.shape[1:])
    check_gradients(layer, x, training=True)


@pytest.mark.parametrize("make", [
    lambda layout: Conv2D(4, 3, padding="same", data_format=layout),
    lambda layout: MaxPooling2D(2, data_format=layout),
    lambda layout: AveragePooling2D(2, data_format=layout),
])  # fmt: skip
def test_channels_first_is_channels_last_transposed(make):
    x = images(2, 6, 8, 3)
    last, first = make("channels_last"), make("channels_first")
    expected = last(x)
    assert first.compute_output_shape((None, 3, 6, 8)) == (
        None, *np.transpose(expected.value, (0, 3, 1, 2)).shape[1:]
    )  # fmt: skip
    first(x.transpose(0, 3, 1, 2))
    first.set_weights(last.get_weights())
    y = first(x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(y.value.transpose(0, 2, 3, 1), expected.value)
    check_gradients(first, x.transpose(0, 3, 1, 2))


def test_flatten_of_channels_first_has_keras_order():
    x = images(2, 6, 8, 3)
    np.testing.assert_array_equal(
        Flatten("channels_first")(x.transpose(0, 3, 1, 2)).value, Flatten()(x).value
    )


def test_unknown_sizes_stay_unknown():
    assert Conv2D(4, 3).compute_output_shape((None, None, 9, 3)) == (None, None, 7, 4)
    assert MaxPooling2D(2).compute_output_shape((None, None, None, 3)) == (None, None, None, 3)
    assert Flatten().compute_output_shape((None, None, 3)) == (None, None)


def test_kernels_have_keras_shapes_and_names():
    layer = Conv2D(6, (3, 2), groups=2)
    layer(images(1, 5, 5, 4))
    assert [(p.name, p.shape) for p in layer.weights] == [("kernel", (3, 2, 2, 6)), ("bias", (6,))]
    assert layer.count_params() == 78


def test_dropout_is_off_unless_training():
    x = np.ones((40, 50), "float32")
    layer = Dropout(0.25)
    np.testing.assert_array_equal(layer(x).value, x)
    y = layer(x, training=True).value
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.2 < (y == 0).mean() < 0.3  # of 2000: ten standard deviations of 0.0097 wide
    assert (layer(x, training=True).value != y).any()


def test_dropout_with_a_seed_repeats():
    x = np.ones((10, 10), "float32")
    first, second = (Dropout(0.5, seed=3)(x, training=True).value for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_training_reaches_the_layers_within():
    class Block(Layer):
        def __init__(self):
            super().__init__()
            self.inner = {"drop": [Dropout(0.5)]}

        def call(self, x):
            return self.inner["drop"][0](x)

    x = np.ones((10, 10), "float32")
    assert (Block()(x, training=True).value == 0).any()
    assert (Block()(x).value == 1).all()


class Affine(Layer):
    """A user's own layer, of parameters, a layer, operators and functions."""

    def __init__(self, units):
        super().__init__()
        self.dense = Dense(units)
        self.shift = Parameter(np.zeros(1, "float32"), name="shift")

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

    def call(self, x):
        return functions.tanh(self.dense(x * self.scale) + self.shift) ** 2


def test_a_users_own_layer_finds_its_weights_and_differentiates():
    layer = Affine(3)
    y = layer(images(2, 4))
    assert y.shape == (2, 3)
    assert layer.compute_output_shape((None, 4)) == (None, 3)
    assert sorted(p.name for p in layer.weights) == ["bias", "kernel", "scale", "shift"]
    check_gradients(layer, images(2, 4))


def test_a_layer_of_several_inputs():
    class Scaled(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[1][-1],), "ones", name="scale")

        def call(self, inputs):
            x, y = inputs
            return x + y * self.scale

    layer = Scaled()
    x, y = images(2, 3), images(2, 3)
    np.testing.assert_allclose(layer([Tensor(x), Tensor(y)]).value, x + y)
    with pytest.raises(TypeError, match="float64, and the function gave float32"):
        check_gradients(lambda a, b: layer([a, b]), x, y)
    exact = Scaled(dtype="float64")
    check_gradients(lambda a, b: exact([a, b]), x, y)


def test_frozen_layers_keep_their_weights_from_training():
    layer = Affine(3)
    layer(images(2, 4))
    layer.dense.trainable = False
    assert [p.name for p in layer.non_trainable_weights] == ["kernel", "bias"]
    assert sorted(p.name for p in layer.trainable_weights) == ["scale", "shift"]
    layer.trainable = False
    assert layer.trainable_weights == []


def test_layers_that_know_each_other_are_gone_through_once():
    outer, inner = Affine(3), Affine(2)
    outer.inner, inner.outer = inner, outer
    assert len(outer.weights) == len(inner.weights) == 2


def test_set_weights_changes_all_or_nothing():
    layer = Dense(2)
    layer(images(1, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r"Weight 1 \('bias'\).*\(2,\).*received shape \(3,\)"):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    with pytest.raises(ValueError, match="has 2 weights, set_weights received 1"):
        layer.set_weights([np.ones((3, 2))])
    for was, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    layer.set_weights([np.ones((3, 2)), np.ones(2)])
    np.testing.assert_array_equal(layer(np.ones((1, 3))).value, [[4, 4]])


def test_a_float64_layer_computes_in_float64():
    layer = Dense(2, dtype="float64")
    assert layer(np.ones((1, 3), "float32")).dtype == np.float64
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        Dense(2, dtype="int32")


def test_a_layer_that_fails_to_build_can_be_built_again():
    layer = Conv2D(2, 3)
    with pytest.raises(ValueError, match="Layer 'conv2d'"):
        layer(images(2, 5, 5))
    assert layer(images(2, 5, 5, 1)).shape == (2, 3, 3, 2)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Dense(3, name="head"), (4,), r"Layer 'head' \(Dense\).*received"),
        (lambda: Conv2D(3, 3), (2, 8, 8), r"Layer 'conv2d' \(Conv2D\).*x\[\.\.\., None\]"),
        (lambda: Conv2D(3, 5), (2, 4, 9, 1), r"Layer 'conv2d' \(Conv2D\).*height.*5.*4"),
        (lambda: Conv2D(4, 3, groups=2), (2, 8, 8, 3), r"Conv2D.*multiple of groups.*groups=2"),
        (lambda: MaxPooling2D(3), (1, 2, 2, 1), r"Layer 'max_pooling2d'.*3.*2"),
        (lambda: MaxPooling2D(2), (2, 2, 1), r"MaxPooling2D.*4|rank|dimensions"),
        (lambda: Reshape((5,)), (2, 4), r"Layer 'reshape'.*\(5,\).*\(4,\)"),
    ],
)
def test_inputs_that_do_not_fit_name_the_layer(make, shape, message):
    with pytest.raises(ValueError, match=message):
        make()(images(*shape))


def test_inputs_unlike_those_it_was_built_for_name_the_layer():
    dense, conv = Dense(2), Conv2D(2, 3)
    dense(images(1, 3))
    conv(images(1, 5, 5, 3))
    with pytest.raises(ValueError, match=r"'dense'.*\(batch, ..., 3\).*\(1, 4\)"):
        dense(images(1, 4))
    with pytest.raises(ValueError, match=r"'dense'.*put Flatten\(\) before it"):
        dense(images(2, 3, 1))
    with pytest.raises(ValueError, match=r"'conv2d'.*3 channels, received 1"):
        conv(images(1, 5, 5, 1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Conv2D(32, 3, activaton="relu"), TypeError, "did you mean 'activation'"),
        (lambda: Dense(32, activation="rleu"), ValueError, "did you mean 'relu'"),
        (lambda: Dense(0), ValueError, "units must be a positive integer, received 0"),
        (lambda: Dense(2.5), ValueError, "units"),
        (lambda: Dense(3, activation=7), TypeError, "activation must be"),
        (lambda: Conv2D(4, (3, 3, 3)), ValueError, "kernel_size"),
        (lambda: Conv2D(4, 0), ValueError, "kernel_size"),
        (lambda: Conv2D(4, 3, strides=0), ValueError, "strides"),
        (lambda: Conv2D(3, 3, groups=2), ValueError, "multiple of groups"),
        (lambda: Conv2D(3, 3, data_format="NHWC"), ValueError, "channels_last"),
        (lambda: Dropout(1.1), ValueError, "0 to 1, received 1.1"),
        (lambda: Dropout("a"), ValueError, "received 'a'"),
        (lambda: Reshape((-1, -1)), ValueError, "at most one -1"),
        (lambda: Dense(3, input_shape=(-3,)), ValueError, "positive integers"),
    ],
)
def test_bad_arguments_are_told_when_the_layer_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_bad_padding_is_told_when_the_layer_is_made():
    with pytest.raises(ValueError, match=r"Conv2D: .*did you mean 'same'"):
        Conv2D(3, 3, padding="sam")


def test_a_call_that_leaves_the_tape_is_told():
    class Leaves(Layer):
        def call(self, x):
            return np.tanh(x.value)

    with pytest.raises(TypeError, match=r"'leaves'.*must return a Tensor, .*received ndarray"):
        Leaves()(images(2, 3))


def test_tensors_are_cast_to_the_weights_of_a_layer():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    y = Dense(2)(x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float64


def test_weights_made_before_build_survive_a_build_that_fails():
    class Scale(Layer):
        def __init__(self):
            super().__init__()
            self.factor = self.add_weight((1,), "ones", name="factor")
            self.more = []

        def build(self, input_shape):
            self.more.append(self.add_weight((input_shape[-1],), "ones", name="more"))
            if input_shape[-1] == 4:
                raise ValueError("no 4, please")

        def call(self, x):
            return x * self.factor * self.more[0]

    layer, state = Scale(), random.get_state()
    with pytest.raises(ValueError, match="no 4"):
        layer(images(2, 4))
    assert random.get_state() == state
    assert [p.name for p in layer.weights] == ["factor"]
    assert layer(images(2, 3)).shape == (2, 3)
    assert [p.shape for p in layer.weights] == [(1,), (3,)]


def test_containers_may_be_large_or_hold_themselves():
    layer = Affine(2)
    layer.numbers = list(range(200_000))
    layer.loop = {}
    layer.loop["self"] = layer.loop
    layer(images(1, 3))
    assert len(layer.weights) == 4


def test_a_layer_is_built_once_by_many_threads():
    layers = [Dense(4) for _ in range(50)]

    def call_all():
        for layer in layers:
            layer(images(1, 3))

    threads = [threading.Thread(target=call_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(layer.weights) == 2 for layer in layers)


@pytest.mark.parametrize("kind", [np.asarray, np.float16, np.float64])
def test_numbers_of_numpy_are_options(kind):
    assert Dropout(kind(0.5)).rate == 0.5
    assert Rescaling(kind(0.5), kind(0.25)).get_config() == {"scale": 0.5, "offset": 0.25}


def test_a_padding_and_a_layout_may_have_capitals():
    x = images(1, 5, 5, 2)
    layer = Conv2D(3, 3, padding="SAME", data_format="Channels_Last")
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (1, 5, 5, 3)
    for layer in (MaxPooling2D(2, padding="Same"), AveragePooling2D(2, padding="SAME")):
        assert layer(x).shape == (1, 3, 3, 2)
    assert MaxPooling2D(2, padding="VALID").fusion_role() is not None
    assert functions.conv2d(x, images(3, 3, 2, 3), padding="SAME").shape == (1, 5, 5, 3)


def test_a_call_with_other_arguments_names_the_layer():
    class NoInput(Layer):
        def call(self):
            return None

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = NoInput()

        def call(self, x):
            return self.inner(x)

    with pytest.raises(TypeError, match=r"^Layer 'no_input' .* the arguments of its call are \(\)"):
        Outer()(images(2, 3))
    with pytest.raises(TypeError, match=r"^Layer 'dense' .*'gain': the arguments .* are \(x\)"):
        Dense(2)(images(2, 3), gain=3)


def test_errors_in_a_call_keep_their_cause():
    class Fails(Layer):
        def call(self, x):
            try:
                return x[None, "a"]
            except Exception as error:
                raise TypeError("mine") from error

    with pytest.raises(TypeError, match=r"^Layer 'fails' .*: mine$") as caught:
        Fails()(images(2, 3))
    assert caught.value.__cause__ is not None


def test_an_input_layer_takes_the_older_name_of_its_shape():
    assert InputLayer(input_shape=(4,)).batch_shape == (None, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(2, use_bias=np.ones(2)), "Dense expects use_bias as True or False"),
        (lambda: Conv2D(2, 3, use_bias="no"), "Conv2D expects use_bias as True or False"),
        (lambda: Dense(2, trainable=np.ones(2)), "dense expects trainable as True or False"),
        (lambda: Dense(2)(None), "expected an array or a tensor, received None"),
        (lambda: functions.conv2d(images(1, 3, 3, 1), None), "conv2d expects .* for kernel"),
        (lambda: functions.matmul(images(2, 3), [[1.0]]), "matmul expects .* for y, received list"),
    ],
)
def test_what_is_no_array_and_no_truth_value(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_samples_of_one_number_get_a_hint():
    with pytest.raises(ValueError, match=r"received \(None,\): .* pass x\[:, None\]"):
        Dense(2)(np.ones(3))
    with pytest.raises(ValueError, match=r"Flatten expects .* received one number"):
        Flatten()(np.float32(3))


@pytest.mark.parametrize("fuse", [True, False])
def test_a_kernel_that_was_taken_away_is_told(fuse):
    model = Sequential([Dense(2, input_shape=(3,)), Dense(1)])
    model.compile("sgd", "mse", fuse=fuse)
    model.predict(images(4, 3), verbose=0)
    model.layers[0].kernel = None
    with pytest.raises(TypeError, match=r"^Layer 'dense' .* for kernel, received NoneType"):
        model.predict(images(4, 3), verbose=0)
