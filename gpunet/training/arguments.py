"""What the methods of a model are given, and give back, in their several forms."""

from __future__ import annotations

from typing import Any

from gpunet import metrics
from gpunet.arguments import positive_integer

__all__ = ["as_list", "as_metrics", "check_initial_epoch", "result"]


def check_initial_epoch(initial_epoch: Any) -> None:
    """Raise `ValueError` unless `fit` can begin with this epoch."""
    if initial_epoch != 0:
        positive_integer(initial_epoch, "initial_epoch", "fit")


def as_list(given: Any) -> list[Any]:
    """Return one thing, several, or None as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def as_metrics(given: Any) -> list[metrics.Metric]:
    """Return metrics of names, functions and metrics; raise if two have one name."""
    chosen = [metrics.get(identifier) for identifier in as_list(given)]
    names = ["loss", *(metric.name for metric in chosen)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"compile: two metrics are called {name!r}, or one is called 'loss': "
                "each needs a name of its own, such as Metric(name=...)."
            )
    return chosen


def result(logs: dict[str, float], as_dict: bool) -> float | list[float] | dict[str, float]:
    """Return the loss and metrics as a dictionary, or a list, or the loss if it is alone."""
    if as_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
