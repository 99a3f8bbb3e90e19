"""Callbacks of `fit`, `evaluate` and `predict`, under Keras' names.

The progress display, which is a callback too, is `gpunet.progress.ProgressLine`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from gpunet.naming import find

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback", "check_callbacks"]

Logs: TypeAlias = dict[str, Any]


class Callback:
    """Base class of callbacks: a subclass defines some hooks.

    ``logs`` is a dictionary of the loss and metrics so far: floats by name. At the end of an
    epoch it holds those of the validation too, as ``val_loss``, and at the end of a batch the
    number of its samples, as ``size``. All callbacks get the same one.

    Attributes:
        model: the model that is trained, evaluated or asked.
        params: what the loop knows beforehand, such as ``epochs``, ``steps`` (None where it
            is not known) and ``verbose``.

    >>> class StopEarly(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         if logs["loss"] < 0.1:
    ...             self.model.stop_training = True
    """

    model: Any = None
    params: Mapping[str, Any] = {}
    _active = True  # False: lists skip it
    _only_counts = False  # True: hooks of batches run together may be called one after another

    def set_model(self, model: Any) -> None:
        """Set the model of the hooks."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set the params of the hooks."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when `fit` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when `fit` ends."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch begins; the first is 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch and its validation have ended."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch; another name for `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch; another name for `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch; the first of an epoch is 0."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when `evaluate`, or the validation in `fit`, begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when `evaluate`, or the validation in `fit`, ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `evaluate` or of the validation in `fit`."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `evaluate` or of the validation in `fit`."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when `predict` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when `predict` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `predict`."""


_HOOKS = {name: getattr(Callback, name) for name in vars(Callback) if name.startswith("on_")}

# The base class' hooks for training batches call these.
_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def _defines(callback: Callback, hook: str) -> bool:
    """Return whether a callback does anything at this hook: its method is not the base class'."""
    method = getattr(getattr(callback, hook), "__func__", None)
    if method is _HOOKS[hook] and hook in _ALIASES:
        return _defines(callback, _ALIASES[hook])
    return method is not _HOOKS[hook]


class CallbackList(Callback):
    """Several callbacks as one: each hook calls theirs, in order.

    Arguments:
        callbacks: one callback, a list of them, or None.
        model: of the callbacks.
        params: of the callbacks.

    Attributes:
        wants_train_batches, wants_test_batches, wants_predict_batches: whether any of them does
            something at these batches. If none does, a loop need not make the logs for them;
            calling the hooks costs next to nothing.
        wants_each_train_batch, wants_each_test_batch, wants_each_predict_batch: whether any but the
            progress line does. If none does, nothing is changed between batches, and several may
            be run at once.

    Raises:
        TypeError: if one of them is no callback.
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        *,
        model: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.callbacks = check_callbacks(callbacks)
        active = [callback for callback in self.callbacks if callback._active]
        self._calls = {
            hook: [getattr(c, hook) for c in active if _defines(c, hook)] for hook in _HOOKS
        }
        train, test, predict = (_listening(active, loop) for loop in ("train", "test", "predict"))
        self.wants_train_batches = bool(train)
        self.wants_test_batches, self.wants_predict_batches = bool(test), bool(predict)
        self.wants_each_train_batch = not all(callback._only_counts for callback in train)
        self.wants_each_test_batch = not all(callback._only_counts for callback in test)
        self.wants_each_predict_batch = not all(callback._only_counts for callback in predict)
        if model is not None:
            self.set_model(model)
        self.set_params(params or {})

    def set_model(self, model: Any) -> None:
        """Set the model of all callbacks."""
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set the params of all callbacks."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)


def _listening(callbacks: Iterable[Callback], loop: str) -> list[Callback]:
    """Return the callbacks that do something at the batches of a loop."""
    hooks = f"on_{loop}_batch_begin", f"on_{loop}_batch_end"
    return [callback for callback in callbacks if any(_defines(callback, hook) for hook in hooks)]


def check_callbacks(callbacks: Callback | Iterable[Callback] | None) -> list[Callback]:
    """Return one callback, several, or None as a list.

    Raises:
        TypeError: if one of them is no callback.
    """
    if callbacks is None:
        return []
    found: list[Any] = [callbacks]
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, Callback):
        found = list(callbacks)
    for i, callback in enumerate(found):
        if not isinstance(callback, Callback):
            fix = (
                "subclass gpunet.callbacks.Callback, or use LambdaCallback(on_epoch_end=function)."
            )
            if isinstance(callback, type) and issubclass(callback, Callback):
                fix = f"pass an instance, {callback.__name__}()."
            raise TypeError(f"callbacks[{i}] must be a Callback, received {callback!r}: {fix}")
    return found


def _forward(hook: str) -> Callable[..., None]:
    def call_all(self: CallbackList, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        for call in self._calls[hook]:
            call(logs)

    def call_all_at(self: CallbackList, position: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        for call in self._calls[hook]:
            call(position, logs)

    forward = call_all_at if "epoch" in hook or "batch" in hook else call_all
    forward.__name__, forward.__doc__ = hook, _HOOKS[hook].__doc__
    return forward


for _hook in _HOOKS:
    setattr(CallbackList, _hook, _forward(_hook))


class History(Callback):
    """Keeps the logs of each epoch; `fit` returns one.

    Attributes:
        history: a list for each name in the logs, with one value an epoch.
        epoch: the numbers of the epochs; the first is 0.
        model: the model, while there is another reference to it.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self._model: Callable[[], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_model": None}  # a weak reference cannot be copied

    # The model keeps its history: a reference back would keep both until Python collects cycles.
    @property
    def model(self) -> Any:
        """The model, None once it is gone."""
        return self._model and self._model()

    @model.setter
    def model(self, model: Any) -> None:
        self._model = None if model is None else weakref.ref(model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin a new list of epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the logs of this epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback of functions given by the names of the hooks.

    Arguments:
        hooks: functions with the hooks' arguments, such as ``on_epoch_end=function``.

    Raises:
        ValueError: if there is no hook of a name.
        TypeError: if what is given for a hook cannot be called.

    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> callback.on_epoch_end(0, {"loss": 0.25})
    0 0.25
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        for hook, function in hooks.items():
            find("hook of LambdaCallback", hook, _HOOKS)
            if function is None:
                continue
            if not callable(function):
                raise TypeError(
                    f"LambdaCallback expects a function for {hook}, received {function!r}: "
                    f"for example {hook}=lambda *arguments: print(arguments)."
                )
            setattr(self, hook, function)
