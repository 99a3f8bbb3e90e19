"""Models: what is compiled, trained, evaluated and asked to predict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import Any

import numpy as np

from gpunet import losses, metrics, optimizers, random
from gpunet.arguments import positive_integer
from gpunet.autograd import Array, Tensor, no_grad
from gpunet.backend import array_module, asarray, get_array_module, to_numpy
from gpunet.callbacks import Callback, CallbackList, History
from gpunet.layers.building import unbuilt_on_error
from gpunet.models.functional import Functional
from gpunet.primitives.precision import check_precision, use_precision
from gpunet.progress import ProgressLine
from gpunet.training import batches as data
from gpunet.training import loops as running
from gpunet.training.arguments import as_list, as_metrics, check_initial_epoch, result
from gpunet.training.batches import Batches
from gpunet.training.capture.steps import CaptureError, DeviceSteps
from gpunet.training.logs import Scores
from gpunet.training.memory import memory_for
from gpunet.training.state import FlatParameters
from gpunet.training.step import train_step

__all__ = ["Model"]


class Model(Functional):
    """A layer that can be trained: of layers in its attributes, which its `call` uses.

    `Sequential` is one that is written for you; for other shapes of network write a subclass.

    >>> from gpunet.layers import Dense
    >>> class TwoPaths(Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.left, self.right = Dense(1), Dense(1, activation="tanh")
    ...
    ...     def call(self, x):
    ...         return self.left(x) + self.right(x)
    >>> model = TwoPaths()
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, **options: Any) -> None:
        super().__init__(inputs, outputs, **options)
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: list[metrics.Metric] = []
        self.history: History | None = None
        self.stop_training = False  # a callback sets it to end `fit` after the epoch
        self.capture: bool | str = "auto"
        self.precision: str | None = None
        self._parameters: FlatParameters | None = None
        self._steps_on_gpu: DeviceSteps | None = None
        self._compiled_again = False  # with an optimizer that has updated this model before

    def __getstate__(self) -> dict[str, Any]:
        # Streams and graphs of a device can be neither copied nor pickled; they are made anew.
        return super().__getstate__() | {"_steps_on_gpu": None}

    # Setting up

    def compile(
        self,
        optimizer: Any,
        loss: Any,
        metrics: Any = (),
        *,
        fuse: bool = True,
        capture: bool | str = "auto",
        precision: str | None = None,
    ) -> None:
        """Choose how the model is trained.

        Arguments:
            optimizer: a name ('sgd', 'adam') or an instance of `gpunet.optimizers`.
            loss: a name or an instance of `gpunet.losses`, or a function of ``(y_true, y_pred)``.
            metrics: names, instances of `gpunet.metrics` or functions of ``(y_true, y_pred)``.
            fuse: whether neighbouring layers of a `Sequential` may run as one primitive, such as
                a convolution and its pooling; the results agree to rounding.
            capture: on a GPU, whether steps of training are captured as one graph of kernels, which
                is then run again, with the same bits; 'auto' where that can be, with a warning
                where it cannot, and True to have an error in place of the warning.
            precision: of products on a GPU, 'fp32', 'tf32' or 'bf16', while this model is trained
                or asked; None for that of `gpunet.set_precision`.

        Raises:
            ValueError: for an unknown name, or a precision that the GPU does not have; the model is
                then compiled as before.
        """
        if capture not in (True, False, "auto"):
            raise ValueError(
                f"compile: capture must be 'auto', True or False, received {capture!r}."
            )
        if precision is not None:
            check_precision(precision, f"compile(precision={precision!r})")
        loss, optimizer, chosen = losses.get(loss), optimizers.get(optimizer), as_metrics(metrics)
        self._check_optimizer_is_free(optimizer)
        self.loss, self.optimizer, self.metrics = loss, optimizer, chosen
        self._parameters = self._steps_on_gpu = None
        self._compiled_again = optimizer.built
        self.capture, self.precision = capture, precision
        for layer in self.with_sublayers():
            if isinstance(layer, Model):
                layer.fuse = fuse

    # Training

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Callback | Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        *,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
    ) -> History:
        """Train the model; return the history of its loss and metrics.

        Arguments:
            x: inputs, one row a sample; or, without `y`, a generator or any iterable of batches
                ``(x, y)``.
            y: targets, one row a sample.
            batch_size: samples in a step, 32 by default.
            epochs: passes over the data, those before `initial_epoch` counted in.
            verbose: 'auto' or 1 for one line an epoch, redrawn on a terminal; 2 for plain lines;
                0 for silence.
            callbacks: instances of `gpunet.callbacks.Callback`.
            validation_split: share of the samples, from the end, to validate with.
            validation_data: ``(x, y)``, or an iterable of batches, to validate with.
            shuffle: whether the samples of arrays are shuffled in each epoch.
            initial_epoch: the epoch to begin with, counted from 0.
            steps_per_epoch, validation_steps: batches in a pass; what an endless generator needs.
            validation_batch_size: samples in a batch of the validation, `batch_size` by default.

        Raises:
            RuntimeError: before `compile`.
            ValueError: for data that does not fit; the weights are as they were.
            NonFiniteLossError: if the loss becomes NaN or infinite; it says in which batch.
        """
        self._check_compiled("fit")
        positive_integer(epochs, "epochs", "fit")
        check_initial_epoch(initial_epoch)
        progress, history = ProgressLine(verbose), History()
        # The line comes first, so that what the others print comes after it; the history last, so
        # that it has what the others add to the logs.
        listeners = CallbackList([progress, *as_list(callbacks), history], self)
        if validation_split:
            if validation_data is not None:
                raise ValueError("fit takes validation_split or validation_data, received both.")
            (x, y), validation_data = data.split(x, y, validation_split)
        validation = None
        with unbuilt_on_error(self):
            training = self._batches("fit", x, y, batch_size, steps_per_epoch, shuffle=shuffle)
            if validation_data is not None:
                validation = self._validation_batches(
                    validation_data, validation_batch_size, batch_size, validation_steps
                )
            self._lay_out_parameters()
        self.history = history
        listeners.set_params({"verbose": verbose, "epochs": epochs} | training.params())
        self.stop_training = False
        with closing(progress):
            self._run_epochs(range(initial_epoch, epochs), training, validation, listeners)
        return history

    def _run_epochs(
        self, epochs: range, training: Batches, validation: Batches | None, listeners: CallbackList
    ) -> None:
        logs: dict[str, float] = {}
        listeners.on_train_begin()
        for epoch in epochs:
            listeners.on_epoch_begin(epoch)
            logs = running.train_epoch(self, epoch, training, listeners)
            self._lay_out_parameters()  # finds weights made meanwhile, and refuses them
            if validation is not None:
                scores = running.evaluate(self, validation, listeners)
                logs |= {f"val_{name}": value for name, value in scores.items()}
            listeners.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        listeners.on_train_end(logs)

    def _train_on(self, x: Array, y: Array | None, scores: Scores) -> None:
        """Do one step, and take its loss and predictions into `scores`."""
        if self._parameters is None or not self._parameters.is_current():
            self._lay_out_parameters()
        assert self.loss and self.optimizer and self._parameters
        with memory_for(len(x)):
            inputs = self._as_input(x)
            targets = asarray(y, like=inputs.value)
            train_step(self, self.loss, self.optimizer, self._parameters, scores, inputs, targets)

    def _device_steps(self) -> DeviceSteps | None:
        """Return the steps of this model on the GPU, where its weights are laid out there.

        Raises:
            CaptureError: they are on the CPU, and are to be captured.
        """
        if self._parameters is None or not self._parameters.is_current():
            self._lay_out_parameters()
        assert self._parameters is not None
        if get_array_module(self._parameters.buffer) is np:
            if self.capture is True:
                raise CaptureError(
                    f"compile(capture=True): {self.name!r} is on the CPU, where nothing is "
                    "captured: use capture='auto', or a GPU (python -m gpunet doctor)."
                )
            return None
        if self._steps_on_gpu is None or not self._steps_on_gpu.are_for(self):
            self._steps_on_gpu = DeviceSteps(self)
        return self._steps_on_gpu

    def train_on_batch(
        self, x: Any, y: Any, *, return_dict: bool = False
    ) -> float | list[float] | dict[str, float]:
        """Do one step; return the loss and metrics of this batch, as before the step.

        Arguments:
            x, y: inputs and targets, one row a sample.
            return_dict: for a dictionary by name in place of a list.
        """
        self._check_compiled("train_on_batch")
        batches = self._batches("train_on_batch", x, y, None, None, whole=True)
        self._lay_out_parameters()
        logs = running.train_epoch(self, None, batches, CallbackList([], self))
        return result(logs, return_dict)

    # Evaluating and predicting

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        *,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Return the loss and the metrics on data, as a list, or a number if there is no metric.

        Arguments:
            x, y, verbose, callbacks: as in `fit`.
            batch_size: the most samples to take at a time. By default batches have 32, and where
                no callback listens to them as many are run at once as is fast and needs little
                memory.
            steps: batches to take.
            return_dict: for a dictionary by name in place of a list.
        """
        self._check_compiled("evaluate")
        batches = self._batches("evaluate", x, y, batch_size, steps)
        progress = ProgressLine(verbose)
        listeners = CallbackList([progress, *as_list(callbacks)], self)
        listeners.set_params({"verbose": verbose} | batches.params())
        with closing(progress):
            return result(running.evaluate(self, batches, listeners), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, *, return_dict: bool = False
    ) -> float | list[float] | dict[str, float]:
        """Return the loss and the metrics on one batch; arguments as in `train_on_batch`."""
        self._check_compiled("test_on_batch")
        batches = self._batches("test_on_batch", x, y, None, None, whole=True)
        scores = running.evaluate(self, batches, CallbackList([], self))
        return result(scores, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        *,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> np.ndarray:
        """Return the model's outputs for inputs, as a NumPy array with one row a sample.

        Arguments:
            x: inputs, one row a sample, or an iterable of batches of them.
            batch_size: as in `evaluate`.
            verbose, callbacks: as in `fit`.
            steps: batches to take.
        """
        batches = self._batches("predict", x, None, batch_size, steps, with_targets=False)
        progress = ProgressLine(verbose)
        listeners = CallbackList([progress, *as_list(callbacks)], self)
        listeners.set_params({"verbose": verbose} | batches.params())
        with closing(progress):
            return running.predict(self, batches, listeners)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Return the model's outputs for one batch of inputs, as a NumPy array."""
        x = data.as_array(x, "x")
        with no_grad(), memory_for(len(x)), use_precision(self.precision):
            return to_numpy(self(self._as_input(x), training=False).value)

    # Data and weights

    def _as_input(self, x: Array) -> Tensor:
        return self._as_tensor(x, None if self._parameters is None else self._parameters.buffer)

    def _batches(
        self, where: str, x: Any, y: Any, batch_size: int | None, steps: int | None, **options: bool
    ) -> Batches:
        """Return the batches of arrays or of an iterable, checked as far as can be beforehand."""
        return data.make_batches(where, x, y, batch_size, steps, self._check_batch, **options)

    def _validation_batches(
        self,
        validation_data: Any,
        batch_size: int | None,
        training_batch_size: int | None,
        steps: int | None,
    ) -> Batches:
        x, y = validation_data, None
        if data.is_pair_of_arrays(validation_data):
            x, y = validation_data
            batch_size = training_batch_size if batch_size is None else batch_size
        return self._batches("fit (validation_data)", x, y, batch_size, steps)

    def _check_batch(self, x: Array, y: Array | None) -> None:
        """Raise unless the model takes x, and its loss takes y beside the model's outputs."""
        shape = (None, *x.shape[1:])
        with nullcontext() if self.built else unbuilt_on_error(self):
            self.build(shape)
            self.check_input(x.shape)
            if y is not None:
                assert self.loss is not None
                self.loss.check_targets(y, self.compute_output_shape(shape))

    def _lay_out_parameters(self) -> None:
        """Make the weights views into one buffer, for the optimizer, where they are not yet."""
        if self._parameters is not None and not self._parameters.is_of(self):
            raise RuntimeError(
                f"The weights of {self.name!r} are not those it was compiled with (layers were "
                "added, or `trainable` was set): call compile() again."
            )
        if self._parameters is None:
            assert self.optimizer is not None
            if not self._compiled_again:
                self._check_optimizer_is_free(self.optimizer)
            self._build_sublayers()
            with memory_for(None):
                parameters = FlatParameters(self)
                self.optimizer.build_buffer(parameters.values)
            self._parameters, self._compiled_again = parameters, True
        elif not self._parameters.is_current():
            self._parameters.lay_out()

    def _check_optimizer_is_free(self, optimizer: optimizers.Optimizer) -> None:
        if optimizer.built and not (optimizer is self.optimizer and self._compiled_again):
            raise ValueError(
                f"The optimizer {optimizer.name!r} was in use before, with another model or since "
                "replaced by another optimizer, and keeps its step count and slots: give each "
                "model an optimizer of its own."
            )

    def _build_sublayers(self) -> None:
        """Build the layers that are built only when they are called, by a call on zeros."""
        if all(layer.built for layer in self.with_sublayers()) or self.input_shape is None:
            return
        zeros = array_module().zeros([size or 1 for size in self.input_shape], self.compute_dtype)
        with no_grad():
            self(zeros, training=False)
            state = random.get_state()  # what the weights took stays taken
            self(zeros, training=True)
        random.set_state(state)

    def _check_compiled(self, method: str) -> None:
        if self.loss is None or self.optimizer is None:
            raise RuntimeError(
                f"{method} needs a loss and an optimizer: call {self.name}.compile("
                "optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy']) first."
            )
