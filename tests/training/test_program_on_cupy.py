"""The whole program on a fake CuPy: what it computes is what it computes on NumPy.

The kernels run on the CPU. In float32, sums of up to some hundred terms come in another order, so
that losses and weights of a few steps agree to about a hundred roundings of 6e-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, functions, layers, losses, metrics, optimizers, primitives
from gpunet.callbacks import Callback
from gpunet.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    Masking,
    MaxPooling2D,
    Rescaling,
    Reshape,
)  # fmt: skip
from gpunet.models import Model, Sequential
from tests.functions.test_functions import CALLS
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, fake_gpu, install

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def numpy_alone() -> Iterator[None]:
    """Compare with NumPy's twins, whose sums come in no other order on another processor."""
    with primitives.use_twins(primitives.reference):
        yield


rng = np.random.default_rng(0)
X = rng.normal(size=(20, 6, 6, 2)).astype("float32")
LABELS = rng.integers(0, 3, 20)
Y = np.eye(3, dtype="float32")[LABELS]


def convolutional(*ending: Layer) -> Sequential:
    return Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(4, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.25, seed=3),
            *(ending or (Dense(3, activation="softmax"),)),
        ]
    )


def channels_first() -> Sequential:
    first = {"data_format": "channels_first"}
    return Sequential(
        [
            Input((6, 6, 2)),
            Rescaling(0.5, offset=0.1),
            Conv2D(4, 2, strides=2, groups=2, **first),
            AveragePooling2D(2, padding="same", **first),
            Reshape((-1,)),
            Activation("gelu"),
            Dropout(0.5),
            Dense(3, use_bias=False, activation="softmax"),
        ]
    )


def of_sequences() -> Model:
    """Layers without kernels of their own; of sequences, images, volumes and rows."""
    x = Input(X.shape[1:])
    image = layers.ZeroPadding2D(((1, 0), 1))(layers.Cropping2D(1)(x))  # (5, 6, 2)
    image = layers.UpSampling2D(2, interpolation="bilinear")(layers.SpatialDropout2D(0.2)(image))
    image = layers.UpSampling2D((1, 2))(layers.PReLU("ones", shared_axes=[1, 2])(image))
    volume = layers.ZeroPadding3D(1)(layers.Cropping3D(1)(Reshape((10, 6, 4, 2))(image)))
    volume = layers.UpSampling3D((1, 2, 1))(layers.SpatialDropout3D(0.2, seed=3)(volume))
    steps = layers.Permute((2, 1))(Reshape((6, 12))(x))
    steps = layers.UpSampling1D(2)(layers.ZeroPadding1D(2)(layers.Cropping1D(1)(steps)))
    steps = layers.SpatialDropout1D(0.1)(steps)
    pooled = [
        layers.GlobalAveragePooling1D()(steps), layers.GlobalMaxPooling1D()(steps),
        layers.GlobalAveragePooling2D()(image), layers.GlobalMaxPooling2D()(image),
        layers.GlobalAveragePooling3D()(volume), layers.GlobalMaxPooling3D()(volume),
    ]  # fmt: skip
    row = layers.Concatenate()(pooled)
    rows = Flatten()(layers.ReLU(max_value=2.0)(layers.RepeatVector(3)(row)))
    for layer in (
        layers.GaussianNoise(0.1), Dense(6, activity_regularizer="l2"), layers.LeakyReLU(),
        layers.GaussianDropout(0.1, seed=1), Dense(6), layers.ELU(0.5),
        layers.AlphaDropout(0.1), layers.ActivityRegularization(l1=0.01),
        layers.Lambda(functions.mish), Dense(3), layers.Identity(), layers.Softmax(),
    ):  # fmt: skip
        rows = layer(rows)
    return Model(x, rows)


def of_any_rank() -> Model:
    """Convolutions and pooling of sequences, images and volumes."""
    x = Input(X.shape[1:])
    ends = []
    for shape, parts in (
        ((36, 2), [
            layers.Conv1D(3, 3, padding="causal"), layers.MaxPooling1D(2),
            layers.DepthwiseConv1D(3), layers.AveragePooling1D(2),
            layers.SeparableConv1D(2, 3), layers.Conv1DTranspose(2, 3, strides=2),
        ]),
        ((6, 6, 2), [
            layers.DepthwiseConv2D(3, depth_multiplier=2), layers.SeparableConv2D(2, 2),
            layers.Conv2DTranspose(2, 3, strides=2),
        ]),
        ((4, 6, 3, 1), [
            layers.Conv3D(2, 2), layers.MaxPooling3D((1, 2, 1)), layers.Conv3DTranspose(2, 2),
            layers.AveragePooling3D(2),
        ]),
    ):  # fmt: skip
        y = Reshape(shape)(x)
        for layer in parts:
            y = layer(y)
        ends.append(Flatten()(y))
    return Model(x, Dense(3, activation="softmax")(layers.Concatenate()(ends)))


def of_given_size() -> Model:
    """Pooling to a size, where it divides the input's and where not, and convolutional memory."""
    x = Input(X.shape[1:])
    ends = []
    for rank, shape, size in ((1, (36, 2), 5), (2, (6, 6, 2), (3, 4)), (3, (4, 6, 3, 1), 2)):
        average = getattr(layers, f"AdaptiveAveragePooling{rank}D")
        largest = getattr(layers, f"AdaptiveMaxPooling{rank}D")
        memory = getattr(layers, f"ConvLSTM{rank}D")
        y = largest(size)(average((3, 6, 3)[:rank])(Reshape(shape)(x)))
        y = Reshape((1, *y.shape[1:]))(y)
        ends.append(Flatten()(memory(2, 2, padding="same", recurrent_dropout=0.1, seed=rank)(y)))
    return Model(x, Dense(3, activation="softmax")(layers.Concatenate()(ends)))


class Mixed(Model):
    """A model of one's own, by operators, functions, NumPy's functions and indexing."""

    def build(self, input_shape: Any) -> None:
        self.flatten, self.dense = Flatten(), Dense(6, activation="tanh")
        self.factor = self.add_weight((6,), "ones", name="factor")

    def call(self, x: Any) -> Any:
        y = self.dense(self.flatten(x)) * self.factor
        y = functions.concatenate([np.exp(-(y**2)), 1 - y, y[:, [0, 0, 2]]], axis=1)
        return functions.softmax(functions.where(y.value > 0, y, 0.1 * y)[:, 3:6])


def merging() -> Model:
    x = layers.Input(X.shape[1:])
    flat = layers.Flatten()(x)
    parts = [layers.Dense(6, activation=name)(flat) for name in ("tanh", "relu", None)]
    merged = [
        layers.Add()(parts), layers.Subtract()(parts[:2]), layers.Multiply()(parts[1:]),
        layers.Average()(parts), layers.Maximum()(parts[:2]), layers.Minimum()(parts[1:]),
        layers.Dot(axes=1, normalize=True)(parts[:2]),
        layers.add(parts[1:]), layers.subtract(parts[1:]), layers.multiply(parts[:2]),
        layers.average(parts[1:]), layers.maximum(parts), layers.minimum(parts),
        layers.dot(parts[1:]),
    ]  # fmt: skip
    halves = [layers.Concatenate()(merged[:7]), layers.concatenate(merged[7:])]
    outputs = layers.Dense(Y.shape[1], activation="softmax")(layers.concatenate(halves))
    return Model(x, outputs)


def normalizing() -> Sequential:
    return Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            Activation("relu"),
            layers.GroupNormalization(2),
            Flatten(),
            layers.LayerNormalization(),
            layers.SpectralNormalization(Dense(6)),
            layers.RMSNormalization(),
            Dense(3),
            layers.UnitNormalization(),
            Activation("softmax"),
        ]
    )


def recurrent() -> Sequential:
    """Masked sequences: each kind of layer, of the fused functions and of cells."""
    return Sequential(
        [
            Input((6, 6, 2)),
            Rescaling(1.0),
            Reshape((6, 12)),
            Masking(),
            layers.TimeDistributed(Dense(4)),
            layers.LSTM(4, return_sequences=True),
            layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True)),
            layers.RNN(
                [layers.LSTMCell(3), layers.GRUCell(3), layers.SimpleRNNCell(4)],
                return_sequences=True,
            ),
            layers.GRU(3, go_backwards=True),
            Dense(3, activation="softmax"),
        ]
    )


class Signs(Layer):
    """Integers 0 and 1 of the first feature of each step."""

    def call(self, x: Any) -> Any:
        return gpunet.Tensor((x.value[:, :, 0] > 0).astype("int64"))


def attending() -> Model:
    """Attention without biases: those of keys have gradients of rounding, which Adam scales up."""
    x = layers.Input(X.shape[1:])
    steps = layers.Reshape((12, 6))(x)
    y = layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d")(steps)
    y = y + layers.Embedding(3, 6)(Signs()(steps))
    y = y + layers.MultiHeadAttention(2, 3, use_bias=False)(y, y, use_causal_mask=True)
    y = y + layers.GroupedQueryAttention(3, 4, 2, 0.1, use_bias=False, seed=2)(y, y)
    y = layers.Attention(use_scale=True)([y, y]) + layers.AdditiveAttention()([y, y])
    return Model(x, layers.Dense(Y.shape[1], activation="softmax")(layers.Flatten()(y)))


def preparing() -> Model:
    """Images of another size, and integers made of them."""
    x = layers.Input(X.shape[1:])
    by_data = layers.Normalization()
    by_data.adapt(X)
    images = layers.CenterCrop(4, 4)(layers.Resizing(5, 7)(by_data(x)))
    features = Flatten()(layers.Normalization(mean=0.1, variance=2.0)(images))
    bins = layers.Discretization([-0.5, 0.0, 0.5])(features)
    parts = [
        Dense(4)(features),
        layers.CategoryEncoding(4, "count")(bins),
        layers.IntegerLookup(vocabulary=[3, 1], output_mode="multi_hot")(bins),
    ]
    return Model(x, Dense(3, activation="softmax")(layers.Concatenate()(parts)))


def augmenting() -> Sequential:
    """Each change of images in turn: of two channels, then of three, whose range is 0 to 1."""
    unit = {"value_range": (0, 1)}
    return Sequential(
        [
            Input((6, 6, 2)),
            layers.RandomFlip(seed=1),
            layers.Pipeline([layers.RandomTranslation(0.2, 0.1), layers.RandomRotation(0.4)]),
            layers.RandomZoom(0.3, 0.2, fill_mode="wrap"),
            layers.RandomShear(0.2, 0.1, fill_mode="nearest"),
            layers.RandomCrop(6, 4, seed=2),
            layers.RandomBrightness(0.2, (-3, 3)),
            layers.RandomContrast(0.3, (-3, 3), data_format="channels_first"),
            layers.RandomErasing(fill_value=0.5, value_range=(-3, 3)),
            layers.RandomErasing(scale=0.2, value_range=(-3, 3)),
            layers.MixUp(),
            layers.CutMix(),
            Reshape((4, 4, 3)),
            layers.RandomInvert(**unit),
            layers.Solarization(0.1, 0.9, **unit),
            layers.RandomPosterization((2, 8), **unit),
            layers.RandomHue(0.2, **unit),
            layers.RandomSaturation(0.6, **unit),
            layers.RandomColorJitter((0, 1), 0.1, 0.2, 0.6, 0.1, seed=3),
            layers.RandomGrayscale(0.3),
            Flatten(),
            Dense(3, activation="softmax"),
        ]
    )


MODELS = {
    "convolutional": convolutional, "channels first": channels_first, "mixed": Mixed,
    "merging": merging, "normalizing": normalizing, "of sequences": of_sequences,
    "of any rank": of_any_rank, "of given size": of_given_size, "recurrent": recurrent,
    "attending": attending, "preparing": preparing, "augmenting": augmenting,
}  # fmt: skip
USED_LAYERS = {
    "Activation", "ActivityRegularization", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D", "Add", "AdditiveAttention", "AlphaDropout", "Attention", "Average",
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "BatchNormalization",
    "Bidirectional", "CategoryEncoding", "CenterCrop", "Concatenate", "Conv1D", "Conv1DTranspose",
    "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D",
    "ConvLSTM3D", "Cropping1D", "Cropping2D", "Cropping3D", "CutMix", "Dense", "DepthwiseConv1D",
    "DepthwiseConv2D", "Discretization", "Dot", "Dropout", "ELU", "EinsumDense", "Embedding",
    "Flatten", "GRU", "GRUCell", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalMaxPooling3D", "GroupNormalization", "GroupedQueryAttention", "Identity", "Input",
    "InputLayer", "IntegerLookup", "LSTM", "LSTMCell", "Lambda", "Layer", "LayerNormalization",
    "LeakyReLU", "Masking", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "Minimum",
    "MixUp", "MultiHeadAttention", "Multiply", "Normalization", "PReLU", "Permute", "Pipeline",
    "RMSNormalization", "RNN", "RandomBrightness", "RandomColorJitter", "RandomContrast",
    "RandomCrop", "RandomErasing", "RandomFlip", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomShear", "RandomTranslation",
    "RandomZoom", "ReLU", "RepeatVector", "Rescaling", "Reshape", "Resizing", "SeparableConv1D",
    "SeparableConv2D", "SimpleRNN", "SimpleRNNCell", "Softmax", "Solarization", "SpatialDropout1D",
    "SpatialDropout2D", "SpatialDropout3D", "SpectralNormalization", "StackedRNNCells", "Subtract",
    "TimeDistributed", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "add", "average", "concatenate", "dot",
    "maximum", "minimum", "multiply", "subtract",
}  # fmt: skip


# They compute on the CPU, before a model.
OF_DATA = {"HashedCrossing", "Hashing", "StringLookup", "TextVectorization"}


def test_every_layer_is_used():
    classes = {getattr(layers, name).__name__ for name in layers.__all__}  # without other names
    assert classes == USED_LAYERS | OF_DATA, "use the new layer in MODELS"


def trained(
    make: Any,
    compile_with: Any = ("adam", "categorical_crossentropy", ["accuracy"]),
    x: Any = X,
    y: Any = Y,
    **options: Any,
) -> dict[str, Any]:
    """Return all that training, evaluating and predicting give, as NumPy's."""
    gpunet.random.seed(1)
    model = make()
    model.compile(*compile_with)
    options = {"epochs": 2, "batch_size": 8, "verbose": 0} | options
    history = model.fit(x, y, **options).history
    assert all(type(value) is float for values in history.values() for value in values)
    return {
        **history,
        **{f"weight {i}": weight for i, weight in enumerate(model.get_weights())},
        "evaluation": model.evaluate(x, y, batch_size=8, verbose=0),
        "prediction": model.predict(x, batch_size=8, verbose=0),
    }


def assert_agree(found: dict[str, Any], expected: dict[str, Any], **tolerance: float) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert type(found[name]) is np.ndarray
            assert found[name].dtype == value.dtype
        np.testing.assert_allclose(
            found[name], value, **(tolerance or TOLERANCE), err_msg=f"{name} differs"
        )


# What reads from the device, or copies to it, in each step: that cannot be captured.
NOT_CAPTURED = {
    "mixed": r"layer 'mixed': test_program_on_cupy\.py, line \d+: ",  # a list as an index
    "sparse_categorical_crossentropy of probabilities": "",  # looks for wrong labels
}


def warned(name: str) -> Any:
    """Return a context that wants the warning that steps are not captured, if they cannot be."""
    if name not in NOT_CAPTURED:
        return nullcontext()
    return pytest.warns(UserWarning, match=f"one kernel at a time: {NOT_CAPTURED[name]}")


@pytest.mark.parametrize("name", MODELS)
def test_models_train_as_on_numpy(name: str, cupy: Any) -> None:
    with backend.use_backend("numpy"):
        expected = trained(MODELS[name], validation_split=0.2)
    with warned(name):
        assert_agree(trained(MODELS[name], validation_split=0.2), expected)
    with warned(name):
        on_gpu = trained(MODELS[name], x=cupy.asarray(X), y=cupy.asarray(Y), validation_split=0.2)
    assert_agree(on_gpu, expected)


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return functions.mean(functions.maximum(abs(y_pred - y_true), 0.1) ** 1.5, axis=-1)


TARGETS = {
    "binary": (LABELS[:, None] > 0).astype("float32"),
    "labels": LABELS,
    "one-hot": Y,
    "numbers": X[:, 0, 0, :1] * 2,
}
# loss, the targets it takes, outputs and activation of the last layer, metrics
LOSSES = {
    "binary_crossentropy": (
        losses.BinaryCrossentropy(label_smoothing=0.1), "binary", 1, "sigmoid",
        ["accuracy", "binary_accuracy", "mse", "AUC", "binary_crossentropy"],
    ),
    "binary_crossentropy of probabilities": (
        losses.BinaryCrossentropy(), "binary", 1, "hard_sigmoid", ["acc", "mae"],
    ),
    "categorical_crossentropy of logits": (
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "one-hot", 3, None,
        [
            "accuracy", "categorical_accuracy", metrics.TopKCategoricalAccuracy(2),
            metrics.CategoricalCrossentropy(from_logits=True),
        ],
    ),
    "categorical_crossentropy of probabilities": (
        losses.CategoricalCrossentropy(), "one-hot", 3, lambda x: functions.sigmoid(x) * 0.9,
        ["mean_absolute_error", "mean_squared_error"],
    ),
    "sparse_categorical_crossentropy": (
        losses.SparseCategoricalCrossentropy(), "labels", 3, "softmax",
        [
            "accuracy", "sparse_categorical_accuracy", metrics.SparseTopKCategoricalAccuracy(2),
            "sparse_categorical_crossentropy",
        ],
    ),
    "sparse_categorical_crossentropy of probabilities": (
        losses.SparseCategoricalCrossentropy(), "labels", 3,
        lambda x: functions.sigmoid(x) * 0.9, ["accuracy"],
    ),
    "mean_squared_error": ("mse", "numbers", 1, None, ["mae"]),
    "mean_absolute_percentage_error": (
        "mape", "numbers", 1, None, ["mape", "RootMeanSquaredError", "R2Score", "LogCoshError"],
    ),
    "mean_squared_logarithmic_error": (
        "msle", "one-hot", 3, "softplus",
        ["msle", "CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation"],
    ),
    "huber": (losses.Huber(0.5), "numbers", 1, None, []),
    "log_cosh": ("log_cosh", "numbers", 1, None, []),
    "cosine_similarity": ("cosine_similarity", "one-hot", 3, None, []),
    "hinge": ("hinge", "one-hot", 3, None, ["Hinge", "SquaredHinge", "CategoricalHinge"]),
    "squared_hinge": ("squared_hinge", "one-hot", 3, None, []),
    "categorical_hinge": ("categorical_hinge", "one-hot", 3, None, []),
    "kl_divergence": ("kld", "one-hot", 3, "softmax", ["KLDivergence", "Poisson"]),
    "poisson": ("poisson", "one-hot", 3, "softplus", []),
    "binary_focal_crossentropy": (
        losses.BinaryFocalCrossentropy(True), "binary", 1, "sigmoid",
        [
            "TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives", "Precision",
            "Recall", metrics.SensitivityAtSpecificity(0.5), metrics.SpecificityAtSensitivity(0.5),
            metrics.PrecisionAtRecall(0.5), metrics.RecallAtPrecision(0.5), "BinaryIoU",
        ],
    ),
    "categorical_focal_crossentropy": (
        losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.3]), "one-hot", 3, "softmax",
        [
            metrics.F1Score("macro"), metrics.FBetaScore("micro", 2.0),
            metrics.OneHotIoU(3, [0, 2]), metrics.OneHotMeanIoU(3),
        ],
    ),
    "categorical_generalized_cross_entropy": (
        losses.CategoricalGeneralizedCrossEntropy(), "labels", 3, "softmax",
        [metrics.IoU(3, [1], sparse_y_pred=False), metrics.MeanIoU(3, sparse_y_pred=False)],
    ),
    "dice": (losses.Dice(), "one-hot", 3, "sigmoid", []),
    "tversky": (losses.Tversky(0.3, 0.7, axis=-1), "one-hot", 3, "sigmoid", []),
    "circle": (
        losses.Circle(gamma=5.0), "labels", 4,
        lambda x: x / functions.sqrt(functions.sum(x * x, axis=-1, keepdims=True)), [],
    ),
    "mean_absolute_error": ("mae", "numbers", 1, None, ["mse"]),
    "own": (own_loss, "one-hot", 3, "softmax", [lambda y, p: abs(y - p).max(axis=-1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_metrics_agree_with_numpy(name: str, cupy: Any) -> None:
    loss, targets, units, activation, chosen = LOSSES[name]

    def run(**data: Any) -> dict[str, Any]:
        return trained(
            lambda: Sequential([Flatten(), Dense(units, activation=activation)]),
            (optimizers.SGD(0.1), loss, chosen),
            **data,
        )

    y = TARGETS[targets]
    with backend.use_backend("numpy"):
        expected = run(y=y)
    with warned(name):
        assert_agree(run(y=y), expected)
    with warned(name):
        assert_agree(run(x=cupy.asarray(X), y=cupy.asarray(y)), expected)


def test_every_loss_and_metric_is_tried():
    tried = {type(losses.get(loss[0])) for loss in LOSSES.values()}
    in_sequences = {losses.CTC}  # test_a_loss_of_sequences_agrees_with_numpy
    assert {type(losses.get(name)) for name in losses._REGISTRY.names} <= tried | in_sequences
    metric_types = {type(metrics.get(m)) for loss in LOSSES.values() for m in loss[4]}
    for name in set(metrics._REGISTRY.names) - {"mean", "sum"}:
        kind = metrics.AutoAccuracy if name == "accuracy" else metrics._REGISTRY.find(name)
        assert kind in metric_types, f"use {name} in LOSSES"


def test_a_loss_of_sequences_agrees_with_numpy(cupy: Any) -> None:
    def run() -> dict[str, Any]:
        return trained(
            lambda: Sequential([Reshape((6, 12)), Dense(4)]),
            (optimizers.SGD(0.1), "ctc"),
            y=rng_labels,
        )

    rng_labels = np.random.default_rng(1).integers(1, 4, (20, 2))
    with backend.use_backend("numpy"):
        expected = run()
    assert_agree(run(), expected)


class SignSGD(optimizers.Optimizer):
    slots = ("mean",)

    def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
        slots["mean"] += 0.1 * (gradients - slots["mean"])
        parameters -= self.learning_rate * np.tanh(slots["mean"])


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(0.01),
    "own": lambda: SignSGD(0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_agree_with_numpy(name: str, cupy: Any) -> None:
    def run() -> dict[str, Any]:
        return trained(
            lambda: Sequential([Flatten(), Dense(3, activation="softmax")]),
            (OPTIMIZERS[name](), "categorical_crossentropy"),
        )

    with backend.use_backend("numpy"):
        expected = run()
    assert_agree(run(), expected)


def test_every_optimizer_is_tried(cupy: Any) -> None:
    tried = {type(make()).__name__ for make in OPTIMIZERS.values()}
    named = {name for name in optimizers.__all__ if name[0].isupper()}
    assert named - tried == {"Optimizer", "Segment"}


class Recorder(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(dict(logs))
        self.model.optimizer.learning_rate *= 0.5

    on_epoch_end = on_train_batch_end


@pytest.mark.parametrize("where", ["host", "device"])
def test_generators_callbacks_and_validation_data(where: str, cupy: Any) -> None:
    def run(convert: Any) -> dict[str, Any]:
        def batches() -> Any:
            while True:
                for start in (0, 8):
                    yield convert(X[start : start + 8]), convert(Y[start : start + 8])

        recorder = Recorder()
        gpunet.random.seed(2)
        model = Sequential([Flatten(), Dense(3, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy", ["accuracy"])
        model.fit(
            batches(), steps_per_epoch=2, epochs=2, callbacks=[recorder], verbose=0,
            validation_data=(convert(X[16:]), convert(Y[16:])),
        )  # fmt: skip
        assert all(type(value) in (int, float) for logs in recorder.seen for value in logs.values())
        rate = float(model.optimizer.learning_rate)
        assert rate == np.float32(0.01 / 2**6)
        logs = {f"{name} {i}": logs[name] for i, logs in enumerate(recorder.seen) for name in logs}
        return logs | {f"weight {i}": w for i, w in enumerate(model.get_weights())}

    with backend.use_backend("numpy"):
        expected = run(np.asarray)
    assert_agree(run(np.asarray if where == "host" else cupy.asarray), expected)


def test_single_batches_lists_and_weights(cupy: Any) -> None:
    def run(convert: Any) -> dict[str, Any]:
        gpunet.random.seed(4)
        model = convolutional()
        model.compile("sgd", "categorical_crossentropy", ["accuracy"])
        first, second = model.layers[0], model.layers[-1]
        first.trainable = False
        model.compile("sgd", "categorical_crossentropy", ["accuracy"])
        results = {
            "train": model.train_on_batch(convert(X), convert(Y)),
            "test": model.test_on_batch(convert(X), convert(Y)),
            "predict": model.predict_on_batch(convert(X)),
            "called": model(convert(X)).numpy(),
            "list": model.predict_on_batch([convert(X[:3])]),
        }
        weights = model.get_weights()
        model.set_weights([convert(weight) for weight in weights])
        model.train_on_batch(convert(X), convert(Y))
        model.set_weights(weights)
        second.set_weights([convert(weight * 2) for weight in second.get_weights()])
        return results | {f"weight {i}": weight for i, weight in enumerate(model.get_weights())}

    with backend.use_backend("numpy"):
        expected = run(np.asarray)
    assert_agree(run(np.asarray), expected)
    assert_agree(run(cupy.asarray), expected)


def test_a_model_stays_where_its_weights_are(cupy: Any) -> None:
    """The backend in use decides where new weights go, and not where old ones are used."""
    model = convolutional()
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    with backend.use_backend("numpy"):
        on_host = convolutional()
        on_host.compile("adam", "categorical_crossentropy", ["accuracy"])
        model.fit(X, Y, validation_split=0.5, verbose=0)
        model.predict(cupy.asarray(X), verbose=0)
        assert type(on_host.weights[0].value) is np.ndarray
    on_host.set_weights([weight.value for weight in model.weights])
    on_host.fit(cupy.asarray(X), cupy.asarray(Y), verbose=0)
    assert on_host.evaluate(X, Y, verbose=0)
    assert type(on_host.weights[0].value) is np.ndarray
    assert type(model.weights[0].value) is cupy.ndarray


@pytest.mark.parametrize(("name", "arguments", "options", "expected"), CALLS)
def test_functions_and_their_gradients_agree_with_numpy(
    name: str, arguments: Any, options: Any, expected: Any, cupy: Any
) -> None:
    """In float64, where sums of up to 100 terms agree to about 1e-14."""
    where = [i for i, x in enumerate(arguments) if getattr(x, "dtype", None) == np.float64]

    def run(convert: Any) -> list[np.ndarray]:
        made = [convert(x) if isinstance(x, np.ndarray) else x for x in arguments]
        given = list(made)
        for i in where:
            given[i] = gpunet.Tensor(made[i], requires_grad=True)
        output = getattr(functions, name)(*given, **options)
        output.backward(convert(np.cos(np.arange(output.size)).reshape(output.shape)))
        return [output.numpy(), *(backend.to_numpy(given[i].grad) for i in where)]

    for found, oracle in zip(run(cupy.asarray), run(np.asarray), strict=True):
        assert found.dtype == oracle.dtype
        np.testing.assert_allclose(found, oracle, rtol=1e-12, atol=1e-13)


def test_gradients_are_checked_on_the_gpu_too(cupy: Any) -> None:
    model = Sequential([Flatten(), Dense(3, activation="tanh"), Dropout(0.5)])
    gpunet.check_gradients(model, X[:3], training=True)
    value, gradient = gpunet.value_and_grad(lambda x: (x**2 * 2.0**x).sum())(cupy.ones(3))
    assert type(value) is type(gradient) is cupy.ndarray
    np.testing.assert_allclose(gradient.get(), 4 + 2 * np.log(2))


def test_gradients_of_an_element_named_often_are_added_without_atomics(cupy: Any) -> None:
    index = rng.integers(-4, 4, 500)
    weights = rng.normal(size=(500, 3))
    expected = np.zeros((4, 3))
    np.add.at(expected, index, weights)
    x = gpunet.Tensor(cupy.zeros((4, 3)), requires_grad=True)
    x[cupy.asarray(index)].backward(cupy.asarray(weights))
    np.testing.assert_allclose(x.grad.get(), expected, rtol=1e-12, atol=1e-12)
    assert not hasattr(cupy.add, "at"), "it adds by atomics, in any order"


def test_epochs_and_evaluations_read_at_their_end(cupy: Any) -> None:
    model = convolutional()
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    x, y = cupy.asarray(X), cupy.asarray(Y)
    model.fit(x, y, batch_size=4, verbose=0)

    def reads(call: Any, **options: Any) -> int:
        before = fake_gpu.now().reads
        call(x, y, verbose=0, **options)
        return fake_gpu.now().reads - before

    assert reads(model.fit, batch_size=2) == reads(model.fit, batch_size=4)
    assert reads(model.fit, epochs=3) - reads(model.fit, epochs=2) == 1
    assert reads(model.evaluate, batch_size=2) == reads(model.evaluate, batch_size=4)


def test_two_orders_of_threads_train_to_the_same_bits() -> None:
    ends = []
    for order in ("forward", "shuffled"):
        with install(Gpu(order=order)), backend.use_backend("cupy"):
            ends.append(trained(convolutional))
    for name, value in ends[0].items():
        assert np.asarray(value).tobytes() == np.asarray(ends[1][name]).tobytes(), name
