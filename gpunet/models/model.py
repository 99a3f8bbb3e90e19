"""Models: layers that can be compiled, trained and evaluated, and that predict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from gpunet import optimizers
from gpunet.arguments import boolean, positive_integer
from gpunet.autograd import no_grad
from gpunet.callbacks import Callback, CallbackList, History, check_callbacks
from gpunet.layers.building import unbuilt_on_error
from gpunet.models.preparation import Preparation
from gpunet.primitives.precision import check_precision, use_precision
from gpunet.progress import ProgressLine
from gpunet.training import loops
from gpunet.training.adapter import DataAdapter, is_data, unpack
from gpunet.training.batches import Batches
from gpunet.training.logs import as_result
from gpunet.training.memory import memory_for
from gpunet.training.objective import Objective
from gpunet.training.state import Trainability

__all__ = ["Model"]

Result = float | list[float] | dict[str, float]
Callbacks = Callback | Sequence[Callback] | None


class Model(Preparation):
    """A layer that can be trained: of layers in its attributes, which its `call` uses.

    `Sequential` is one that is written for you; for other shapes of network write a subclass. It
    may take several inputs, and return several outputs, as lists or dictionaries. A subclass may
    also define `train_step`, `test_step`, `predict_step`, `compute_loss` and `compute_metrics`.

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
        self.history: History | None = None
        # A callback sets these to end `fit`, `evaluate` or `predict` after the batch or epoch.
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.precision: str | None = None

    # Setting up

    def compile(
        self,
        optimizer: Any,
        loss: Any = None,
        metrics: Any = None,
        *,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        fuse: bool = True,
        capture: bool | str = "auto",
        precision: str | None = None,
    ) -> None:
        """Choose how the model is trained.

        With the optimizer that it had before, training continues from its step count and slots.
        `trainable` counts as it is now, until the next compile.

        Arguments:
            optimizer: a name ('sgd', 'adam') or an instance of `gpunet.optimizers`.
            loss: a name or an instance of `gpunet.losses`, or a function of ``(y_true, y_pred)``;
                for several outputs a list with one for each, or a dictionary by output name.
            metrics: names, instances of `gpunet.metrics` or functions of ``(y_true, y_pred)``; for
                several outputs a list of lists, or a dictionary by output name.
            loss_weights: a factor for the loss of each output, as a list or a dictionary.
            weighted_metrics: like `metrics`, but sample weights count.
            run_eagerly: True is ``capture=False``.
            steps_per_execution, jit_compile, auto_scale_loss: accepted for Keras' sake, without
                effect: steps on a GPU are captured as graphs, and losses are float32.
            fuse: whether neighbouring layers may run as one primitive, such as a convolution and
                its pooling; the results agree to rounding.
            capture: on a GPU, whether steps of training are captured as one graph of kernels, which
                is then run again, with the same bits; 'auto' where that can be, with a warning
                where it cannot, and True to have an error in place of the warning.
            precision: of products on a GPU, 'fp32', 'tf32' or 'bf16', in this model; None for that
                of `gpunet.set_precision`.

        Raises:
            TypeError, ValueError: for an unknown name, or a precision that the GPU does not have;
                the model is then compiled as before.
        """
        run_eagerly = boolean(run_eagerly, "run_eagerly", "compile")
        boolean(auto_scale_loss, "auto_scale_loss", "compile")
        fuse = boolean(fuse, "fuse", "compile")
        capture = _checked_choice("capture", capture)
        _checked_choice("jit_compile", jit_compile)
        positive_integer(steps_per_execution, "steps_per_execution", "compile")
        if run_eagerly and capture is True:
            raise ValueError("compile: run_eagerly=True and capture=True exclude each other.")
        if precision is not None:
            check_precision(precision, f"compile(precision={precision!r})")
        objective = Objective(loss, loss_weights, metrics, weighted_metrics)
        if self._output_count() is not None:
            objective.bind(self._output_names(self._output_template))
        optimizer = optimizers.get(optimizer)
        self._check_optimizer_is_free(optimizer)
        again = optimizer is self.optimizer
        self._earlier = (self._parameters or self._earlier) if again else None
        self.optimizer, self._objective = optimizer, objective
        self._trainability = Trainability(self)
        self._parameters = self._captured_steps = None
        self._dry_outputs = {}
        self.capture, self.precision = False if run_eagerly else capture, precision
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
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        *,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Collection[int] = 1,
    ) -> History:
        """Train the model; return the history of its loss and metrics.

        Arguments:
            x: inputs, one row a sample: an array, or a list or a dictionary by name for several
                inputs; or, without `y`, a generator or any iterable of batches ``(x, y)`` or
                ``(x, y, sample_weight)``.
            y: targets, one row a sample; a list or a dictionary for several outputs.
            batch_size: samples in a step, 32 by default.
            epochs: the number of the last epoch; passes over the data, if `initial_epoch` is 0.
            verbose: 'auto' or 1 for one line an epoch, redrawn on a terminal; 2 for plain lines;
                0 for silence.
            callbacks: instances of `gpunet.callbacks.Callback`.
            validation_split: share of the samples, from the end, to validate with.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)``, or an iterable of such batches.
            shuffle: whether the samples of arrays, or the batches of a `gpunet.utils.PyDataset`,
                come in another order in each epoch.
            class_weight: a factor for the loss of the samples of a class, by its number.
            sample_weight: a factor for the loss of each sample; of several outputs a list or a
                dictionary likewise.
            initial_epoch: the epoch to begin with, counted from 0.
            steps_per_epoch, validation_steps: batches in a pass; what an endless generator needs.
            validation_batch_size: samples in a batch of the validation, `batch_size` by default.
            validation_freq: validate after every so many epochs, or after the epochs of a list,
                the first being 1.

        Raises:
            RuntimeError: before `compile`.
            ValueError: for data that do not fit; the weights are as they were.
            NonFiniteLossError: if the loss becomes NaN or infinite; it says in which batch.
        """
        self._check_compiled("fit")
        epochs = positive_integer(epochs, "epochs", "fit", or_zero=True)
        initial_epoch = positive_integer(initial_epoch, "initial_epoch", "fit", or_zero=True)
        due = _due_epochs(validation_freq, epochs)
        progress, history = ProgressLine(verbose), History()
        # The line comes first, so that what the others print comes after it; the history last, so
        # that it has what the others add to the logs.
        listeners = CallbackList([progress, *check_callbacks(callbacks), history])
        adapter = DataAdapter(self, "fit", "training data", class_weight=class_weight)
        size = batch_size if validation_batch_size is None else validation_batch_size
        validation = None
        with unbuilt_on_error(self):
            if np.ndim(validation_split) or validation_split:
                if validation_data is not None:
                    raise ValueError(
                        "fit takes validation_split or validation_data, received both."
                    )
                x, held_out = adapter.split(x, y, sample_weight, validation_split)
                validation = adapter.renamed("fit (validation_split)", "validation data").batches(
                    held_out, batch_size=size, steps=validation_steps
                )
            training = adapter.batches(
                x, y, sample_weight, batch_size, steps_per_epoch, shuffle=shuffle
            )
            if not self.built:
                training.peek()
            if validation_data is not None:
                validation = self._validation_batches(
                    validation_data, validation_batch_size, size, validation_steps
                )
            if not self._defines("train_step"):
                self._lay_out_parameters()
                self._warn_if_nothing_trains()
        listeners.set_model(self)
        listeners.set_params({"verbose": verbose, "epochs": epochs} | training.params())
        self.history, self.stop_training = history, False
        with closing(progress):
            self._run_epochs(range(initial_epoch, epochs), training, validation, due, listeners)
        return history

    def _validation_batches(
        self, validation_data: Any, batch_size: int | None, size: int | None, steps: int | None
    ) -> Batches:
        """Return batches of validation data: of `size` samples where the data are arrays."""
        adapter = DataAdapter(self, "fit (validation_data)", "validation data")
        if not is_data(validation_data):
            return adapter.batches(validation_data, batch_size=batch_size, steps=steps)
        return adapter.batches(*unpack(validation_data), size, steps)

    def _run_epochs(
        self,
        epochs: range,
        training: Batches,
        validation: Batches | None,
        due: Collection[int],
        listeners: CallbackList,
    ) -> None:
        logs: dict[str, float] = {}
        listeners.on_train_begin()
        for epoch in epochs:
            listeners.on_epoch_begin(epoch)
            logs = loops.train_epoch(self, epoch, training, listeners)
            if not self._defines("train_step"):
                self._lay_out_parameters()  # finds weights made meanwhile, and refuses them
            if validation is not None and epoch + 1 in due:
                scores = loops.evaluate(self, validation, listeners)
                logs |= {f"val_{name}": value for name, value in scores.items()}
            listeners.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        listeners.on_train_end(logs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        *,
        return_dict: bool = False,
    ) -> Result:
        """Do one step; return the loss and metrics of this batch, as before the step.

        Arguments:
            x, y, sample_weight, class_weight: as in `fit`, of one batch.
            return_dict: for a dictionary by name in place of a list.
        """
        self._check_compiled("train_on_batch")
        return_dict = boolean(return_dict, "return_dict", "train_on_batch")
        adapter = DataAdapter(self, "train_on_batch", class_weight=class_weight)
        batches = adapter.batches(x, y, sample_weight, whole=True)
        if not self._defines("train_step"):
            self._lay_out_parameters()
            self._warn_if_nothing_trains()
        logs = loops.train_epoch(self, None, batches, CallbackList([], model=self))
        return as_result(logs, return_dict)

    # Evaluating and predicting

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        *,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> Result:
        """Return the loss and the metrics on data, as a list, or a number if there is no metric.

        The list has the loss, those of several outputs, then the metrics as `compile` lists them.

        Arguments:
            x, y, sample_weight, verbose, callbacks: as in `fit`.
            batch_size: the most samples to take at a time. By default batches have 32, and where
                no callback listens to them as many are run at once as is fast and needs little
                memory.
            steps: batches to take.
            return_dict: for a dictionary by name in place of a list.
        """
        self._check_compiled("evaluate")
        return_dict = boolean(return_dict, "return_dict", "evaluate")
        listening = check_callbacks(callbacks)
        batches = DataAdapter(self, "evaluate").batches(x, y, sample_weight, batch_size, steps)
        with self._shown(listening, verbose, batches) as listeners:
            return as_result(loops.evaluate(self, batches, listeners), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, return_dict: bool = False
    ) -> Result:
        """Return the loss and the metrics on one batch; arguments as in `train_on_batch`."""
        self._check_compiled("test_on_batch")
        return_dict = boolean(return_dict, "return_dict", "test_on_batch")
        batches = DataAdapter(self, "test_on_batch").batches(x, y, sample_weight, whole=True)
        scores = loops.evaluate(self, batches, CallbackList([], model=self))
        return as_result(scores, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        *,
        steps: int | None = None,
        callbacks: Callbacks = None,
    ) -> Any:
        """Return the model's outputs for inputs, as NumPy arrays with one row a sample.

        Several outputs come in a list or a dictionary, as `call` returns them. NaN in a sample
        gives NaN for that sample alone.

        Arguments:
            x: inputs, one row a sample, or an iterable of batches of them.
            batch_size: as in `evaluate`.
            verbose, callbacks: as in `fit`.
            steps: batches to take.
        """
        listening = check_callbacks(callbacks)
        adapter = DataAdapter(self, "predict", with_targets=False)
        batches = adapter.batches(x, batch_size=batch_size, steps=steps)
        with self._shown(listening, verbose, batches) as listeners:
            return loops.predict(self, batches, listeners)

    @contextmanager
    def _shown(
        self, callbacks: list[Callback], verbose: str | int, batches: Batches
    ) -> Iterator[CallbackList]:
        """Yield callbacks of `evaluate` or `predict`, with the progress line before them."""
        with closing(ProgressLine(verbose)) as progress:
            params = {"verbose": verbose} | batches.params()
            yield CallbackList([progress, *callbacks], model=self, params=params)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the model's outputs for one batch of inputs, as `predict` does."""
        frozen = self._frozen_for(x)
        if frozen is not None:  # it is known what is to be done, and that it can be
            with memory_for(len(x)), no_grad():
                found = frozen.forward(x)
            if found is not None:
                return found
        adapter = DataAdapter(self, "predict_on_batch", with_targets=False)
        batch = adapter.prepare(adapter.flatten(x))
        with memory_for(batch.size), use_precision(self.precision):
            outputs = loops.predict_batch(self, batch, adapter.structure)
        self._remember_frozen(x)
        return outputs


def _due_epochs(validation_freq: Any, epochs: int) -> Collection[int]:
    """Return after which epochs, the first being 1, to validate."""
    if isinstance(validation_freq, Collection):
        return validation_freq
    step = positive_integer(validation_freq, "validation_freq", "fit")
    return range(step, epochs + 1, step)


def _checked_choice(name: str, value: Any) -> Any:
    """Return True, False or 'auto'."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and value == "auto"):
        return value if isinstance(value, str) else bool(value)
    raise ValueError(f"compile: {name} must be 'auto', True or False, received {value!r}.")
