"""The methods of a model that do one step, which a subclass may define in its own way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from gpunet.autograd import Tensor
from gpunet.models.functional import Functional
from gpunet.regularizers import penalty
from gpunet.symbolic import flatten, pack
from gpunet.training.adapter import DataAdapter, unpack
from gpunet.training.batches import Batch, Batches
from gpunet.training.logs import Scores, current_scores
from gpunet.training.loops import add_to_scores
from gpunet.training.objective import Objective
from gpunet.training.state import TrainingState
from gpunet.training.step import evaluate_batch, step

__all__ = ["StepMethods"]


class StepMethods(Functional):
    """`train_step`, `test_step`, `predict_step`, `compute_loss` and `compute_metrics`.

    `fit`, `evaluate` and `predict` call those that a subclass defines. Steps of a custom
    `train_step` run one kernel at a time on a GPU; a custom `compute_loss` is captured with the
    rest of the step.
    """

    _objective: Objective
    _loss_takes_training: bool
    _output_template: Any = 0
    # `Preparation` defines these.
    _output_names: Callable[[Any], tuple[str, ...]]
    _state_for_step: Callable[[TrainingState | None, Any], TrainingState]
    _state_for_evaluation: Callable[[Any], TrainingState]

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on one batch; return the loss and metrics so far in this pass.

        Arguments:
            data: ``(x, y)`` or ``(x, y, sample_weight)``.
        """
        batch, structure = self._checked(data, "train_step")
        state = self._state_for_step(None, structure)
        scores = self._scores()
        step(state, batch, partial(add_to_scores, state, scores))
        return self._logs(scores)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the loss and metrics of the pass after one more batch, without training.

        Arguments:
            data: ``(x, y)`` or ``(x, y, sample_weight)``.
        """
        batch, structure = self._checked(data, "test_step")
        state, scores = self._state_for_evaluation(structure), self._scores()
        add_to_scores(state, scores, evaluate_batch(state, batch))
        return self._logs(scores)

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for one batch.

        Arguments:
            data: ``(x,)``, or x alone.
        """
        return self(unpack(data)[0], training=False)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss of a batch and of regularizers, one number to differentiate.

        Arguments:
            x: inputs; the losses of `compile` do not depend on them.
            y, y_pred: targets and outputs, nested as the outputs of the model.
            sample_weight: for each sample, or for each sample and output; or None.
            training: whether the model is called in training.

        Raises:
            ValueError: `compile` was given no loss.
        """
        outputs = flatten(y_pred)
        self._objective.bind(self._output_names(y_pred))
        weights = () if sample_weight is None else flatten(sample_weight)
        if len(weights) == 1:
            weights = weights * len(outputs)
        loss = self._objective.compute(flatten(y), outputs, weights)[0]
        regularization = penalty(self.trainable_weights)
        return loss if regularization is None else loss + regularization

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch to the metrics of this pass; return the loss and metrics so far.

        Arguments:
            x, y, y_pred, sample_weight: as for `compute_loss`.
        """
        self._objective.bind(self._output_names(y_pred))
        tensors = flatten(y_pred)
        outputs = [output.value for output in tensors]
        weights = () if sample_weight is None else tuple(flatten(sample_weight))
        scores = self._scores()
        masks = [output.mask for output in tensors]
        scores.add_metrics(Batch((), tuple(flatten(y)), weights), outputs, masks=masks)
        return scores.computed()

    def _logs(self, scores: Scores) -> dict[str, Any]:
        return scores.logs() if self._defines("compute_metrics") else scores.computed()

    # Called by the loops

    def _defines(self, method: str) -> bool:
        """Return whether a subclass defines one of the methods of this class."""
        return getattr(type(self), method) is not getattr(StepMethods, method)

    def _own_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Tensor:
        """Return what a custom `compute_loss` returns, as a tensor."""
        cls = type(self)
        if "_loss_takes_training" not in vars(cls):
            parameters = inspect.signature(cls.compute_loss).parameters
            cls._loss_takes_training = "training" in parameters
        options = {"training": training} if cls._loss_takes_training else {}
        loss = self.compute_loss(x, y, y_pred, sample_weight, **options)
        if not isinstance(loss, Tensor) or loss.size != 1:
            received = f"shape {loss.shape}" if hasattr(loss, "shape") else type(loss).__name__
            raise TypeError(
                f"{cls.__name__}.compute_loss must return a tensor of one number, received "
                f"{received}: compute with y_pred, operators and gpunet.functions."
            )
        return loss

    def _data(self, batch: Batch, batches: Batches) -> Any:
        """Return a batch as `train_step` and `test_step` get it: arrays where the weights are."""
        state = self._state_for_evaluation(batches.structure)
        inputs = flatten(state.pack_inputs(batch.inputs))
        x = pack(batches.structure, [tensor.value for tensor in inputs])
        y: Any = batch.targets[0]
        weights: Any = batch.weights[0] if batch.weights else None
        if len(batch.targets) > 1:
            graph = self.graph
            template = self._output_template if graph is None else graph.output_structure
            y = pack(template, batch.targets)
            weights = pack(template, batch.weights) if batch.weights else None
        return (x, y) if weights is None else (x, y, weights)

    def _checked(self, data: Any, where: str) -> tuple[Batch, Any]:
        adapter = DataAdapter(self, where)
        return adapter.prepare(adapter.flatten(*unpack(data))), adapter.structure

    def _scores(self) -> Scores:
        """Return the scores of the pass of this model that is under way, or new ones."""
        scores = current_scores()
        if scores is not None and scores.objective is self._objective:
            return scores
        return Scores(self._objective)
