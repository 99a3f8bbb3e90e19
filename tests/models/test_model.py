"""compile, fit, evaluate, predict and their relatives."""

import numpy as np
import pytest

import gpunet
from gpunet import functions, losses, metrics, optimizers
from gpunet.callbacks import Callback
from gpunet.layers import Dense, Dropout, Input, Layer
from gpunet.models import Model, Sequential

rng = np.random.default_rng(0)
X = rng.normal(size=(100, 6)).astype("float32")
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
Y = np.eye(3, dtype="float32")[LABELS]


def classifier(optimizer="adam", loss="categorical_crossentropy", metrics=("accuracy",)):
    model = Sequential([Input((6,)), Dense(8, activation="relu"), Dense(3, activation="softmax")])
    model.compile(optimizer, loss, list(metrics))
    return model


def fresh(seed=0, **options):
    gpunet.random.seed(seed)
    return classifier(**options)


def test_fit_learns_and_its_history_has_keras_keys():
    model = fresh(optimizer=optimizers.Adam(0.02))
    history = model.fit(X, Y, batch_size=16, epochs=30, verbose=0, validation_split=0.2)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == list(range(30))
    assert all(len(values) == 30 for values in history.history.values())
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["accuracy"][-1] > 0.9
    assert model.history is history


def test_one_seed_gives_one_run_to_the_bit():
    runs = []
    for _ in range(2):
        model = fresh(seed=3)
        model.fit(X, Y, epochs=3, verbose=0)
        runs.append(model.get_weights())
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_is_the_optimizers_formula():
    """One step of SGD on one dense layer, written out."""
    model = Sequential([Input((6,)), Dense(3)])
    model.compile(optimizers.SGD(0.1), "mse")
    kernel, bias = model.get_weights()
    error = X @ kernel + bias - Y
    loss = model.train_on_batch(X, Y)
    assert loss == pytest.approx((error**2).mean(), rel=1e-5)
    kernel_grad = 2 * X.T @ error / error.size
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.1 * kernel_grad, atol=1e-6)
    bias_grad = 2 * error.sum(0) / error.size
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.1 * bias_grad, atol=1e-6)


def test_the_loss_of_an_epoch_is_the_mean_over_samples_not_batches():
    model = fresh(optimizer=optimizers.SGD(0.0))
    expected = model.evaluate(X, Y, verbose=0)
    history = model.fit(X, Y, batch_size=33, verbose=0).history  # 33 + 33 + 33 + 1
    assert history["loss"][0] == pytest.approx(expected[0], rel=1e-5)
    assert history["accuracy"][0] == expected[1]


def test_evaluate_agrees_with_predict():
    model = classifier()
    probabilities = model.predict(X, verbose=0)
    assert type(probabilities) is np.ndarray
    assert probabilities.shape == (100, 3)
    loss, accuracy = model.evaluate(X, Y, batch_size=7, verbose=0)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(100), LABELS]).mean(), rel=1e-4)
    assert accuracy == (probabilities.argmax(1) == LABELS).mean()
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == {
        "loss": pytest.approx(loss), "accuracy": accuracy
    }  # fmt: skip


def test_without_metrics_evaluate_returns_the_loss_alone():
    model = classifier(metrics=())
    assert isinstance(model.evaluate(X, Y, verbose=0), float)
    assert isinstance(model.train_on_batch(X, Y), float)
    assert model.test_on_batch(X, Y) == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)


def test_batches_do_not_change_predictions_of_a_sample():
    model = classifier()
    whole = model.predict(X, batch_size=100, verbose=0)
    np.testing.assert_allclose(model.predict(X, batch_size=9, verbose=0), whole, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(X), whole, atol=1e-6)


def test_validation_split_takes_the_last_samples_unshuffled():
    model = fresh(optimizer=optimizers.SGD(0.0))
    history = model.fit(X, Y, validation_split=0.25, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(
        model.evaluate(X[75:], Y[75:], verbose=0)[0], rel=1e-5
    )


def test_validation_data_as_arrays_and_as_batches():
    model = fresh(optimizer=optimizers.SGD(0.0))
    expected = model.evaluate(X[:20], Y[:20], verbose=0)[0]
    for validation in [(X[:20], Y[:20]), [(X[:10], Y[:10]), (X[10:20], Y[10:20])]]:
        history = model.fit(X, Y, validation_data=validation, verbose=0).history
        assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_shuffling_changes_the_order_from_epoch_to_epoch():
    seen = []

    class Watch(Layer):
        def call(self, x):
            if len(x) == 20:  # not the one sample that finds the output's shape
                seen.append(x.value[:, 0].copy())
            return x

    model = Sequential([Input((1,)), Watch(), Dense(1)])
    model.compile("sgd", "mse")
    x = np.arange(20, dtype="float32").reshape(-1, 1) / 20
    model.fit(x, x, batch_size=20, epochs=2, verbose=0)
    first, second = seen
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first), x[:, 0])
    seen.clear()
    model.fit(x, x, batch_size=20, shuffle=False, verbose=0)
    np.testing.assert_array_equal(seen[0], x[:, 0])


def batches(size=20):
    for start in range(0, 100, size):
        yield X[start : start + size], Y[start : start + size]


def endless():
    while True:
        yield from batches()


def test_iterables_and_generators_train_like_arrays_in_order():
    results = []
    for data in [(X, Y), (list(batches()),), (batches(),), (iter(list(batches())),)]:
        model = fresh()
        size = {"batch_size": 20} if len(data) == 2 else {}
        model.fit(*data, shuffle=False, verbose=0, **size)
        results.append(model.get_weights()[0])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_endless_generator_goes_on_from_epoch_to_epoch():
    twice, once = fresh(), fresh()
    twice.fit(endless(), epochs=2, steps_per_epoch=5, verbose=0)
    once.fit(endless(), epochs=1, steps_per_epoch=10, verbose=0)
    np.testing.assert_array_equal(twice.get_weights()[0], once.get_weights()[0])


def test_steps_limit_arrays_and_evaluation_too():
    model = fresh(optimizer=optimizers.SGD(0.0))
    expected = model.evaluate(X[:40], Y[:40], verbose=0)[0]
    history = model.fit(X, Y, batch_size=20, steps_per_epoch=2, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(endless(), steps=2, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    assert model.predict((x for x, _ in batches()), steps=2, verbose=0).shape == (40, 3)


def test_a_generator_that_is_used_up_says_so():
    with pytest.raises(ValueError, match="used up after one pass"):
        classifier().fit(batches(), epochs=2, verbose=0)
    with pytest.raises(ValueError, match="ended after 5 batches of an epoch of 7"):
        classifier().fit(batches(), steps_per_epoch=7, verbose=0)


def test_hooks_come_in_keras_order():
    names = []

    class Order(Callback):
        def on_train_begin(self, logs=None):
            names.append("train_begin")

        def on_epoch_begin(self, epoch, logs=None):
            names.append(f"epoch_begin {epoch}")

        def on_train_batch_begin(self, batch, logs=None):
            names.append(f"batch_begin {batch}")

        def on_train_batch_end(self, batch, logs=None):
            names.append(f"batch_end {batch} {sorted(logs)[:2]}")

        def on_test_begin(self, logs=None):
            names.append("test_begin")

        def on_test_batch_end(self, batch, logs=None):
            names.append(f"test_batch_end {batch}")

        def on_test_end(self, logs=None):
            names.append("test_end")

        def on_epoch_end(self, epoch, logs=None):
            names.append(f"epoch_end {epoch} {sorted(logs)}")

        def on_train_end(self, logs=None):
            names.append("train_end")

    order = Order()
    model = classifier()
    model.fit(
        X, Y, batch_size=50, epochs=3, initial_epoch=2, callbacks=[order], verbose=0,
        validation_data=(X[:10], Y[:10]),
    )  # fmt: skip
    assert names == [
        "train_begin", "epoch_begin 2",
        "batch_begin 0", "batch_end 0 ['accuracy', 'loss']",
        "batch_begin 1", "batch_end 1 ['accuracy', 'loss']",
        "test_begin", "test_batch_end 0", "test_end",
        "epoch_end 2 ['accuracy', 'loss', 'val_accuracy', 'val_loss']", "train_end",
    ]  # fmt: skip
    assert order.model is model
    assert order.params["epochs"] == 3
    assert order.params["steps"] == 2


def test_predict_calls_its_hooks():
    seen = []

    class Outputs(Callback):
        def on_predict_batch_end(self, batch, logs=None):
            seen.append(logs["outputs"].shape)

    classifier().predict(X, batch_size=60, callbacks=[Outputs()], verbose=0)
    assert seen == [(60, 3), (40, 3)]


def test_a_callback_can_stop_training_and_set_the_learning_rate():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.0
            self.model.stop_training = epoch == 3

    model = classifier()
    history = model.fit(X, Y, epochs=10, callbacks=Stop(), verbose=0)
    assert history.epoch == [0, 1, 2, 3]
    assert float(model.optimizer.learning_rate) == 0.0


def test_sparse_labels_and_one_hot_labels_train_alike():
    one_hot, sparse = fresh(), fresh(loss="sparse_categorical_crossentropy")
    one_hot.fit(X, Y, verbose=0, epochs=2, shuffle=False)
    sparse.fit(X, LABELS, verbose=0, epochs=2, shuffle=False)
    for a, b in zip(one_hot.get_weights(), sparse.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_uint8_inputs_and_float64_inputs_are_cast():
    model = classifier()
    pixels = rng.integers(0, 255, (100, 6)).astype("uint8")
    np.testing.assert_array_equal(
        model.predict(pixels, verbose=0), model.predict(pixels.astype("float64"), verbose=0)
    )
    assert model.predict(pixels, verbose=0).dtype == np.float32


def test_custom_loss_and_metric_functions():
    def squared(y_true, y_pred):
        return functions.mean(functions.square(y_pred - y_true), axis=-1)

    def largest(y_true, y_pred):
        return y_pred.max(axis=-1)

    model = fresh(loss=squared, metrics=[largest, metrics.MeanSquaredError(), "acc"])
    history = model.fit(X, Y, verbose=0).history
    assert list(history) == ["loss", "largest", "mean_squared_error", "acc"]
    # The metric sees each batch as the loss does; they differ by rounding alone.
    assert history["loss"][0] == pytest.approx(history["mean_squared_error"][0], rel=1e-4)


class TwoPaths(Model):
    def __init__(self):
        super().__init__()
        self.left, self.right = Dense(4, activation="tanh"), Dense(4)
        self.drop, self.head = Dropout(0.2), Dense(3, activation="softmax")

    def call(self, x):
        return self.head(self.drop(self.left(x) * self.right(x)))


def test_a_model_subclass_trains():
    gpunet.random.seed(0)
    model = TwoPaths()
    model.compile(optimizers.Adam(0.02), "categorical_crossentropy", ["accuracy"])
    history = model.fit(X, Y, epochs=30, verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    np.testing.assert_array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))
    gpunet.check_gradients(model, X[:4], training=True)


def test_the_history_of_a_second_fit_is_its_own():
    model = classifier()
    model.fit(X, Y, epochs=2, verbose=0)
    assert model.fit(X, Y, epochs=3, initial_epoch=2, verbose=0).epoch == [2]


def test_the_loss_can_be_an_instance():
    model = classifier(loss=losses.CategoricalCrossentropy(label_smoothing=0.1))
    assert model.evaluate(X, Y, verbose=0)[0] > 0


def test_evaluate_is_exact_where_probabilities_are_0():
    """The loss of a softmax comes from its logits in `evaluate` too, not from clipped outputs."""
    model = Sequential([Input((2,)), Dense(2, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    model.set_weights([np.array([[500.0, 0], [0, 0]]), np.zeros(2)])
    assert model.evaluate(np.ones((1, 2)), np.array([[0.0, 1.0]]), verbose=0) == 500.0


def test_a_custom_loss_gets_targets_of_the_predictions_dtype():
    def hinge(y_true, y_pred):
        return functions.mean(functions.maximum(1 - (2 * y_true - 1) * y_pred, 0), axis=-1)

    model = fresh(loss=hinge)
    losses = [
        model.evaluate(X, Y.astype(dtype), verbose=0)[0] for dtype in ("f4", "f8", "u1", "i8")
    ]
    assert losses == [losses[0]] * 4
    model.fit(X, Y.astype("f8"), verbose=0)


def test_an_epoch_of_fewer_steps_is_gone_on_from():
    seen = []

    class Watch(Layer):
        def call(self, x):
            seen.append(float(x.value[0, 0]))
            return x

    model = Sequential([Input((1,)), Watch(), Dense(1)])
    model.compile("sgd", "mse")
    x = np.arange(6, dtype="float32").reshape(-1, 1)
    seen.clear()
    model.fit(x, x, batch_size=2, epochs=2, steps_per_epoch=2, shuffle=False, verbose=0)
    assert seen[-4:] == [0, 2, 4, 0]


def test_what_a_callback_adds_to_the_logs_is_in_the_history():
    class Rate(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["learning_rate"] = 0.5

    history = classifier().fit(X, Y, epochs=2, callbacks=[Rate()], verbose=0).history
    assert history["learning_rate"] == [0.5, 0.5]


def test_stop_training_in_a_batch_stops_there():
    steps = []

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(batch)
            self.model.stop_training = batch == 1

    classifier().fit(X, Y, batch_size=10, epochs=3, callbacks=[Stop()], verbose=0)
    assert steps == [0, 1]


def test_batches_may_be_lists_or_a_sequence():
    class Sequence:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return X[i * 50 : i * 50 + 50], Y[i * 50 : i * 50 + 50]

    pair = [[X[:50], Y[:50]], [X[50:], Y[50:]]]
    results = []
    for batches in (Sequence(), pair):
        model = fresh()
        history = model.fit(batches, validation_data=pair, verbose=0).history
        results.append((model.get_weights()[0], history["val_loss"]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
