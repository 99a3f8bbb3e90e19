"""Loss and metrics over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.autograd import Array
from gpunet.metrics import Mean, Metric, counts_hits

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

    def add(self, y: Array, prediction: Array, losses: Array, hits: Array | None = None) -> None:
        """Take in a batch.

        Arguments:
            y: its targets.
            prediction: its predictions.
            losses: of each sample, or one number, their mean.
            hits: uint8, whether each sample was classified right, where that is known.
        """
        samples = len(prediction)
        self.samples += samples
        self._loss_sum += losses.sum(dtype="float64") * (samples // losses.size)
        for metric in self.metrics:
            if hits is not None and counts_hits(metric, y.shape, prediction.shape):
                Mean.update_state(metric, hits.view(bool))
            else:
                metric.update_state(y, prediction)

    def set(self, samples: int, loss_sum: float, counted: Sequence[Mean], hits: float) -> None:
        """Let the scores be those of batches that were taken in elsewhere.

        Arguments:
            samples: how many there were.
            loss_sum: the sum of their losses.
            counted: the metrics that are how many of them were classified right.
            hits: how many that were.
        """
        self.samples, self._loss_sum = samples, loss_sum
        for metric in counted:
            metric.set_state(hits, samples)

    def logs(self) -> dict[str, float]:
        """Return the loss and the metrics by their names."""
        logs = {"loss": float(self._loss_sum) / max(1, self.samples)}
        for metric in self.metrics:
            logs[metric.name] = float(metric.result())
        return logs
