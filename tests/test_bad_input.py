"""Bad input to a model: a clear error, and the model as it was."""

import os
import queue
import signal
import threading

import numpy as np
import pytest

import gpunet
from gpunet import functions
from gpunet.callbacks import Callback
from gpunet.layers import Conv2D, Dense, Flatten, Input
from gpunet.models import NonFiniteLossError, Sequential
from gpunet.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6, 6, 1)).astype("float32")
LABELS = rng.integers(0, 3, 40)
Y = np.eye(3, dtype="float32")[LABELS]


def model(loss="categorical_crossentropy", activation="softmax", units=3, optimizer="adam"):
    made = Sequential(
        [Input((6, 6, 1)), Conv2D(2, 3), Flatten(), Dense(units, activation=activation)]
    )
    made.compile(optimizer, loss, ["accuracy"])
    return made


def assert_refused(made, error, message, *args, **kwargs):
    """`fit` raises, and neither weights nor optimizer have changed."""
    before = made.get_weights()
    with pytest.raises(error, match=message):
        made.fit(*args, **{"verbose": 0} | kwargs)
    assert int(made.optimizer.iterations[0]) == 0
    for was, now in zip(before, made.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.repeat(X, 3, -1), Y, ValueError, r"\(6, 6, 1\).*received \(40, 6, 6, 3\)"),
        (X, Y[:30], ValueError, "40 rows of x.*30 of y"),
        (X, LABELS, ValueError, "sparse_categorical_crossentropy"),
        (X, Y[:, :2], ValueError, r"\(40, 2\)"),
        (X, Y * 2, ValueError, r"y|sum"),
        (X, None, ValueError, "targets y"),
        (None, Y, TypeError, "x is None"),
        (X[:0], Y[:0], ValueError, r"x is empty.*\(0, 6, 6, 1\)"),
        (X.astype(object), Y, TypeError, "dtype object"),
        ([[1.0], [1.0, 2.0]], Y, ValueError, "same shape"),
        (X.astype(str), Y, TypeError, "array of numbers"),
        (X.astype(complex), Y, TypeError, "complex"),
        (X, np.where(Y == 1, np.nan, Y), ValueError, "expects finite numbers in y"),
        (np.where(np.arange(40)[:, None, None, None] == 37, np.inf, X), Y, ValueError,
         r"x holds NaN or infinity, first in sample 37 \(batch 2 in order\)"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit(x, y, error, message):
    assert_refused(model(), error, message, x, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y, "categorical_crossentropy"),
        (LABELS + 1, "3"),
        (LABELS - 1, "-1"),
        (LABELS + 0.5, "whole numbers"),
    ],
)
def test_labels_that_do_not_fit_the_sparse_loss(y, message):
    assert_refused(model("sparse_categorical_crossentropy"), ValueError, message, X, y)


@pytest.mark.parametrize("loss", ["mse", "mae", "binary_crossentropy"])
@pytest.mark.parametrize("shape", [(40, 2), (40, 10), (40, 1, 1)])
def test_targets_never_broadcast(loss, shape):
    made = model(loss, activation="sigmoid", units=1)
    assert_refused(made, ValueError, r"\(40,|\(None, 1\)|\(batch, 1\)", X, np.ones(shape))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be an integer of at least 0, received -1"),
        ({"epochs": 1.5}, ValueError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, received 0"),
        ({"batch_size": -32}, ValueError, "batch_size"),
        ({"steps_per_epoch": 0}, ValueError, "steps"),
        ({"steps_per_epoch": 99}, ValueError, "99 steps"),
        ({"validation_split": 1.0}, ValueError, "below 1, received 1.0"),
        ({"validation_split": 1e-20}, ValueError, "leaves none to validate"),
        ({"validation_split": 0.5, "validation_data": (X, Y)}, ValueError, "received both"),
        ({"validation_data": (X, LABELS)}, ValueError, "sparse_categorical_crossentropy"),
        ({"initial_epoch": -1}, ValueError, "initial_epoch"),
        ({"validation_batch_size": 0, "validation_split": 0.5}, ValueError, "batch_size"),
        ({"validation_split": "0.1"}, ValueError, "validation_split"),
        ({"validation_split": np.ones(2) / 4}, ValueError, "validation_split"),
        ({"epochs": np.ones(2)}, ValueError, "fit: epochs"),
        ({"verbose": np.ones(2)}, ValueError, "verbose"),
        ({"callbacks": ["early"]}, TypeError, "Callback"),
        ({"verbose": 7}, ValueError, "verbose"),
    ],
)
def test_arguments_out_of_range(options, error, message):
    assert_refused(model(), error, message, X, Y, **options)


def test_fit_before_compile():
    made = Sequential([Dense(3)])
    for method in (made.fit, made.evaluate, made.train_on_batch, made.test_on_batch):
        with pytest.raises(RuntimeError, match=r"compile\(optimizer='adam'"):
            method(X, Y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adm", "mse"), "Unknown optimizer 'adm': did you mean 'adam'"),
        (("adam", "categorical_crossentopy"), "did you mean 'categorical_crossentropy'"),
        (("adam", "mse", ["acuracy"]), "did you mean 'accuracy'"),
        (("adam", "mse", ["mse", "mse"]), "two metrics are called 'mse'"),
    ],
)
def test_unknown_names_in_compile_leave_it_as_it_was(arguments, message):
    made = model()
    loss, optimizer = made.loss, made.optimizer
    with pytest.raises(ValueError, match=message):
        made.compile(*arguments)
    assert made.loss is loss
    assert made.optimizer is optimizer


def test_a_bad_batch_of_an_iterable_is_named():
    bad = X[20:].copy()
    bad[3] = np.nan
    batches = [(X[:20], Y[:20]), (bad, Y[20:])]
    with pytest.raises(ValueError, match=r"Batch 2 of the training data: x holds NaN.*sample 3"):
        model().fit(batches, verbose=0)
    with pytest.raises(ValueError, match=r"Batch 1 of the training data: expected a pair \(x, y\)"):
        model().fit([X[:20]], verbose=0)
    with pytest.raises(ValueError, match=r"Batch 1 of the training data.*sparse_categorical"):
        model().fit([(X[:20], LABELS[:20])], verbose=0)
    with pytest.raises(ValueError, match="yielded no batch"):
        model().fit([], verbose=0)
    with pytest.raises(ValueError, match="sets their size itself"):
        model().fit(batches, batch_size=20, verbose=0)
    with pytest.raises(ValueError, match="sets their size itself"):
        model().fit(X, Y, validation_data=batches, validation_batch_size=20, verbose=0)


def test_bad_data_leaves_an_unbuilt_model_unbuilt():
    made = Sequential([Flatten(), Dense(3, activation="softmax")])
    made.compile("adam", "categorical_crossentropy")
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        made.fit(X, LABELS, verbose=0)
    assert not made.built
    made.fit(X[:, :3], Y, verbose=0)  # of another shape


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_last_weights():
    """The first step of a huge learning rate leaves huge weights, the second sees the loss."""
    made = model(loss="mse", activation=None, optimizer=SGD(1e30))
    with pytest.raises(NonFiniteLossError, match=r"Epoch 1, batch [23]: the loss is (inf|nan)"):
        made.fit(X, Y, batch_size=10, verbose=0)
    assert all(np.isfinite(w).all() for w in made.get_weights())


def test_predictions_of_data_that_is_not_finite():
    made, x = model(), X.copy()
    x[1] = np.nan
    rows = made.predict(x, verbose=0)
    assert np.isnan(rows[1]).all()
    assert np.isfinite(np.delete(rows, 1, 0)).all()
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in sample 1"):
        made.evaluate(x, Y, verbose=0)


class Interrupt(Callback):
    """Sends an interrupt (Ctrl-C) from within a step of the optimizer."""

    def __init__(self, made, at_update):
        self.updates, self.at_update = 0, at_update
        self.original = made.optimizer.update
        made.optimizer.update = self.update
        self.weights = []

    def update(self, parameters, gradients, slots):
        self.updates += 1
        half = len(parameters) // 2
        if self.updates == self.at_update:
            os.kill(os.getpid(), signal.SIGINT)
        for part in (slice(None, half), slice(half, None)):  # two bytecode-separated halves
            parts = {name: slot[part] for name, slot in slots.items()}
            self.original(parameters[part], gradients[part], parts)
        self.weights.append(parameters.copy())


def test_an_interrupt_leaves_whole_steps_and_a_usable_model():
    made, reference = model(), model()
    reference.set_weights(made.get_weights())
    watch = Interrupt(made, at_update=3)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        made.fit(X, Y, batch_size=10, shuffle=False, verbose=0)
    assert signal.getsignal(signal.SIGINT) is handler
    assert watch.updates == 3
    for step in range(3):
        rows = slice(10 * step, 10 * step + 10)
        reference.train_on_batch(X[rows], Y[rows])
    for ours, expected in zip(made.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert int(made.optimizer.iterations[0]) == 3
    made.fit(X, Y, verbose=0)
    assert np.isfinite(made.predict(X, verbose=0)).all()


def test_an_interrupt_of_train_on_batch_waits_for_the_update():
    made = model()
    handler = signal.getsignal(signal.SIGINT)
    watch = Interrupt(made, at_update=1)
    with pytest.raises(KeyboardInterrupt):
        made.train_on_batch(X, Y)
    assert len(watch.weights) == 1
    np.testing.assert_array_equal(watch.weights[0], made._parameters.values)
    assert signal.getsignal(signal.SIGINT) is handler


class At(Callback):
    """Calls a function of no arguments before a training batch."""

    def __init__(self, batch, function):
        self.batch, self.function = batch, function

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            self.function()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_between_steps_comes_at_once():
    made, after = model(), []
    handler = signal.getsignal(signal.SIGINT)

    def interrupted():
        interrupt()
        after.append(1)

    with pytest.raises(KeyboardInterrupt):
        made.fit(X, Y, batch_size=10, callbacks=[At(2, interrupted)], verbose=0)
    assert not after
    assert int(made.optimizer.iterations[0]) == 2
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture
def own_handler():
    """Let a handler that only counts be that of interrupts; return what it was called with."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda *received: seen.append(received))
    yield seen
    signal.signal(signal.SIGINT, before)


def test_a_handler_of_ones_own_is_called_after_the_update_and_training_goes_on(own_handler):
    made, seen_within = model(), []
    watch = Interrupt(made, at_update=3)
    update = made.optimizer.update

    def count(*arguments):
        update(*arguments)
        seen_within.append(len(own_handler))

    made.optimizer.update = count
    made.fit(X, Y, batch_size=10, callbacks=[At(1, interrupt)], verbose=0)
    assert watch.updates == 4
    assert seen_within == [0, 1, 1, 2]
    assert [number for number, _ in own_handler] == [signal.SIGINT] * 2


def test_a_handler_that_a_callback_sets_stays(own_handler):
    def other(*received):
        pass

    made = model()
    at = At(1, lambda: signal.signal(signal.SIGINT, other))
    made.fit(X, Y, batch_size=10, callbacks=[at], epochs=2, verbose=0)
    assert signal.getsignal(signal.SIGINT) is other


@pytest.mark.parametrize("usual", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_no_handler_of_python_takes_is_left_alone(usual, own_handler):
    signal.signal(signal.SIGINT, usual)
    seen = []
    at = At(1, lambda: seen.append(signal.getsignal(signal.SIGINT)))
    model().fit(X, Y, batch_size=10, callbacks=[at], verbose=0)
    assert [*seen, signal.getsignal(signal.SIGINT)] == [usual, usual]


def test_an_update_within_an_update_is_held_as_a_whole(own_handler):
    outer, inner, seen_within = model(), model(), []
    update = outer.optimizer.update

    def train_inner(*arguments):
        inner.train_on_batch(X, Y)
        seen_within.append(len(own_handler))
        update(*arguments)

    outer.optimizer.update = train_inner
    Interrupt(inner, at_update=1)
    outer.train_on_batch(X, Y)
    assert seen_within == [0]
    assert len(own_handler) == 1


def test_training_in_another_thread_does_not_hold_the_main_threads_interrupts(own_handler):
    made, seen_within = model(), []
    update = made.optimizer.update

    def interrupt_main(*arguments):
        done = threading.Event()
        requests.put(done)
        done.wait()
        seen_within.append(len(own_handler))
        update(*arguments)

    requests = queue.Queue()
    made.optimizer.update = interrupt_main
    thread = threading.Thread(target=made.train_on_batch, args=(X, Y))
    thread.start()
    done = requests.get()
    interrupt()
    done.set()
    thread.join()
    assert seen_within == [1]


def test_an_error_in_a_step_leaves_the_weights_of_the_step_before():
    class Fails(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                raise ZeroDivisionError

    made = model()
    with pytest.raises(ZeroDivisionError):
        made.fit(X, Y, batch_size=10, callbacks=[Fails()], verbose=0)
    assert int(made.optimizer.iterations[0]) == 2
    gpunet.check_gradients(made, X[:2])


def test_targets_never_broadcast_in_a_loss_of_ones_own():
    def squared(y_true, y_pred):
        return functions.square(y_pred - y_true)

    made = model(squared, activation=None, units=1)
    y = X[:, 0, 0, 0]  # a column, as the predictions are
    expected = np.mean((made.predict(X, verbose=0)[:, 0] - y) ** 2)
    assert made.evaluate(X, y, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    outer = model(lambda y, p: p @ p.T, activation=None)
    assert_refused(outer, ValueError, r"received shape \(32, 32\)", X, Y)


def test_a_metric_that_does_not_fit_is_told_before_the_first_update():
    made = model("sparse_categorical_crossentropy")
    made.compile("adam", "sparse_categorical_crossentropy", ["categorical_accuracy"])
    assert_refused(made, ValueError, "categorical_accuracy expects one-hot", X, LABELS)


def test_a_gradient_that_is_not_finite_changes_nothing():
    def root(y_true, y_pred):
        return functions.mean(functions.sqrt(functions.square(y_pred - y_pred.value)), axis=-1)

    made = model(root)
    with np.errstate(all="ignore"):
        assert_refused(made, NonFiniteLossError, "a gradient is nan", X, Y)


def test_one_optimizer_for_two_models():
    optimizer = SGD(0.1)
    first, second = model(optimizer=optimizer), model(optimizer=optimizer)
    first.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="give each model an optimizer of its own"):
        second.fit(X, Y, verbose=0)
    first.compile(optimizer, "categorical_crossentropy")
    first.fit(X, Y, verbose=0)


def test_a_failed_fit_leaves_random_numbers_and_an_unbuilt_model_alone():
    def weights(fails):
        gpunet.random.seed(3)
        made = Sequential([Flatten(), Dense(3, activation="softmax")])
        made.compile("adam", "categorical_crossentropy")
        for options in ({"validation_data": (X, LABELS)}, {"verbose": 9}) if fails else ():
            with pytest.raises(ValueError, match=r"sparse|verbose"):
                made.fit(X, Y, **{"verbose": 0} | options)
            assert not made.built
            assert made.history is None
        made.fit(X, Y, verbose=0)
        return made.get_weights()[0]

    np.testing.assert_array_equal(weights(fails=True), weights(fails=False))


def test_memory_that_runs_out_while_slots_are_made_leaves_a_usable_model(monkeypatch):
    made = model()
    with monkeypatch.context() as patch:
        patch.setattr(type(made.optimizer), "build_buffer", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.fit(X, Y, verbose=0)
    made.fit(X, Y, verbose=0)


def test_an_update_that_fails_is_not_counted():
    made = model()
    made.train_on_batch(X, Y)
    made.optimizer.update = lambda *arguments: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.train_on_batch(X, Y)
    assert int(made.optimizer.iterations[0]) == 1


def test_masked_arrays_and_single_numbers():
    masked = np.ma.masked_array(X, X > 0)
    assert_refused(model(), TypeError, "masked array", masked, Y)
    assert_refused(model(), ValueError, "received one number", np.float32(1), Y)


def test_a_kernel_larger_than_an_input_of_unknown_size_names_the_layer():
    made = Sequential([Input((None, 6, 1)), Conv2D(2, 3), Conv2D(2, 3)])
    made.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Layer 'conv2d_1' \(Conv2D\): height.*spans 3"):
        made.fit(X[:, :3], np.ones((40, 1, 2, 2)), verbose=0)
