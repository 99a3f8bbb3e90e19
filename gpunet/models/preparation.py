"""Prepare a model for its first step: shapes, built layers, weights in one buffer, a state."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gpunet import optimizers, random
from gpunet.autograd import Array, Tensor, no_grad
from gpunet.backend import array_module, get_array_module
from gpunet.fusion import Frozen, runs_graph, whole
from gpunet.layers.building import unbuilt_on_error
from gpunet.layers.layer import Shape, collect_updates, is_training
from gpunet.layers.roles import attributes_version
from gpunet.metrics import Metric
from gpunet.models.functional import Functional, leaf_shapes
from gpunet.models.steps import StepMethods
from gpunet.symbolic import Symbol, flatten, pack
from gpunet.training.adapter import Keys, Outputs
from gpunet.training.capture.steps import CaptureError, DeviceSteps
from gpunet.training.memory import memory_for
from gpunet.training.objective import NO_LOSS, Objective
from gpunet.training.state import FlatParameters, Trainability, TrainingState

__all__ = ["Preparation"]


class _Latest:
    """Results that hold until an attribute of a layer is set, and the `attributes_version` then.

    They are no attributes of the model: to set one of these would be such a change.
    """

    shapes: list[Shape] | None = None  # of the outputs, by formula
    shapes_for: tuple[int, list[Shape]] = (-1, [])  # the version, and the shapes of the inputs
    laid_out: int | None = None  # the version when the weights were found laid out
    frozen: Frozen | None = None  # the model as one network
    frozen_for: Any = None  # the version, and the shape and dtype of an input that it has taken


def _kind(x: np.ndarray) -> Any:
    return attributes_version(), x.shape, x.dtype


class Preparation(StepMethods):
    """The state of a model between `compile` and the first step."""

    def __init__(self, inputs: Any = None, outputs: Any = None, **options: Any) -> None:
        super().__init__(inputs, outputs, **options)
        self.optimizer: optimizers.Optimizer | None = None
        self.capture: bool | str = "auto"
        self._objective = Objective()
        self._trainability: Trainability | None = None
        self._parameters: FlatParameters | None = None
        self._earlier: FlatParameters | None = None  # of the last compile, with this optimizer
        self._captured_steps: DeviceSteps | None = None
        self._dry_outputs: dict[Any, Outputs] = {}
        self._dry_inputs: Any = None  # the structure, shapes and dtypes of the last dry call
        self._latest = _Latest()

    def __getstate__(self) -> dict[str, Any]:
        # Streams and graphs of a device can be neither copied nor pickled; they are made anew.
        return super().__getstate__() | {"_captured_steps": None, "_latest": _Latest()}

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given, or those of the outputs as a list or dictionary."""
        return self._objective.loss

    @loss.setter
    def loss(self, loss: Any) -> None:
        self._objective = self._objective.replaced(loss=loss)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that `compile` was given; a subclass may list its own here."""
        return self._objective.metrics

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        self._objective = self._objective.replaced(metrics=metrics)

    # Shapes

    def _input_count(self) -> int | None:
        """Return the number of inputs, None where only the model's `call` knows."""
        return None if self.graph is None else len(self.graph.inputs)

    def _output_count(self) -> int | None:
        """Return the number of outputs, None where that is not known yet."""
        if self.graph is not None:
            return len(self.graph.outputs)
        return len(flatten(self._output_template)) if self._dry_outputs else None

    def _given_shapes(self) -> list[Shape | None] | None:
        """Return the shapes of samples that the user gave for the inputs."""
        if self.given_input_shape is not None:
            return [self.given_input_shape]
        return None if self.graph is None else [x.shape[1:] for x in self.graph.inputs]

    def _build_for(self, structure: Any, inputs: tuple[Array, ...]) -> None:
        """Build the model for inputs, and raise `ValueError` unless it takes them."""
        with nullcontext() if self.built else unbuilt_on_error(self):
            if structure == 0:
                shape = inputs[0].shape
                self.build((None, *shape[1:]))
                self.check_input(shape)
            elif not self.built:
                self._dry_call(structure, [(x.shape[1:], x.dtype) for x in inputs])

    def _frozen_for(self, x: Any) -> Frozen | None:
        """Return the model as one network, if it has been found to take inputs like `x`."""
        latest = self._latest
        if latest.frozen is None or type(x) is not np.ndarray or is_training():
            return None
        return latest.frozen if latest.frozen_for == _kind(x) else None

    def _remember_frozen(self, x: Any) -> None:
        """Note that the model takes inputs like `x`, if it runs as one network of them."""
        graph, latest = self.graph, self._latest
        if type(x) is not np.ndarray or latest.frozen_for == _kind(x) or is_training():
            return
        latest.frozen, latest.frozen_for = None, _kind(x)
        if not runs_graph(self) or not self.fuse or self._defines("predict_step"):
            return
        assert graph is not None
        plain = isinstance(graph.output_structure, Symbol) and len(graph.inputs) == 1
        frozen = whole(graph) if plain else None
        if frozen is not None and x.ndim == graph.inputs[0].ndim and frozen.takes(x.dtype):
            latest.frozen = frozen

    def _outputs_for(self, structure: Any, inputs: tuple[Array, ...]) -> Outputs:
        """Return the names and shapes of the outputs for inputs, after building the model."""
        with nullcontext() if self.built else unbuilt_on_error(self):
            self._build_for(structure, inputs)
            shapes = self._shapes_by_formula([(None, *x.shape[1:]) for x in inputs])
            if shapes is not None:
                return Outputs(self._output_names(None), tuple(shapes))
            samples = [(x.shape[1:], x.dtype) for x in inputs]
            key = repr((structure, samples))
            if key not in self._dry_outputs:
                outputs = self._dry_call(structure, samples)
                shapes = [(None, *y.shape[1:]) for y in flatten(outputs)]
                self._dry_outputs[key] = Outputs(self._output_names(outputs), tuple(shapes))
            return self._dry_outputs[key]

    def _shapes_by_formula(self, inputs: list[Shape]) -> list[Shape] | None:
        """Return the shapes of the outputs for shapes of inputs, None where calls must tell."""
        if runs_graph(self):
            latest = self._latest
            if latest.shapes is None or latest.shapes_for != (attributes_version(), inputs):
                shape = inputs[0] if len(inputs) == 1 else inputs
                latest.shapes = leaf_shapes(self.compute_output_shape(shape))
                latest.shapes_for = attributes_version(), inputs  # calls on zeros may change it
            return latest.shapes
        own = type(self).compute_output_shape is not Functional.compute_output_shape
        if own and len(inputs) == 1 and self._output_count() in (None, 1):
            return [self.compute_output_shape(inputs[0])]
        return None

    def _dry_call(self, structure: Any, samples: Any, *, training: bool = False) -> Any:
        """Return the outputs for one sample of zeros; nothing but unbuilt layers changes."""
        self._dry_inputs = structure, samples
        xp = array_module()
        zeros = [self._as_tensor(xp.zeros((1, *shape), dtype)) for shape, dtype in samples]
        with no_grad(), collect_updates():
            outputs = self(pack(structure, zeros), training=training)
        flat = flatten(outputs)
        if not all(isinstance(output, Tensor) for output in flat):
            raise TypeError(
                f"{self.name!r} returned {outputs!r}, expected a tensor, or a list or dictionary "
                "of tensors."
            )
        self._output_template = 0 if flat[0] is outputs else pack(outputs, range(len(flat)))
        return outputs

    def _output_names(self, outputs: Any) -> tuple[str, ...]:
        """Return the names of outputs: of the layers in a graph, or the keys of a dictionary.

        Arguments:
            outputs: as the model returns them, None for a single tensor.
        """
        structure = outputs if self.graph is None else self.graph.output_structure
        if isinstance(structure, dict):
            return Keys(sorted(structure, key=str))
        if self.graph is not None:
            return self.graph.output_names
        if isinstance(outputs, list | tuple):
            return tuple(f"output_{i}" for i in range(len(flatten(outputs))))
        return ("output",)

    # Weights

    def _lay_out_parameters(self) -> None:
        """Make the weights views into one buffer, for the optimizer, where they are not yet."""
        parameters = self._parameters
        if parameters is not None and self._latest.laid_out == attributes_version():
            if not parameters.is_current():
                parameters.lay_out()
            return
        assert self._trainability is not None and self.optimizer is not None
        if parameters is None:
            self._trainability.accept(self)  # values set between compile and the first step
        elif not self._trainability.is_current(self):
            raise RuntimeError(
                f"`trainable` was set in {self.name!r} after compile: call compile() again."
            )
        with self._as_compiled():
            if parameters is None:
                self._lay_out_anew(self.optimizer)
            elif not parameters.is_of(self):
                raise RuntimeError(
                    f"The weights of {self.name!r} are not those it was compiled with: layers were "
                    "added or removed. Call compile() again."
                )
            elif not parameters.is_current():
                parameters.lay_out()
        self._latest.laid_out = attributes_version()

    def _as_compiled(self) -> AbstractContextManager[None]:
        """Return a context with `trainable` as it was at compile."""
        assert self._trainability is not None
        return self._trainability.applied(self)

    def _lay_out_anew(self, optimizer: optimizers.Optimizer) -> None:
        earlier = self._earlier
        if earlier is None:
            self._check_optimizer_is_free(optimizer)
        self._build_sublayers()
        if earlier is not None and earlier.is_of(self):
            parameters = earlier
            parameters.lay_out()
        else:
            with memory_for(None):
                parameters = FlatParameters(self)
                optimizer.build_buffer(parameters.values, parameters.segments, parameters.trainable)
        self._parameters = parameters

    def _check_optimizer_is_free(self, optimizer: optimizers.Optimizer) -> None:
        used_here = self._parameters or self._earlier or self._defines("train_step")
        if optimizer.built and not (optimizer is self.optimizer and used_here):
            raise ValueError(
                f"The optimizer {optimizer.name!r} was in use before, with another model or since "
                "replaced by another optimizer, and keeps its step count and slots: give each "
                "model an optimizer of its own."
            )

    def _build_sublayers(self) -> None:
        """Build the layers that are built only when they are called, by calls on zeros."""
        if all(layer.built for layer in self.with_sublayers()):
            return
        if self._dry_inputs is None:
            if self.input_shape is None:
                return
            self._dry_inputs = self._smallest_inputs()
        self._dry_call(*self._dry_inputs)
        state = random.get_state()  # the numbers that weights took stay taken
        self._dry_call(*self._dry_inputs, training=True)
        random.set_state(state)

    def _smallest_inputs(self) -> tuple[Any, list[tuple[Shape, Any]]]:
        """Return the structure of the inputs, and a shape and dtype that each may have."""
        graph = self.graph
        if graph is None:
            structure, found = 0, [(self.input_shape, self.compute_dtype)]
        else:
            found = [(symbol.shape, symbol.dtype) for symbol in graph.inputs]
            structure = pack(graph.input_structure, range(len(found)))
        return structure, [
            (tuple(size or 1 for size in shape[1:]), dtype) for shape, dtype in found
        ]

    # State

    def _state_for_step(self, state: TrainingState | None, structure: Any) -> TrainingState:
        """Return a state to train with: the one of the last step, unless `compile` was called."""
        if (
            state is None
            or state.optimizer is not self.optimizer
            or state.parameters is not self._parameters
            or state.objective is not self._objective
        ):
            self._check_compiled("fit")
            if self._parameters is None or not self._parameters.is_current():
                self._lay_out_parameters()
            state = TrainingState(self, self._objective, self.optimizer, self._parameters)
        elif not self._parameters.is_current():
            self._parameters.lay_out()
        state.structure = structure
        return state

    def _state_for_evaluation(self, structure: Any) -> TrainingState:
        return TrainingState(self, self._objective, None, self._parameters, structure)

    def _device_steps(self) -> DeviceSteps | None:
        """Return the steps of this model on the GPU, where its weights are laid out there.

        Raises:
            CaptureError: they are on the CPU, and are to be captured.
        """
        if self._parameters is None or not self._parameters.is_current():
            self._check_compiled("fit")
            self._lay_out_parameters()
        assert self._parameters is not None
        if get_array_module(self._parameters.buffer) is np:
            if self.capture is True:
                raise CaptureError(
                    f"compile(capture=True): {self.name!r} is on the CPU, where nothing is "
                    "captured: use capture='auto', or a GPU (python -m gpunet doctor)."
                )
            return None
        if self._captured_steps is None or not self._captured_steps.are_for(self):
            self._captured_steps = DeviceSteps(self)
        return self._captured_steps

    # Checks

    def _check_compiled(self, method: str) -> None:
        """Raise `RuntimeError` unless the model has an optimizer and a way to compute its loss."""
        if self.optimizer is None:
            raise RuntimeError(
                f"{method} needs a loss and an optimizer: call {self.name}.compile("
                "optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy']) first."
            )
        own = self._defines("compute_loss") or self._defines(
            "test_step" if method in ("evaluate", "test_on_batch") else "train_step"
        )
        if not (self._objective.has_loss or own):
            raise RuntimeError(f"{method} of {self.name!r}: {NO_LOSS}")

    def _warn_if_nothing_trains(self) -> None:
        if self._parameters is not None and not self._parameters.trainable:
            reason = "all its weights are frozen" if self.weights else "it has no weights"
            warnings.warn(
                f"{self.name!r} has nothing to train: {reason}. Set trainable=True and compile "
                "again to train it.",
                stacklevel=3,
            )
