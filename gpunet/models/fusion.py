"""Which neighbouring layers of a model run as one primitive, and the softmax that its loss makes.

Nothing that a user sees of a model changes: each layer is still there, with its weights, and can be
called by itself. What runs as one:

- `Conv2D` and `MaxPooling2D`, with an `Activation` between them or without: what goes into the pool
  is then never in memory as a whole;
- `Conv2D` or `Dense` without an activation, and an `Activation`;
- in training, a softmax at the end of a `Sequential` and the cross-entropy of its output.

Only these layers themselves are taken, no subclass, and none whose `call` was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from gpunet import activations, functions
from gpunet.autograd import Tensor
from gpunet.backend import get_array_module
from gpunet.layers import Activation, Conv2D, Dense, MaxPooling2D
from gpunet.layers.layer import Layer, name_layer
from gpunet.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

__all__ = [
    "Fused",
    "Step",
    "conv_options",
    "ends_with_softmax",
    "is_just",
    "pools_side_by_side",
    "softmax_left_to",
    "steps",
]

_softmax_left_by: ContextVar[Any] = ContextVar("softmax_left_by", default=None)

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Fused:
    """Layers that are computed together; called as the first of them would be."""

    layers: Sequence[Any]
    compute: Step

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the last layer would."""
        first = self.layers[0]
        try:
            first.check_input(x.shape)
            return self.compute(first._cast(x))
        except (TypeError, ValueError) as error:
            name_layer(error, first)
            raise


def steps(model: Layer, layers: Sequence[Any]) -> Iterator[Step]:
    """Yield what is called in turn to run `layers`, the built layers of `model`."""
    position, last = 0, len(layers) - (_softmax_left_by.get() is model)
    while position < last:
        fused = _fused(layers[position : position + 3])
        yield fused or layers[position]
        position += len(fused.layers) if fused else 1
    for layer in layers[last:]:
        yield _without_softmax(layer)


def _fused(layers: Sequence[Any]) -> Fused | None:
    """Return what computes the first of the layers and as many after it as can be, if any."""
    first, *others = layers
    if not others or not (is_just(first, Conv2D) or is_just(first, Dense)):
        return None
    activation, rest = activations.split(first.activation)
    count = 1
    if rest is not activations.linear:
        return None
    if activation is None and is_just(others[0], Activation):
        activation, rest = activations.split(others[0].activation)
        if activation is None:
            return None
        count = 2
    pool = layers[count] if count < len(layers) else None
    if is_just(first, Conv2D) and pool is not None and pools_side_by_side(first, pool):
        return Fused(
            layers[: count + 1],
            lambda x: functions.conv2d_max_pool(
                x, first.kernel, first.bias, **conv_options(first), activation=activation,
                pool_size=pool.pool_size,
            ),
        )  # fmt: skip
    if count == 1:  # the layer itself computes its activation with the product
        return None
    if is_just(first, Dense):
        return Fused(
            layers[:2],
            lambda x: functions.dense(x, first.kernel, first.bias, activation=activation),
        )
    if first.channels_first:
        return None
    return Fused(
        layers[:2],
        lambda x: functions.conv2d(
            x, first.kernel, first.bias, **conv_options(first), activation=activation
        ),
    )


def is_just(layer: Any, kind: type[Layer]) -> bool:
    """Return whether it is a layer of exactly this class, which computes what its class does."""
    return type(layer) is kind and "call" not in vars(layer)


def pools_side_by_side(conv: Any, pool: Any) -> bool:
    """Return whether `pool` is max pooling of what `conv` puts out, by windows without overlap."""
    return (
        is_just(pool, MaxPooling2D)
        and pool.strides == pool.pool_size
        and pool.padding in ("valid", 0)
        and not conv.channels_first
        and not pool.channels_first
    )


def conv_options(conv: Any) -> dict[str, Any]:
    """Return the options of a `Conv2D` as the primitives take them."""
    return {
        "strides": conv.strides,
        "padding": conv.padding,
        "dilation": conv.dilation_rate,
        "groups": conv.groups,
    }


@contextmanager
def softmax_left_to(loss: Any, model: Any) -> Iterator[None]:
    """Let `model`, if it ends with a softmax, leave that to its loss while it is called inside.

    The output has its shape, and its numbers once the loss was computed from it.

    Arguments:
        loss: a loss; it must be a cross-entropy of gpunet's own.
        model: a `Sequential`, or any other model, which leaves nothing.
    """
    left = (
        type(loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
        and not loss.from_logits
        and getattr(model, "fuse", False)
        and ends_with_softmax(model)
    )
    token = _softmax_left_by.set(model if left else None)
    try:
        yield
    finally:
        _softmax_left_by.reset(token)


def ends_with_softmax(model: Any) -> bool:
    """Return whether the last step of a `Sequential` is a softmax that its loss can make."""
    layers = getattr(model, "layers", ())
    if not layers or not (is_just(layers[-1], Dense) or is_just(layers[-1], Activation)):
        return False
    return layers[-1].activation is activations.softmax


def _without_softmax(layer: Any) -> Fused:
    """Return what computes the last layer up to its softmax, for the loss to go on."""

    def logits(x: Tensor) -> Tensor:
        if isinstance(layer, Activation):
            return x
        return functions.dense(x, layer.kernel, layer.bias)

    def compute(x: Tensor) -> Tensor:
        before = logits(x)
        library = get_array_module(before.value)
        y = Tensor(library.empty(before.shape, before.dtype))
        y.activation, y.logits, y.pending = "softmax", before, True
        return y

    return Fused([layer], compute)
