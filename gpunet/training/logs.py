"""Loss and metrics over the batches of a pass: an epoch, an evaluation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gpunet.autograd import Array, Tensor
from gpunet.metrics import Mean, MeanMetricWrapper, Metric, counts_correct
from gpunet.training.batches import Batch
from gpunet.training.objective import Objective, Tracked, loss_key

__all__ = ["Scores", "as_floats", "as_result", "current_scores", "fresh_metrics", "masked"]

_current: ContextVar[Scores | None] = ContextVar("current_scores", default=None)


def current_scores() -> Scores | None:
    """Return the scores of the pass that this code runs in, None outside of one."""
    return _current.get()


class Scores:
    """The mean loss over the samples of a pass, and its metrics, which start anew.

    Arguments:
        objective: the losses and metrics; bound to the outputs before the first batch.
        shared: whether to use the objective's own metrics in place of copies.
    """

    def __init__(self, objective: Objective, *, shared: bool = False) -> None:
        self.objective, self.shared = objective, shared
        self.samples = 0
        self.custom: dict[str, Any] | None = None  # the logs of a model's own compute_metrics
        self._loss_sum: Any = 0.0  # on a GPU an array of no dimensions there
        self._names: Any = None
        self._metrics: list[Tracked] = []
        self._sums: dict[str, Any] = {}  # of the loss of each output, where there are several
        self._bind()

    @property
    def tracked(self) -> list[Tracked]:
        """The metrics of this pass."""
        if self._names != self.objective.names:
            self._bind()
        return self._metrics

    def _bind(self) -> None:
        objective = self.objective
        self._names = objective.names
        self._metrics = [
            item if self.shared else item._replace(metric=copy.deepcopy(item.metric))
            for item in objective.tracked
        ]
        for item in self._metrics:
            item.metric.reset_state()
        names = objective.names or ()
        self._sums = {} if len(names) < 2 else {loss_key(name): None for name in names}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make these the scores that `current_scores` returns."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    # Batches

    def add_loss(self, samples: int, losses: Array, each: Sequence[Any] = ()) -> None:
        """Add the losses of a batch's samples, or their mean alone, and the mean of each output."""
        self.samples += samples
        self._loss_sum += losses.sum(dtype="float64") * (samples // losses.size)
        self.add_each(samples, each)

    def add_each(self, samples: int, each: Sequence[Array | None]) -> None:
        """Add the mean losses of the outputs of a batch, where there are several."""
        if each and self.tracked is not None and self._sums:
            for key, value in zip(self._sums, each, strict=True):
                if value is not None:
                    before, more = self._sums[key], value.astype("float64") * samples
                    self._sums[key] = more if before is None else before + more

    def add_metrics(
        self,
        batch: Batch,
        outputs: Sequence[Array],
        correct: Array | None = None,
        *,
        masks: Sequence[Array | None] = (),
        skip: Sequence[Metric] = (),
        copied: bool = False,
    ) -> None:
        """Add a batch to the metrics.

        Arguments:
            batch: with its targets.
            outputs: the predictions.
            correct: uint8, whether each sample was classified right, where that is known.
            masks: of the predictions, for metrics that are means.
            skip: metrics that are counted elsewhere.
            copied: whether custom metrics get copies, which they may keep.
        """
        for _, metric, output, weighted in self.tracked:
            y, prediction = batch.targets[output], outputs[output]
            if y is None or any(metric is other for other in skip):
                continue
            weight = batch.weights[output] if weighted and batch.weights else None
            if correct is None or weight is not None:
                pass
            elif counts_correct(metric, y.shape, prediction.shape):
                Mean.update_state(metric, correct.view(bool))
                continue
            y = self.objective.as_targets(output, y, prediction.dtype)
            if copied and type(metric).__module__.partition(".")[0] != "gpunet":
                y, prediction = y.copy(), prediction.copy()
            if masks and masks[output] is not None and isinstance(metric, MeanMetricWrapper):
                prediction = masked(prediction, masks[output])
            if weight is None:
                metric.update_state(y, prediction)
            else:
                metric.update_state(y, prediction, sample_weight=weight)

    def set(self, samples: int, loss_sum: float, counted: Sequence[Mean], correct: float) -> None:
        """Set the scores to those of samples that were added up elsewhere.

        `counted` are the metrics that are the share of the `correct` ones.
        """
        self.samples, self._loss_sum = samples, loss_sum
        for metric in counted:
            metric.set_state(correct, samples)

    def logs(self) -> dict[str, Any]:
        """Return the loss and the metrics by name, or the logs that the model itself returned."""
        return self.computed() if self.custom is None else as_floats(self.custom)

    def computed(self) -> dict[str, Any]:
        """Return the loss and the metrics by name: floats."""
        logs: dict[str, Any] = {"loss": float(self._loss_sum) / max(1, self.samples)}
        for key in self.objective.loss_keys() if self._sums else ():
            loss_sum = self._sums[key]
            if loss_sum is not None:
                logs[key] = float(loss_sum) / max(1, self.samples)
        for item in self.tracked:
            logs[item.key] = _as_float(item.key, item.metric.result())
        return logs


@contextmanager
def fresh_metrics(model: Any, *, restore: bool) -> Iterator[None]:
    """Reset the metrics that a model keeps itself; `restore` them to their state on exit."""
    known = [id(metric) for metric in model._objective.metrics]
    metrics = [metric for metric in model.metrics if id(metric) not in known]
    before = [copy.deepcopy(vars(metric)) for metric in metrics] if restore else []
    for metric in metrics:
        metric.reset_state()
    try:
        yield
    finally:
        for metric, attributes in zip(metrics, before, strict=False):
            vars(metric).clear()
            vars(metric).update(attributes)


def masked(prediction: Array, mask: Array | None) -> Tensor:
    """Return a prediction as a tensor with its mask."""
    tensor = Tensor(prediction)
    tensor.mask = mask
    return tensor


def _as_float(key: str, value: Any) -> Any:
    try:
        if getattr(value, "size", 1) != 1:
            return value
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError):
        raise TypeError(
            f"The metric {key!r} must have a number or an array as its result(), received "
            f"{value!r}."
        ) from None


def as_floats(logs: dict[str, Any]) -> dict[str, Any]:
    """Return logs with floats in place of tensors and arrays of one number."""
    return {name: _as_float(name, value) for name, value in logs.items()}


def as_result(logs: dict[str, Any], as_dict: bool) -> Any:
    """Return logs as a dictionary, or their values as a list, or the loss if it is alone."""
    if as_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
