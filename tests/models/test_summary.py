"""The table of a model: each node once, wide cells in several lines, unbuilt layers named."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import functions
from gpunet.layers import Add, Dense, Flatten, Input, Layer
from gpunet.models import Model, Sequential


def rows(model: Model) -> list[str]:
    printed: list[str] = []
    model.summary(print_fn=printed.append)
    return printed[0].splitlines()


class Halves(Layer):
    def call(self, x: Any) -> Any:
        return x[:, :2], x[:, 2:]


def test_nested_and_shared_layers_functions_and_several_outputs() -> None:
    x = Input((4,), name="x")
    encoder = Model(x, Dense(3)(x), name="encoder")
    left, right = Halves()(x)
    total = functions.concatenate([encoder(x), encoder(Dense(4)(left))], axis=-1)
    assert rows(Model(x, [total, right], name="net")) == [
        "Model: 'net'",
        "-----------------------------------------------------------------------",
        "Layer (type)            Output shape          Param #  Connected to",
        "-----------------------------------------------------------------------",
        "x (InputLayer)          (None, 4)                   0  -",
        "encoder (Model)         (None, 3)                  15  x",
        "halves (Halves)         (None, 2), (None, 2)        0  x",
        "dense (Dense)           (None, 4)                  12  halves[0]",
        "encoder (Model)         (None, 3)              shared  dense",
        "concatenate (function)  (None, 6)                   0  encoder, encoder",
        "-----------------------------------------------------------------------",
        "Total params: 27 (108 B)",
        "Trainable params: 27",
        "Non-trainable params: 0",
        "-----------------------------------------------------------------------",
    ]


def test_wide_cells_take_several_lines() -> None:
    inputs = [Input((2,), name=f"input_number_{i}") for i in range(9)]
    lines = rows(Model(inputs, Add(name="sum_" * 30)(inputs)))
    assert max(map(len, lines)) < 140
    text = " ".join(lines)
    assert text.count("sum_") == 30 and text.count("input_number_") == 2 * 9


def test_unbuilt_layers_are_named() -> None:
    lines = rows(Sequential([Flatten(), Dense(3)]))
    assert lines[5] == "dense (Dense)      ?             0 (unbuilt)"
    assert "Total params: 0 (0 B, without unbuilt layers)" in lines


def test_a_subclassed_model_lists_its_layers() -> None:
    class Pair(Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [Dense(3), Sequential([Dense(2)])]

        def call(self, x: Any) -> Any:
            return self.parts[1](self.parts[0](x))

    model = Pair()
    model(np.ones((2, 3)))
    assert rows(model)[4:6] == [
        "dense (Dense)            ?                  12",
        "sequential (Sequential)  ?                   8",
    ]


def test_a_model_without_calls_lists_its_input() -> None:
    x = Input((4,))
    assert rows(Model(x, x))[4] == "input_layer (InputLayer)  (None, 4)           0"


def test_nested_models_and_what_trains() -> None:
    inner = Sequential([Input((4,)), Dense(3, name="first"), Dense(2, name="second")], name="inner")
    inner.trainable = False
    inner.layers[1].trainable = True
    model = Sequential([Input((4,)), inner, Flatten(), Dense(1, name="last")])
    printed: list[str] = []
    model.summary(80, None, printed.append, expand_nested=True, show_trainable=True)
    table = [line.split() for line in printed[0].splitlines()[4:9]]
    assert table == [
        ["inner", "(Sequential)", "(None,", "2)", "23", "N"],
        ["first", "(Dense)", "(None,", "3)", "15", "N"],
        ["second", "(Dense)", "(None,", "2)", "8", "Y"],
        ["flatten", "(Flatten)", "(None,", "2)", "0", "-"],
        ["last", "(Dense)", "(None,", "1)", "3", "Y"],
    ]
