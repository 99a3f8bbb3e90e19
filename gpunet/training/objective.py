"""The losses and metrics of a model, for each of its outputs, as `compile` was given them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

from gpunet import losses
from gpunet.arguments import as_list
from gpunet.autograd import Array, Tensor
from gpunet.metrics import Metric
from gpunet.metrics import get as _metric
from gpunet.training.adapter import Keys, Outputs, check_names

__all__ = ["Objective", "Tracked", "loss_key"]


class Tracked(NamedTuple):
    """A metric of one output."""

    key: str  # its name in logs
    metric: Metric
    output: int  # its position
    weighted: bool  # whether sample weights count


def loss_key(output: str) -> str:
    """Return how logs call the loss of an output."""
    return f"{output}_loss"


class Objective:
    """Losses, their weights and metrics; `bind` assigns them to outputs.

    Arguments:
        loss: one for all outputs, a list with one for each, a dictionary by output name, or None.
        loss_weights: numbers, a list or a dictionary likewise; 1 by default.
        metrics: of one output a list; of several a list of lists, or a dictionary by name.
        weighted_metrics: likewise; they take the sample weights into account.

    Attributes:
        losses, weights: one for each output; empty before `bind`.
        tracked: the metrics of the outputs; empty before `bind`.
        names: of the outputs; None before `bind`.

    Raises:
        TypeError, ValueError: an item is no loss, number or metric.
    """

    def __init__(
        self, loss: Any = None, loss_weights: Any = None, metrics: Any = None,
        weighted_metrics: Any = None,
    ) -> None:  # fmt: skip
        self.loss = _each(loss, losses.get)
        self.loss_weights = _each(loss_weights, _weight)
        self.given = [
            (_each(metrics, _metric), False),
            (_each(weighted_metrics, _metric), True),
        ]
        self.names: tuple[str, ...] | None = None
        self._outputs_have_keys = False
        self.losses: list[losses.Loss | None] = []
        self.weights: list[float] = []
        self.tracked: list[Tracked] = []

    def replaced(self, **others: Any) -> Objective:
        """Return an objective with another `loss`, or other `metrics`."""
        (plain, _), (weighted, _) = self.given
        arguments = {
            "loss": self.loss, "loss_weights": self.loss_weights, "metrics": plain,
            "weighted_metrics": weighted,
        }  # fmt: skip
        objective = Objective(**(arguments | others))
        if self.names is not None:
            objective.bind(Keys(self.names) if self._outputs_have_keys else self.names)
        return objective

    def loss_keys(self) -> list[str]:
        """Return the keys of the losses of the outputs, in the order of logs.

        As in Keras that is the order of the outputs; where these are a dictionary and the losses
        too, the order of the losses.
        """
        names = list(self.names or ())
        if self._outputs_have_keys and isinstance(self.loss, dict):
            names.sort(key=[*self.loss, *names].index)
        return [loss_key(name) for name in names]

    @property
    def metrics(self) -> list[Metric]:
        """All metrics, in the order given."""
        return [metric for given, _ in self.given for metric in _leaves(given)]

    @property
    def has_loss(self) -> bool:
        """True if any loss is given."""
        return bool(_leaves(self.loss))

    def bind(self, names: Sequence[str]) -> None:
        """Assign losses and metrics to the outputs of these names.

        Raises:
            ValueError: a list has another length, or a key is no name of an output; the objective
                is left as it was.
        """
        self._outputs_have_keys = isinstance(names, Keys)
        names = tuple(names)
        if names == self.names:
            return
        by_output = _by_output("loss", self.loss, names)
        weights = _by_output("loss_weights", self.loss_weights, names)
        tracked = self._tracked(names)
        _check_keys([item.key for item in tracked])
        self.losses = by_output
        self.weights = [1.0 if weight is None else weight for weight in weights]
        self.tracked, self.names = tracked, names

    def _tracked(self, names: tuple[str, ...]) -> list[Tracked]:
        plain: set[str] = set()
        tracked = []
        for given, weighted in self.given:
            argument = "weighted_metrics" if weighted else "metrics"
            for output, items in enumerate(_lists_by_output(argument, given, names)):
                prefix = f"{names[output]}_" if len(names) > 1 else ""
                for metric in items:
                    key = prefix + metric.name
                    if weighted and key in plain:
                        key = f"{prefix}weighted_{metric.name}"
                    if not weighted:
                        plain.add(key)
                    tracked.append(Tracked(key, metric, output, weighted))
        return tracked

    # Targets

    def check_targets(self, targets: Sequence[Array | None], outputs: Outputs) -> None:
        """Raise `ValueError` if the targets of the outputs cannot be right for the losses."""
        self.bind(outputs.names)
        for i, (loss, y) in enumerate(zip(self.losses, targets, strict=True)):
            if loss is None:
                continue
            if y is None:
                raise ValueError(
                    f"y has no targets for output {outputs.names[i]!r}, which has the loss "
                    f"{loss.name}: give them, or leave that loss out of compile."
                )
            loss.check_targets(y, outputs.shapes[i])

    def as_targets(self, output: int, y: Array, dtype: Any) -> Array:
        """Return targets in the dtype of the predictions; class labels of a sparse loss stay."""
        loss = self.losses[output]
        if y.dtype == dtype or loss is None or keeps_labels(loss):
            return y
        return y.astype(dtype)

    # The loss

    def compute(
        self,
        targets: Sequence[Array | None],
        outputs: Sequence[Tensor],
        weights: Sequence[Array | None] = (),
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the loss that is trained, and the loss of each output.

        Raises:
            ValueError: no output has a loss.
        """
        each: list[Tensor | None] = []
        total: Tensor | None = None
        for i, (loss, weight) in enumerate(zip(self.losses, self.weights, strict=True)):
            y = targets[i]
            if loss is None or y is None:
                each.append(None)
                continue
            given = {"sample_weight": weights[i]} if weights and weights[i] is not None else {}
            value = loss(y, outputs[i], **given)
            each.append(value)
            value = value if weight == 1 else value * weight
            total = value if total is None else total + value
        if total is None:
            raise ValueError(NO_LOSS)
        return total, each


NO_LOSS = (
    "there is no loss to compute: give compile a loss, such as loss='mse', or define compute_loss "
    "or train_step in the model."
)


def keeps_labels(loss: Any) -> bool:
    """Return whether a loss converts its targets itself: class labels stay integers."""
    return type(loss).as_targets is not losses.Loss.as_targets


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"compile: loss_weights must be numbers, received {value!r}.")
    return float(value)


def _each(given: Any, get: Callable[[Any], Any]) -> Any:
    """Return a nested structure with ``get(item)`` in place of each item; None stays."""
    if isinstance(given, dict):
        return {key: _each(item, get) for key, item in given.items()}
    if isinstance(given, list | tuple):
        return [_each(item, get) for item in given]
    return None if given is None else get(given)


def _leaves(given: Any) -> list[Any]:
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, list):
        return [leaf for item in given for leaf in _leaves(item)]
    return [] if given is None else [given]


def _by_output(argument: str, given: Any, names: tuple[str, ...]) -> list[Any]:
    """Return one item for each output."""
    if isinstance(given, dict):
        check_names(f"compile: {argument}", given, names)
        if len(names) == 1:
            return list(given.values()) or [None]
        return [given.get(name) for name in names]
    if isinstance(given, list):
        if len(given) != len(names):
            raise ValueError(
                f"compile: {argument} is a list of {len(given)}, and the model has {len(names)} "
                f"output{'s' * (len(names) > 1)}, {list(names)}: give one item for each (None for "
                "none), or a dictionary by name."
            )
        return given
    return [given] * len(names)


def _lists_by_output(argument: str, given: Any, names: tuple[str, ...]) -> list[list[Any]]:
    """Return a list of metrics for each output."""
    if not isinstance(given, dict):
        given = [as_list(given)] if len(names) == 1 else as_list(given) or None
    return [_leaves(item) for item in _by_output(argument, given, names)]


def _check_keys(keys: list[str]) -> None:
    for key in ("loss", *keys):
        if ["loss", *keys].count(key) > 1:
            raise ValueError(
                f"compile: two metrics are called {key!r}, or one is called 'loss': "
                "each needs a name of its own, such as Metric(name=...)."
            )
