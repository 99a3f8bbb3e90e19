"""Arguments and inputs with which each layer is made and called: one table for all tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet import Input, functions, layers

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True)
class Example:
    """How a layer is made and called.

    Arguments:
        name: of the class.
        arguments: of its ``__init__``, or a function of the dtype that makes them, where there are
            layers among them.
        inputs: shapes with the batch, of numbers to draw, or arrays as they are.
        call: calls a layer with the inputs.
    """

    name: str
    arguments: dict[str, Any] | Callable[[str], dict[str, Any]]
    inputs: tuple[Any, ...]
    call: Callable[..., Any]

    def make(self, dtype: str = "float32", **options: Any) -> Any:
        """Return a new layer."""
        return getattr(layers, self.name)(**self.given(dtype), dtype=dtype, **options)

    def given(self, dtype: str = "float32") -> dict[str, Any]:
        """Return the arguments."""
        return self.arguments(dtype) if callable(self.arguments) else self.arguments

    def arrays(self, dtype: str = "float32") -> list[Any]:
        """Return the inputs; the same in each call."""
        draw = np.random.default_rng(7)
        return [
            draw.standard_normal(item).astype(dtype) if isinstance(item, tuple) else item
            for item in self.inputs
        ]

    def symbols(self) -> list[Any]:
        """Return symbols of the inputs, whose batch size is not known."""
        return [Input(x.shape[1:], dtype=str(x.dtype)) for x in self.arrays()]


def each(layer: Any, *inputs: Any, **options: Any) -> Any:
    return layer(*inputs, **options)


def as_list(layer: Any, *inputs: Any, **options: Any) -> Any:
    return layer(list(inputs), **options)


def as_data(layer: Any, images: Any, labels: Any, **options: Any) -> Any:
    return layer({"images": images, "labels": labels}, **options)


def with_states(layer: Any, x: Any, *states: Any, **options: Any) -> Any:
    return layer(x, list(states), **options)


EXAMPLES: dict[str, Example] = {}


def add(names: str, arguments: Any, *inputs: Any, call: Callable[..., Any] = each) -> None:
    for name in names.split():
        EXAMPLES[name] = Example(name, arguments, inputs, call)


SIZES = {1: (6,), 2: (5, 4), 3: (4, 3, 5)}
for rank, sizes in SIZES.items():
    at = (2, *sizes, 4)
    kernel = {"filters": 4, "kernel_size": 2}
    add(f"Conv{rank}D", {**kernel, "groups": 2, "strides": 2}, at)
    add(f"Conv{rank}DTranspose", {**kernel, "strides": 2}, at)
    add(f"ConvLSTM{rank}D", {"filters": 2, "kernel_size": 2}, (2, 3, *sizes, 2))
    if rank < 3:
        add(f"DepthwiseConv{rank}D", {"kernel_size": 2, "depth_multiplier": 2}, at)
        add(f"SeparableConv{rank}D", {**kernel, "depth_multiplier": 2}, at)
    for kind in ("Average", "Max"):
        add(f"{kind}Pooling{rank}D", {"pool_size": 2, "strides": 1}, at)
        add(f"Global{kind}Pooling{rank}D", {}, at)
        add(f"Adaptive{kind}Pooling{rank}D", {"output_size": 2}, at)
    add(f"Cropping{rank}D ZeroPadding{rank}D UpSampling{rank}D", {}, at)
    add(f"SpatialDropout{rank}D", {"rate": 0.3, "seed": 1}, at)

ROWS, STEPS = (3, 4), (2, 3, 4)
add("Activation", {"activation": "tanh"}, ROWS)
add("ActivityRegularization", {"l2": 0.1}, ROWS)
add("Add Average Concatenate Maximum Minimum Multiply Subtract", {}, ROWS, ROWS, call=as_list)
add("Dot", {"axes": 1}, ROWS, ROWS, call=as_list)
add("AdditiveAttention Attention", {}, STEPS, (2, 5, 4), call=as_list)
add("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, STEPS, (2, 5, 4))
heads = {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2}
add("GroupedQueryAttention", heads, STEPS, (2, 5, 4))
add("AlphaDropout Dropout GaussianDropout", {"rate": 0.3, "seed": 1}, ROWS)
add("GaussianNoise", {"stddev": 0.3, "seed": 1}, ROWS)
add("BatchNormalization LayerNormalization RMSNormalization UnitNormalization", {}, STEPS)
add("GroupNormalization", {"groups": 2}, STEPS)
add("SpectralNormalization", lambda dtype: {"layer": layers.Dense(3, dtype=dtype)}, ROWS)
add("Dense", {"units": 3}, ROWS)
equation = {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d"}
add("EinsumDense", equation, STEPS)
add("Embedding", {"input_dim": 5, "output_dim": 3}, np.array([[0, 4, 4], [1, 0, 2]]))
add("ELU Flatten Identity LeakyReLU Masking PReLU ReLU Softmax", {}, STEPS)
add("InputLayer", {"shape": (4,)}, ROWS)
add("Lambda", {"function": functions.tanh}, ROWS)
add("Permute", {"dims": (2, 1)}, STEPS)
add("RepeatVector", {"n": 3}, ROWS)
add("Rescaling", {"scale": 0.5, "offset": 0.1}, ROWS)
add("Reshape", {"target_shape": (-1, 2)}, STEPS)
add("SimpleRNN LSTM GRU", {"units": 2, "return_state": True}, STEPS)
add("SimpleRNNCell GRUCell", {"units": 2}, ROWS, (3, 2), call=with_states)
add("LSTMCell", {"units": 2}, ROWS, (3, 2), (3, 2), call=with_states)
cells = [layers.GRUCell, layers.SimpleRNNCell]
add(
    "StackedRNNCells",
    lambda dtype: {"cells": [cell(2, dtype=dtype) for cell in cells]},
    ROWS, (3, 2), (3, 2), call=with_states,
)  # fmt: skip
add("RNN", lambda dtype: {"cell": layers.LSTMCell(2, dtype=dtype)}, STEPS)
add(
    "Bidirectional",
    lambda dtype: {"layer": layers.GRU(2, dtype=dtype, return_sequences=True)},
    STEPS,
)
add("TimeDistributed", lambda dtype: {"layer": layers.Dense(3, dtype=dtype)}, STEPS)

INTEGERS, WORDS = np.array([[0, 2, 2], [3, 1, 0]]), np.array([["a", "b"], ["c", "a"]])
add("Normalization", {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [1.0, 2.0, 3.0, 4.0]}, STEPS)
add("Discretization", {"bin_boundaries": [-0.5, 0.5]}, ROWS)
add("CategoryEncoding", {"num_tokens": 4, "output_mode": "count"}, INTEGERS)
add("IntegerLookup", {"vocabulary": [2, 3]}, INTEGERS)
add("StringLookup", {"vocabulary": ["a", "b"]}, WORDS)
add("TextVectorization", {"vocabulary": ["a", "b"]}, np.array(["a b", "b c b"]))
add("Hashing", {"num_bins": 5}, INTEGERS)
add("HashedCrossing", {"num_bins": 5}, np.array([1, 2, 3]), np.array(["a", "b", "c"]), call=as_list)

IMAGES = (2, 4, 5, 3)
add("CenterCrop Resizing", {"height": 3, "width": 2}, IMAGES)
add("RandomCrop", {"height": 3, "width": 2, "seed": 1}, IMAGES)
add("RandomFlip RandomColorJitter RandomErasing RandomGrayscale RandomInvert", {"seed": 1}, IMAGES)
names = "RandomBrightness RandomContrast RandomHue RandomRotation RandomSaturation"
add(names, {"factor": 0.5, "seed": 1}, IMAGES)
add("RandomPosterization", {"factor": 4, "seed": 1}, IMAGES)
add("RandomShear", {"x_factor": 0.5, "y_factor": 0.5, "seed": 1}, IMAGES)
moves = {"height_factor": 0.5, "width_factor": 0.5}
add("RandomTranslation RandomZoom", {**moves, "seed": 1}, IMAGES)
add("Solarization", {"threshold_factor": 0.5, "seed": 1}, IMAGES)
add("CutMix MixUp", {"seed": 1}, IMAGES, (2, 3), call=as_data)
add(
    "Pipeline",
    lambda dtype: {
        "layers": [layers.RandomFlip(seed=1, dtype=dtype), layers.Rescaling(0.5, dtype=dtype)]
    },
    IMAGES,
)
