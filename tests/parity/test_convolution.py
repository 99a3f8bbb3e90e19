"""Convolution and pooling layers beside Keras': values, shapes, weights and gradients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import Tensor, layers

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("gradients are compared by PyTorch: KERAS_BACKEND=torch", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

Array = np.ndarray[Any, np.dtype[Any]]
Case = tuple[str, dict[str, Any], tuple[int, ...]]

# Sums of up to some hundred products of about 1 in float32, in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def drawn(rng: np.random.Generator, rank: int, least: int, most: int) -> Any:
    """Return one integer for all axes, or one for each."""
    numbers = [int(n) for n in rng.integers(least, most + 1, rank)]
    return numbers[0] if rng.integers(2) else tuple(numbers)


def placed(rng: np.random.Generator, rank: int) -> dict[str, Any]:
    """Return drawn arguments that place a kernel; Keras has strides or dilation, not both."""
    options: dict[str, Any] = {"kernel_size": drawn(rng, rank, 1, 3)}
    if rng.integers(2):
        options["strides"] = int(rng.integers(1, 4))
    else:
        options["dilation_rate"] = drawn(rng, rank, 1, 2)
    options["padding"] = str(rng.choice(["valid", "same"]))
    options["data_format"] = str(rng.choice(["channels_last", "channels_first"]))
    options["use_bias"] = bool(rng.integers(2))
    return options


def shape(rng: np.random.Generator, rank: int, channels: int, data_format: str) -> tuple[int, ...]:
    sizes = [int(n) for n in rng.integers(6, 9, rank)]
    return (2, channels, *sizes) if data_format == "channels_first" else (2, *sizes, channels)


def cases() -> Iterator[Case]:
    """Yield (class, arguments, shape of the input); the same in every run."""
    rng = np.random.default_rng(7)
    for rank in (1, 2, 3):
        for _ in range(8):
            options = placed(rng, rank)
            groups, each = int(rng.integers(1, 3)), int(rng.integers(1, 4))
            at = shape(rng, rank, groups * each, options["data_format"])
            yield f"Conv{rank}D", {"filters": 2 * groups, "groups": groups, **options}, at
            options = placed(rng, rank)
            at = shape(rng, rank, 3, options["data_format"])
            strides = options.get("strides", 1)
            if rng.integers(2) and options["kernel_size"] != 2:
                options["output_padding"] = int(rng.integers(strides))
            yield f"Conv{rank}DTranspose", {"filters": 2, **options}, at
            pool = {"pool_size": drawn(rng, rank, 1, 3), "strides": drawn(rng, rank, 1, 3)}
            pool |= {"data_format": options["data_format"]}
            yield f"MaxPooling{rank}D", {**pool, "padding": options["padding"]}, at
            # On PyTorch Keras counts the border of 'same' where it pads unevenly.
            yield f"AveragePooling{rank}D", pool, at
        if rank == 3:
            continue
        for _ in range(6):
            options = placed(rng, rank)
            at = shape(rng, rank, 3, options["data_format"])
            multiplier = int(rng.integers(1, 3))
            yield f"DepthwiseConv{rank}D", {"depth_multiplier": multiplier, **options}, at
            yield (
                f"SeparableConv{rank}D",
                {"filters": 4, "depth_multiplier": multiplier, **options},
                at,
            )
    for strides, dilation in ((1, 1), (2, 1), (1, 3)):
        options = {"strides": strides, "dilation_rate": dilation, "padding": "causal"}
        yield "Conv1D", {"filters": 3, "kernel_size": 3, "activation": "relu", **options}, (2, 9, 2)
    yield "Conv2D", {"filters": 3, "kernel_size": 2, "activation": "gelu"}, (2, 5, 6, 2)
    yield "SeparableConv2D", {"filters": 3, "kernel_size": 2, "activation": "tanh"}, (2, 5, 6, 2)
    for rank in (1, 2, 3):
        for kind in ("Average", "Max"):
            for data_format in ("channels_last", "channels_first"):
                options = {"output_size": drawn(rng, rank, 1, 9), "data_format": data_format}
                at = shape(rng, rank, 3, data_format)
                yield f"Adaptive{kind}Pooling{rank}D", options, at
            even = (2, *(6, 4, 8)[:rank], 3)
            yield f"Adaptive{kind}Pooling{rank}D", {"output_size": (3, 4, 2)[:rank]}, even


CASES = list(cases())


@pytest.mark.parametrize(
    ("name", "options", "at"), CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)]
)
def test_values_and_gradients(name: str, options: dict[str, Any], at: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(str(options)))
    x = rng.standard_normal(at).astype("float32")
    theirs, ours = getattr(keras.layers, name)(**options), getattr(layers, name)(**options)
    theirs.build(at)
    ours.build((None, *at[1:]))
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    weights = [rng.standard_normal(w.shape).astype("float32") for w in ours.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    their_x = torch.tensor(x, requires_grad=True)
    their_y = theirs(their_x)
    our_x = Tensor(x, requires_grad=True)
    our_y = ours(our_x)
    np.testing.assert_allclose(our_y.numpy(), their_y.detach().numpy(), **CLOSE)
    assert ours.compute_output_shape((None, *at[1:])) == (None, *our_y.shape[1:])
    grad = rng.standard_normal(our_y.shape).astype("float32")
    their_y.backward(torch.tensor(grad))
    our_y.backward(grad)
    bound = {"rtol": 1e-5, "atol": 1e-5 * max(1.0, float(np.sqrt(grad.size)))}
    np.testing.assert_allclose(our_x.grad, their_x.grad.numpy(), **bound)
    for mine, weight in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.grad, weight.value.grad.numpy(), **bound)


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("sizes", [((7,), (3,)), ((5, 8), (7, 3)), ((3, 5, 4), (2, 2, 3))])
def test_adaptive_pooling_is_pytorchs(kind: str, sizes: Any) -> None:
    before, after = sizes
    x = np.random.default_rng(4).standard_normal((2, 3, *before)).astype("float32")
    theirs = getattr(torch.nn.functional, f"adaptive_{kind}_pool{len(before)}d")
    name = f"Adaptive{'Average' if kind == 'avg' else 'Max'}Pooling{len(before)}D"
    ours = getattr(layers, name)(after, "channels_first")
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x), after), **CLOSE)


def test_average_pooling_same_counts_no_padding() -> None:
    """TensorFlow's, JAX' and NumPy's values; Keras 3.15 on PyTorch counts the border."""
    x = np.array([1, 2, 3, 4], "float32").reshape(1, 4, 1)
    y = layers.AveragePooling1D(3, 2, "same")(x).numpy().ravel()
    np.testing.assert_allclose(y, [2, 3.5])
    y = layers.AveragePooling1D(4, 1, "same")(x).numpy().ravel()
    np.testing.assert_allclose(y, [2, 2.5, 3, 3.5])
