"""Loss and metrics over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.autograd import Array
from gpunet.metrics import Metric

__all__ = ["Scores"]


class Scores:
    """The mean loss over the samples so far, and the metrics.

    Arguments:
        metrics: start anew here.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.samples = 0
        self._loss_sum: Any = 0.0  # on a GPU an array of no dimensions there
        for metric in metrics:
            metric.reset_state()

    def add(self, y: Array, prediction: Array, loss: Array) -> None:
        """Take in a batch: its targets, its predictions, and its mean loss, one number."""
        self.samples += len(prediction)
        self._loss_sum += loss.astype("float64") * len(prediction)
        for metric in self.metrics:
            metric.update_state(y, prediction)

    def logs(self) -> dict[str, float]:
        """Return the loss and the metrics by their names."""
        logs = {"loss": float(self._loss_sum) / max(1, self.samples)}
        for metric in self.metrics:
            logs[metric.name] = float(metric.result())
        return logs
