"""All weights of a model in one buffer, and their gradients in another."""

from __future__ import annotations

import itertools

from gpunet.autograd import Array, Parameter
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer

__all__ = ["FlatParameters"]

_ALIGNMENT = 32  # elements: each weight starts on a boundary of 128 bytes, as vector loads want


class FlatParameters:
    """The weights of `layer` as views into one buffer: an update is then one call over it.

    Those that are trained come first; `values` and `gradients` are the part of them alone.
    """

    def __init__(self, layer: Layer) -> None:
        self.trainable, self.frozen = layer.split_weights()
        parameters = [*self.trainable, *self.frozen]
        dtypes = {parameter.dtype for parameter in parameters}
        if len(dtypes) != 1:
            raise ValueError(
                f"All weights of a model must have one dtype, received "
                f"{sorted(map(str, dtypes)) or 'no weights at all'}: give all its layers the same "
                "dtype=, and at least one layer with weights."
            )
        sizes = [-(-parameter.size // _ALIGNMENT) * _ALIGNMENT for parameter in parameters]
        offsets = [0, *itertools.accumulate(sizes)]
        trained = offsets[len(self.trainable)]
        xp = get_array_module(*[parameter.value for parameter in parameters])
        self.buffer = xp.zeros(offsets[-1], dtypes.pop())
        self.gradients = xp.zeros(trained, self.buffer.dtype)
        self.offsets = offsets[: len(self.trainable)]  # of the trained ones' first elements
        self._all_offsets = offsets[:-1]
        self.lay_out()

    def lay_out(self) -> None:
        """Make the weights views into the buffer, with the values that they have."""
        parameters = (*self.trainable, *self.frozen)
        trained = len(self.gradients)
        self.values = self.buffer[:trained]  # which is no view of it in a copy of this object
        for parameter, offset in zip(parameters, self._all_offsets, strict=True):
            view = _view(self.buffer, offset, parameter)
            if parameter.value.base is not self.buffer:
                view[...] = parameter.value
            parameter.value = view
            parameter.requires_grad = offset < trained
            parameter.grad = _view(self.gradients, offset, parameter) if offset < trained else None

    def start(self) -> None:
        """Let the gradients to come take the place of those that are there."""
        for parameter in self.trainable:
            parameter.stale, parameter.parts = True, None

    def finish(self) -> None:
        """Let weights without a new gradient have 0."""
        for parameter in self.trainable:
            if parameter.stale and parameter.grad is not None:
                parameter.grad.fill(0)
                parameter.stale = False

    def is_of(self, layer: Layer) -> bool:
        """Whether the weights of `layer` are the ones laid out here, trained and frozen alike."""
        trainable, frozen = layer.split_weights()
        return _same(self.trainable, trainable) and _same(self.frozen, frozen)

    def is_current(self) -> bool:
        """Whether the weights are still views into this buffer; another model may share them."""
        parameters = (*self.trainable, *self.frozen)
        return all(parameter.value.base is self.buffer for parameter in parameters) and all(
            parameter.requires_grad and parameter.grad is not None for parameter in self.trainable
        )


def _view(buffer: Array, offset: int, parameter: Parameter) -> Array:
    return buffer[offset : offset + parameter.size].reshape(parameter.shape)


def _same(ours: list[Parameter], theirs: list[Parameter]) -> bool:
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))
