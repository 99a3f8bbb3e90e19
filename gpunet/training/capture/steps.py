"""Training steps on a GPU, each captured once as one graph of kernels and then run again.

What changes from step to step is in memory that the kernels read: the order of the samples and the
place in it, the number of the step, the learning rate, the keys of random numbers. Nothing is read
back within an epoch: a loss or gradient that is not finite is noted on the device, and from then on
the weights stay as they are until the host reads the counters.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from gpunet import backend, primitives, random
from gpunet.backend import get_array_module
from gpunet.metrics import Mean, counts_correct
from gpunet.primitives.precision import get_precision
from gpunet.regularizers import Regularizer
from gpunet.training.batches import ArrayBatches, Batch, Batches
from gpunet.training.capture.device_data import Resident, Streamed, Turn, fits_on_device
from gpunet.training.capture.device_state import Counters, DeviceState
from gpunet.training.capture.errors import CaptureError, no_copies_from_host, place_of
from gpunet.training.capture.snapshot import Snapshot
from gpunet.training.finite import non_finite
from gpunet.training.interrupts import uninterruptible
from gpunet.training.logs import Scores
from gpunet.training.loops import add_to_scores
from gpunet.training.step import Outcome, step

__all__ = ["CaptureError", "DeviceSteps"]

_UNROLLED = 8  # steps in one graph, where so many follow one another
_MOST_UNSETTLED = 2  # steps that may set what they read: each kind of batch may have its first


class _Graph(NamedTuple):
    """Steps that were captured."""

    graph: Any  # CuPy's
    pool: Any  # what its memory is from
    outcome: Outcome | None  # in memory that each run writes anew; None if nothing reads it
    draws: list[random.Generator]  # that one step draws keys from, in turn


class DeviceSteps:
    """The steps of one model, with one optimizer, on the GPU where its weights are.

    Arguments:
        model: compiled, with its weights laid out; it is not kept alive.
    """

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self.parameters, self.optimizer = model._parameters, model.optimizer
        self.xp = xp = get_array_module(self.parameters.buffer)
        self.stream = xp.cuda.Stream(non_blocking=True)
        # Graphs have memory of their own: what they leave there is theirs again in the next run.
        self.pool = xp.cuda.MemoryPool()
        self.counters = Counters(xp, self.stream)
        self.streamed = Streamed(self.stream, xp)
        self._resident: Any = None  # the data that are on the device, and the batches of them
        self._resident_of: ArrayBatches | None = None
        self._graphs: dict[Any, _Graph] = {}
        self._warm: set[Any] = set()
        self._snapshot: Snapshot | None = None
        self._unsettled = 0  # steps that set what they read
        self._keys_of: Any = [], []  # whose keys are in the counters, in which state
        self._refused = False  # whether a step could not be captured
        self._counted: list[Mean] = []  # metrics that are in the totals
        self._apart = False  # whether there are others, to be computed after each step
        self._epochs: list[tuple[DeviceState, Batches]] = []  # under way: callbacks may train too
        self.samples = self.steps = 0  # since `start`

    @property
    def model(self) -> Any:
        """The model."""
        return self._model()

    def are_for(self, model: Any) -> bool:
        """Return whether these are still the model's: of its weights and its optimizer."""
        return (
            self.model is model
            and self.parameters is model._parameters
            and self.optimizer is model.optimizer
        )

    # Beginning and end

    @contextmanager
    def running(self) -> Iterator[None]:
        """Order the steps inside after the work of the current stream, and before what follows."""
        outer = self.xp.cuda.get_current_stream()
        self.stream.wait_event(outer.record())
        try:
            with self.stream:
                yield
        finally:
            outer.wait_event(self.stream.record())

    @contextmanager
    def epoch(self, batches: Batches) -> Iterator[None]:
        """Start fresh scores for the steps on these batches.

        Nested epochs restore the scores, and the place in the order of the samples, of the outer
        one on exit.
        """
        counters = self.counters
        before = self._epochs and (
            counters.state.copy(), counters.position.copy(), self.samples, self.steps,
        )  # fmt: skip
        model = self.model
        state = DeviceState(
            model, model._objective, self.optimizer, self.parameters, batches.structure
        )
        state.counters = counters
        with self.running():
            self.start()
        self._epochs.append((state, batches))
        try:
            yield
        finally:
            self._epochs.pop()
            if before:
                counters.state[...], counters.position[...], self.samples, self.steps = before

    def start(self) -> None:
        """Start fresh scores, and see what has changed outside of the steps."""
        counters, optimizer = self.counters, self.optimizer
        if optimizer.step_count is counters.iterations and not self._epochs:
            counters.iterations -= counters.failed[2:]  # where an interrupt came before `read`
        counters.state.fill(0)
        self.samples = self.steps = 0
        if optimizer.step_count is not counters.iterations:
            counters.iterations[...] = optimizer.step_count
            optimizer.step_count = counters.iterations
        self.see_changes()

    def see_changes(self) -> str | None:
        """Return which attribute is not what it was; graphs, which do not read it, are dropped."""
        model = self.model
        losses = [loss for loss in model._objective.losses if loss is not None]
        regularizers = [weight.regularizer for weight in self.parameters.trainable]
        owners = [
            self.optimizer,
            *losses,
            *model.with_sublayers(),
            *(item for item in regularizers if isinstance(item, Regularizer)),
        ]
        snapshot, before = Snapshot(owners, get_precision(), regularizers), self._snapshot
        changed = "all" if before is None else before.changed_in(snapshot)
        if changed is not None:
            self._snapshot = snapshot
            self._graphs.clear()
            self._warm.clear()
        return changed

    def read(self, scores: Scores) -> None:
        """Wait for the steps, and set the scores to those since `start`.

        Raises:
            NonFiniteLossError: a loss or a gradient was not finite; `batch` says in which step, the
                first being 1. The weights are those before it.
        """
        with self.running():
            state = backend.to_numpy(self.counters.state)
        (loss, correct), failed = state[:2].view(np.float64), state[2:]
        scores.set(self.samples, loss, self._counted, correct)
        if not failed[:2].any():
            return
        left_out = int(failed[2])
        self.optimizer.step_count -= left_out
        self.counters.state.fill(0)
        error = non_finite("the loss", loss) if failed[0] else non_finite("a gradient", np.nan)
        error.batch = self.steps - left_out + 1
        raise error

    # Steps

    def turns(self, batches: Batches, one_by_one: bool) -> Iterator[Turn]:
        """Yield the steps of an epoch, as `take` takes them, perhaps several at a time."""
        if isinstance(batches, ArrayBatches) and (resident := self._resident_for(batches)):
            return resident.turns(batches, 1 if one_by_one else 1 << 30)
        return self.streamed.turns(batches, self._dtypes)

    def _resident_for(self, batches: ArrayBatches) -> Resident | None:
        """Return the data of batches on the device, at the addresses of those before if possible.

        None if they are not there, and too large to be; or a single batch, after which others of
        its kind may come; or of a nested epoch: the data of the outer one stay.
        """
        if batches is self._resident_of:
            return self._resident
        dtypes = self._dtypes(batches.data)
        if batches.steps == 1 or len(self._epochs) > 1:
            return None
        if not fits_on_device(self.xp, batches.data.arrays(), dtypes):
            return None
        if self._resident is None or not self._resident.take(batches, dtypes):
            self._warm = {kind for kind in self._warm if kind[0] is not self._resident}
            self._graphs = {
                key: graph for key, graph in self._graphs.items() if key[0] is not self._resident
            }
            self._resident = Resident(batches, self.counters.position, dtypes)
        self._resident_of = batches
        return self._resident

    def _dtypes(self, batch: Batch) -> list[Any]:
        """Return the types that the arrays of a batch have on the device."""
        dtype, takes_integers = self.parameters.buffer.dtype, self.model.takes_integers()
        return [
            *(x.dtype if takes_integers and x.dtype.kind in "biu" else dtype for x in batch.inputs),
            *(dtype if y.dtype.kind == "f" else y.dtype for y in batch.targets if y is not None),
            *(dtype for weight in batch.weights if weight is not None),
        ]

    def take(self, turn: Turn, scores: Scores) -> None:
        """Do the steps of a turn, captured ones if they can be."""
        if not self.parameters.is_current():  # a callback gave a weight a new array
            self.parameters.lay_out()
        state, batches = self._epochs[-1]
        state.structure, state.objective = batches.structure, self.model._objective
        left = turn.steps
        while left > 0:
            count = _UNROLLED if left >= _UNROLLED and not self._apart else 1
            graph = self._graph(turn, count)
            with uninterruptible():
                outcome: Outcome | None
                if graph is None:
                    count, outcome = 1, self._alone(turn)
                else:
                    outcome = self._run(graph, count)
                self.samples += count * turn.size
                self.steps += count
                if outcome is not None:
                    self._score(outcome, scores)
            left -= count

    def _score(self, outcome: Outcome, scores: Scores) -> None:
        """Add a batch to the metrics that a step does not compute itself."""
        batch, outputs = outcome.batch, outcome.outputs
        if self.model._defines("compute_metrics"):
            self._apart = True
            add_to_scores(self._epochs[-1][0], scores, outcome)
            return
        counted = []
        for _, metric, output, weighted in scores.tracked:
            y = batch.targets[output]
            if outcome.correct is None or y is None or (weighted and batch.weights):
                continue
            if counts_correct(metric, y.shape, outputs[output].shape):
                counted.append(metric)
        self._counted = counted
        self._apart = len(counted) < len(scores.tracked) or len(outputs) > 1
        if self._apart:  # the next step must not write over the arrays that custom metrics keep
            scores.add_each(batch.size, outcome.each)
            scores.add_metrics(
                batch, outputs, outcome.correct, masks=outcome.masks, skip=counted, copied=True
            )

    def _alone(self, turn: Turn) -> Outcome:
        """Do one step that is not captured, and see whether the next can be.

        A step that sets what it reads again cannot; but the first may make what then stays.
        """
        self._keys_of = [], []
        outcome = self._step(turn)
        if self._captures() and (setting := self._set_in_step()) is not None:
            self._unsettled += 1
            if self._unsettled > _MOST_UNSETTLED:
                self._refuse(
                    CaptureError(
                        f"{setting} is set in each step, which a captured step would not do again: "
                        "write into an array that stays, or use compile(capture=False)."
                    )
                )
        return outcome

    def _set_in_step(self) -> str | None:
        """Return what a step has set, or None."""
        changed = self.see_changes()
        for parameter in (*self.parameters.trainable, *self.parameters.frozen):
            if parameter.value.base is not self.parameters.buffer:
                self._warm.clear()
                return f"the value of weight {parameter.name!r}"
        return changed

    def _captures(self) -> bool:
        return self.model.capture is not False and not self._refused

    def _refuse(self, error: CaptureError) -> None:
        """Continue without capturing, with a warning, or raise the error if steps must be."""
        if self.model.capture is True:
            raise error
        self._refused = True
        warnings.warn(f"Steps run one kernel at a time: {error}", stacklevel=3)

    def _step(self, turn: Turn) -> Outcome:
        """Do one step in the current stream, or record it while that is capturing."""
        self.counters.drawn = []
        with primitives.leaving_parts(), random.keys_from(self.counters.key):
            return step(self._epochs[-1][0], turn.data.batch(turn.size))

    # Graphs

    def _graph(self, turn: Turn, count: int) -> _Graph | None:
        """Return the graph of such steps, captured if need be; None where to go without.

        The first step of each kind goes without: it compiles kernels and makes what stays.
        """
        if not self._captures():
            return None
        kind = turn.data.key, turn.size, repr(self._epochs[-1][0].structure)
        if kind not in self._warm:
            self._warm.add(kind)
            return None
        key = (*kind, count)
        if key not in self._graphs:
            try:
                self._graphs[key] = self._captured(turn, count)
            except CaptureError as error:
                self._refuse(error)
                return None
        return self._graphs[key]

    def _captured(self, turn: Turn, count: int) -> _Graph:
        """Return steps as a graph; nothing of them is carried out.

        Raises:
            CaptureError: something in them cannot be captured.
        """
        # Graphs that leave nothing may share their memory: they run one after another.
        pool = self.xp.cuda.MemoryPool() if self._apart else self.pool
        try:
            with self.xp.cuda.using_allocator(pool.malloc), no_copies_from_host(self.xp):
                self.stream.begin_capture()
                try:
                    for _ in range(count):
                        outcome = self._step(turn)
                except BaseException:
                    with suppress(Exception):  # it was broken off
                        self.stream.end_capture()
                    raise
                graph = self.stream.end_capture()
        except Exception as error:
            raise CaptureError(f"{place_of(error)}{type(error).__name__}: {error}") from error
        return _Graph(graph, pool, outcome if self._apart else None, self.counters.drawn)

    def _run(self, graph: _Graph, count: int) -> Outcome | None:
        """Run a graph of `count` steps."""
        states = [generator.get_state() for generator in graph.draws]
        if (graph.draws, states) != self._keys_of:
            keys = [
                (seed, draw + graph.draws[:slot].count(graph.draws[slot]))
                for slot, (seed, draw) in enumerate(states)
            ]
            words = np.array(keys, np.uint64).view(np.int64).reshape(-1)
            self.counters.set_keys(self.xp.asarray(words))
        graph.graph.launch(self.stream)
        for generator in graph.draws:
            seed, draw = generator.get_state()
            generator.set_state((seed, draw + count))
        self._keys_of = graph.draws, [generator.get_state() for generator in graph.draws]
        return graph.outcome
