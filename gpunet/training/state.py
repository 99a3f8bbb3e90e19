"""The state that a training step changes: weights in one buffer, gradients, optimizer slots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpunet.autograd import Array, Parameter, Tensor
from gpunet.backend import array_module, get_array_module
from gpunet.layers.layer import set_update
from gpunet.optimizers.slots import Segment
from gpunet.regularizers import penalty
from gpunet.symbolic import pack
from gpunet.training.batches import Batch
from gpunet.training.finite import check_finite
from gpunet.training.objective import Objective

__all__ = ["FlatParameters", "Trainability", "TrainingState"]

_ALIGNMENT = 32  # elements: each weight starts on a boundary of 128 bytes, as vector loads want

Updates = Sequence[tuple[Parameter, Array, float]]


class FlatParameters:
    """All weights of a model as views into one buffer: an update is one call over it.

    Those that are trained come first; `values` and `gradients` are that part of it.

    Arguments:
        model: built; a model without weights has empty buffers.

    Attributes:
        segments: the places of the trained weights.

    Raises:
        ValueError: the weights have several dtypes.
    """

    def __init__(self, model: Any) -> None:
        self.trainable, self.frozen = model.split_weights()
        parameters = [*self.trainable, *self.frozen]
        dtypes = {parameter.dtype for parameter in parameters} or {model.compute_dtype}
        if len(dtypes) != 1:
            raise ValueError(
                f"All weights of a model must have one dtype, received "
                f"{sorted(map(str, dtypes))}: give all its layers the same dtype=."
            )
        sizes = [-(-parameter.size // _ALIGNMENT) * _ALIGNMENT for parameter in parameters]
        offsets = [0, *itertools.accumulate(sizes)]
        trained = offsets[len(self.trainable)]
        values = [parameter.value for parameter in parameters]
        xp = get_array_module(*values) if values else array_module()
        self.buffer = xp.zeros(offsets[-1], dtypes.pop())
        self.gradients = xp.zeros(trained, self.buffer.dtype)
        self._offsets = offsets[:-1]
        paths = {id(weight): path for path, weight in model.weight_paths().items()}
        self.segments = [
            Segment(paths[id(parameter)], offset, parameter.size, parameter.shape)
            for parameter, offset in zip(self.trainable, offsets, strict=False)
        ]
        self.lay_out()

    def lay_out(self) -> None:
        """Make the weights views into the buffer, with the values that they have."""
        parameters = (*self.trainable, *self.frozen)
        trained = len(self.gradients)
        self.values = self.buffer[:trained]  # which is no view of it in a copy of this object
        for i, (parameter, offset) in enumerate(zip(parameters, self._offsets, strict=True)):
            is_trained = i < len(self.trainable)
            view = _view(self.buffer, offset, parameter)
            if parameter.value.base is not self.buffer:
                view[...] = parameter.value
            parameter.value = view
            parameter.requires_grad = is_trained
            parameter.grad = _view(self.gradients, offset, parameter) if is_trained else None

    def places(self) -> dict[int, int]:
        """Return the first element of each weight in the buffer, by the weight's `id`."""
        parameters = (*self.trainable, *self.frozen)
        return {id(p): offset for p, offset in zip(parameters, self._offsets, strict=True)}

    def start(self) -> None:
        """Mark the gradients as those of the step before: the next are written over them."""
        for parameter in self.trainable:
            parameter.stale, parameter.parts = True, None

    def finish(self) -> None:
        """Set the gradients of weights that the step did not reach to 0."""
        for parameter in self.trainable:
            if parameter.stale and parameter.grad is not None:
                parameter.grad.fill(0)
                parameter.stale = False

    def is_of(self, model: Any) -> bool:
        """Return whether the weights of a model are the ones laid out here, trained and frozen."""
        trainable, frozen = model.split_weights()
        return _same(self.trainable, trainable) and _same(self.frozen, frozen)

    def is_current(self) -> bool:
        """Return whether the weights are still views into this buffer; models may share them."""
        buffer = self.buffer
        for parameter in self.trainable:  # a loop, since this is done in each step
            if parameter.value.base is not buffer or not parameter.requires_grad:
                return False
            if parameter.grad is None:
                return False
        return all(parameter.value.base is buffer for parameter in self.frozen)


def _view(buffer: Array, offset: int, parameter: Parameter) -> Array:
    return buffer[offset : offset + parameter.size].reshape(parameter.shape)


def _same(ours: list[Parameter], theirs: list[Parameter]) -> bool:
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))


class Trainability:
    """Which layers of a model were trainable when it was compiled.

    A model trains as compiled, also where another that shares its layers was compiled with other
    values since, as the critic of a pair of models.

    Arguments:
        model: being compiled.
    """

    def __init__(self, model: Any) -> None:
        self.own = model.trainable
        self.layers = model.with_sublayers()[1:]  # without the model: no cycle
        self.flags = [layer.trainable for layer in self.layers]
        for layer in (model, *self.layers):
            layer._trainable_at_compile = layer.trainable

    def _compiled(self, model: Any) -> list[tuple[Any, bool]]:
        return [(model, self.own), *zip(self.layers, self.flags, strict=True)]

    def is_current(self, model: Any) -> bool:
        """Return whether all values are those at a `compile`, of this model or another."""
        return all(
            layer.trainable in (flag, layer._trainable_at_compile)
            for layer, flag in self._compiled(model)
        )

    def accept(self, model: Any) -> None:
        """Take the values that no `compile` has seen as those at compile."""
        for position, (layer, flag) in enumerate(self._compiled(model)):
            if layer.trainable in (flag, layer._trainable_at_compile):
                continue
            layer._trainable_at_compile = layer.trainable
            if position == 0:
                self.own = layer.trainable
            else:
                self.flags[position - 1] = layer.trainable

    @contextmanager
    def applied(self, model: Any) -> Iterator[None]:
        """Set `trainable` of each layer to the value at `compile` within the context."""
        changed = [
            (layer, layer.trainable, flag)
            for layer, flag in self._compiled(model)
            if layer.trainable != flag
        ]
        for layer, _, flag in changed:
            layer.set_trainable_alone(flag)
        try:
            yield
        finally:
            for layer, now, _ in changed:
                layer.set_trainable_alone(now)


class TrainingState:
    """All that one training step reads and changes, on the CPU or uncaptured on a GPU.

    Arguments:
        model: compiled; of its own methods `compute_loss` is called where it defines that.
        objective: the losses and metrics.
        optimizer: built for the parameters; None in an evaluation.
        parameters: the weights, laid out; None in an evaluation of a model that never trained.
        structure: of the model's inputs, with 0, 1 ... in place of the arrays.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        optimizer: Any,
        parameters: Any,
        structure: Any = 0,
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.parameters: Any = parameters
        self.structure = structure

    def pack_inputs(self, inputs: Sequence[Array]) -> Any:
        """Return inputs as the model is called with them: tensors where the weights are."""
        model = self.model
        buffer = None if self.parameters is None else self.parameters.buffer
        if self.structure == 0:
            return model._as_tensor(inputs[0], buffer)
        return pack(self.structure, [model._as_tensor(x, buffer) for x in inputs])

    def packed(self, inputs: Any, outputs: Any, batch: Batch) -> tuple[Any, Any, Any]:
        """Return x, y and sample_weight for the methods that a custom model defines.

        Arguments:
            inputs: as the model was called with them.
            outputs: as it returned them, whose structure y and sample_weight get.
            batch: with targets and weights.
        """
        y = pack(outputs, batch.targets) if batch.targets else None
        return inputs, y, pack(outputs, batch.weights) if batch.weights else None

    def penalty(self) -> Tensor | None:
        """Return the sum of what regularizers of weights and layers add to the loss, if any do."""
        laid_out = self.parameters
        weights = self.model.trainable_weights if laid_out is None else laid_out.trainable
        return penalty(weights)

    def finish(self, losses: Array, correct: Array | None, size: int) -> None:
        """Complete the gradients, and raise `NonFiniteLossError` if the step must not be taken."""
        check_finite(losses, self.parameters.gradients)

    def update(self, updates: Updates) -> None:
        """Change the weights: by what layers registered in the step, and then by the optimizer."""
        for parameter, value, momentum in updates:
            set_update(parameter, value, momentum)
        if self.parameters.trainable:
            self.optimizer.step(self.parameters.values, self.parameters.gradients)
