"""Batch normalization with its neighbours.

In training a residual is added and an activation applied as the batch is normalized. At inference
normalization is a factor and an offset for each channel, which become part of the kernel and the
bias of the convolution before it. Factors are computed anew in each call, since weights change in
place; and not while gradients are recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunet import activations, primitives
from gpunet.autograd import Array, Tensor, is_recording
from gpunet.layers.building import name_layer
from gpunet.layers.roles import Apply, Depthwise, Role, Scale
from gpunet.primitives import Activation

__all__ = ["FoldedDepthwise", "Normalized", "depthwise_of", "fold", "one_by_one"]


def one_by_one(layers: Sequence[Any], x: Tensor) -> Tensor:
    """Return what layers make of a tensor, each by its own call."""
    for layer in layers:
        x = layer(x)
    return x


def fold(affine: Any, kernel: Array, bias: Array | None) -> tuple[Array, Array]:
    """Return the kernel and bias of a product whose output a layer scales by channel.

    Arguments:
        affine: a built `BatchNormalization`.
        kernel: (..., channels).
        bias: (channels,), or None.
    """
    factor, offset = affine.factor_and_offset()
    return kernel * factor, offset if bias is None else offset + bias * factor


@dataclass(frozen=True, slots=True)
class FoldedDepthwise:
    """A depthwise convolution, with the normalization and activation that follow it, at inference.

    Attributes:
        layers: as many as the nodes that it runs.
        role: of the convolution.
        affine: the layer that scales its output, or None.
        activation: that the primitive applies, or None.
    """

    layers: Sequence[Any]
    role: Depthwise
    affine: Any
    activation: Activation | None

    def __call__(self, x: Tensor) -> Tensor:
        first, role = self.layers[0], self.role
        if x.mask is not None or is_recording():
            return one_by_one(self.layers, x)
        try:
            first.check_input(x.shape)
            x = first._cast(x)
            height, width = first.kernel.shape[:2]
            kernel = first.kernel.value.reshape(height, width, 1, -1)
            bias = None if first.bias is None else first.bias.value
            if self.affine is not None:
                kernel, bias = fold(self.affine, kernel, bias)
            return Tensor(
                primitives.conv2d_forward(
                    x.value, kernel, bias, strides=role.strides, padding=role.padding,
                    dilation=role.dilation, groups=x.shape[3], activation=self.activation,
                )
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            name_layer(error, first)
            raise


def depthwise_of(layers: Sequence[Any], roles: Sequence[Role | None]) -> FoldedDepthwise | None:
    """Return a depthwise convolution with what it can take of the layers after it, if any."""
    role = roles[0]
    if not isinstance(role, Depthwise):
        return None
    count, activation, affine = 1, role.activation, None
    if activation is activations.linear and isinstance(_at(roles, count), Scale):
        affine, count = layers[count], count + 1
    following = _at(roles, count)
    if activation is activations.linear and isinstance(following, Apply):
        activation, count = following.activation, count + 1
    fused = activations.fusible(activation)
    if count == 1 or (fused is None and activation is not activations.linear):
        return None
    return FoldedDepthwise(layers[:count], role, affine, fused)


def _at(roles: Sequence[Role | None], position: int) -> Role | None:
    return roles[position] if position < len(roles) else None


@dataclass(frozen=True, slots=True)
class Normalized:
    """Batch normalization in training, and after it an addition, an activation or both.

    Attributes:
        layers: the normalization, the addition and the activation, as far as they are there.
        activation: that the primitive applies, or None.
        adds: whether there is an addition; then it is called with a second tensor.
        is_first: whether the normalized tensor is the first of the two that are added.
    """

    layers: Sequence[Any]
    activation: Activation | None
    adds: bool
    is_first: bool

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if x.mask is not None or (added is not None and not _fits(x, added)):
            return self._one_by_one(x, added)

        def normalize(x: Any, training: bool = False, mask: Any = None) -> Any:
            return norm.normalize(x, training, mask, added, self.activation)

        norm = self.layers[0]
        return norm.run(normalize, (x,), {}, None)

    def _one_by_one(self, x: Tensor, added: Tensor | None) -> Tensor:
        norm, *others = self.layers
        y = norm(x)
        if added is not None:
            add, *others = others
            y = add([y, added] if self.is_first else [added, y])
        return one_by_one(others, y)


def _fits(x: Tensor, added: Tensor) -> bool:
    return added.mask is None and added.shape == x.shape and added.dtype == x.dtype
