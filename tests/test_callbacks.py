"""Callbacks: the hooks, the list that calls them, the history."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from gpunet.callbacks import Callback, CallbackList, History, LambdaCallback, check_callbacks
from gpunet.progress import ProgressLine

POSITIONED = ["epoch_begin", "epoch_end", "batch_begin", "batch_end"] + [
    f"{loop}_batch_{when}" for loop in ("train", "test", "predict") for when in ("begin", "end")
]
UNPOSITIONED = [
    f"{loop}_{when}" for loop in ("train", "test", "predict") for when in ("begin", "end")
]


def test_list_calls_each_hook_of_each_callback_in_order() -> None:
    seen: list[Any] = []

    def recorder(name: str) -> LambdaCallback:
        return LambdaCallback(
            **{
                f"on_{hook}": lambda *arguments, hook=hook: seen.append((name, hook, *arguments))
                for hook in POSITIONED + UNPOSITIONED
            }
        )

    listed = CallbackList([recorder("a"), Callback(), recorder("b")])
    logs = {"loss": 1.0}
    for hook in POSITIONED:
        getattr(listed, f"on_{hook}")(7, logs)
        assert seen == [("a", hook, 7, logs), ("b", hook, 7, logs)]
        seen.clear()
    for hook in UNPOSITIONED:
        getattr(listed, f"on_{hook}")(logs)
        assert seen == [("a", hook, logs), ("b", hook, logs)]
        seen.clear()
    listed.on_train_begin()
    assert seen == [("a", "train_begin", {}), ("b", "train_begin", {})]


def test_callbacks_share_the_same_logs() -> None:
    history = History()
    adds = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(extra=epoch))
    CallbackList([adds, history]).on_epoch_end(3, {"loss": 0.5})
    assert history.history == {"loss": [0.5], "extra": [3]}


def test_batch_aliases_are_called_for_training_batches_only() -> None:
    class Counts(Callback):
        calls: tuple[str, ...] = ()

        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.calls += (f"begin {batch}",)

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.calls += (f"end {batch}",)

    counts = Counts()
    listed = CallbackList(counts)
    assert listed.wants_train_batches
    assert not listed.wants_test_batches
    listed.on_train_batch_begin(0)
    listed.on_train_batch_end(0)
    listed.on_test_batch_end(1)
    listed.on_predict_batch_end(1)
    assert counts.calls == ("begin 0", "end 0")


@pytest.mark.parametrize("loop", ["train", "test", "predict"])
def test_list_knows_which_batches_are_wanted(loop: str) -> None:
    def wants(*listed: Callback) -> set[str]:
        combined = CallbackList(listed)
        return {
            name
            for name in ("train", "test", "predict")
            if getattr(combined, f"wants_{name}_batches")
        }

    by_function = LambdaCallback(**{f"on_{loop}_batch_end": lambda batch, logs: None})
    by_class = type("Mine", (Callback,), {f"on_{loop}_batch_begin": lambda *arguments: None})()
    assert wants(History(), by_function) == {loop}
    assert wants(by_class) == {loop}
    assert wants(History(), LambdaCallback(on_epoch_end=print), ProgressLine(0)) == set()
    assert wants(ProgressLine(2)) == {"train", "test", "predict"}


def test_model_and_params_reach_all_callbacks() -> None:
    first, second, model = Callback(), Callback(), object()
    listed = CallbackList([first, second], model=model, params={"epochs": 3})
    assert first.model is second.model is listed.model is model
    assert first.params == second.params == listed.params == {"epochs": 3}
    assert Callback().params == {}


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(TypeError, match=r"callbacks\[1\] must be a Callback, received 3.*subclass"):
        CallbackList([History(), 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"pass an instance, History\(\)"):
        CallbackList([History])  # type: ignore[list-item]


def test_lambda_callback_refuses_unknown_hooks_and_what_cannot_be_called() -> None:
    with pytest.raises(ValueError, match="did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="a function for on_epoch_end, received 3"):
        LambdaCallback(on_epoch_end=3)  # type: ignore[arg-type]
    LambdaCallback(on_epoch_end=None).on_epoch_end(0, {})


def test_history_keeps_a_list_for_each_name() -> None:
    history = History()
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 0.5})
    history.on_epoch_end(1, {"loss": 0.25, "val_loss": 0.75})
    assert history.epoch == [0, 1]
    assert history.history == {"loss": [0.5, 0.25], "val_loss": [0.75]}


def test_a_history_keeps_no_model_and_can_be_pickled() -> None:
    class Owner:
        pass

    history, owner = History(), Owner()
    history.set_model(owner)
    history.on_epoch_end(0, {"loss": 1.0})
    assert history.model is owner
    assert pickle.loads(pickle.dumps(history)).history == {"loss": [1.0]}
    del owner
    assert history.model is None


@pytest.mark.parametrize("callbacks", [None, (), Callback(), [Callback()]])
def test_callbacks_as_a_list(callbacks: Any) -> None:
    found = check_callbacks(callbacks)
    assert type(found) is list
    assert len(found) == (1 if callbacks else 0)
