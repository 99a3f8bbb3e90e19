"""Training steps on a GPU, each captured once as one graph of kernels and then run again.

What changes from step to step is in memory that the kernels read: the order of the samples and the
place in it, the number of the step, the learning rate, the keys of random numbers. Nothing is read
back within an epoch: a loss or gradient that is not finite is noted on the device, and from then on
the weights stay as they are until the host asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet import backend, primitives, random
from gpunet.autograd import Array
from gpunet.backend import asarray, get_array_module
from gpunet.metrics import Mean, MeanMetricWrapper, counts_hits
from gpunet.primitives.cuda.step import Scored, Segment, finish_gradients, segments_of
from gpunet.primitives.launch import kernel as launcher
from gpunet.primitives.partial_sums import Parts
from gpunet.primitives.precision import get_precision
from gpunet.training.batches import ArrayBatches, Batches
from gpunet.training.capture.device_data import Feed, Resident, Streamed, Turn, fits_on_device
from gpunet.training.capture.errors import CaptureError, no_copies_from_host, place_of
from gpunet.training.capture.snapshot import Settings
from gpunet.training.logs import Scores
from gpunet.training.step import Outcome, compute_gradients, non_finite, whole

if TYPE_CHECKING:
    from gpunet.models.model import Model

__all__ = ["CaptureError", "DeviceSteps"]

_UNROLLED = 8  # steps in one graph, where so many follow one another
_MOST_KEYS = 64  # of random numbers, in a step
_MOST_UNSETTLED = 2  # steps that may set what they read: each kind of batch may have its first
_STEP, _POSITION, _KEYS = 0, 1, 2  # places in the counters


class _Result(NamedTuple):
    """What a step gave, and the targets of its batch."""

    outcome: Outcome
    targets: Array


class _Graph(NamedTuple):
    """Steps that were captured.

    Attributes:
        graph: CuPy's.
        pool: what its memory is from.
        result: that of the step, in memory that each run writes anew; None if nobody asks.
        draws: the generators that one step draws keys from, in turn.
    """

    graph: Any
    pool: Any
    result: _Result | None
    draws: list[random.Generator]


class DeviceSteps:
    """The steps of one model, with one optimizer, on the GPU where its weights are.

    Arguments:
        model: compiled, with its weights laid out.
    """

    def __init__(self, model: Model) -> None:
        assert model._parameters is not None and model.optimizer is not None
        self.model, self.parameters, self.optimizer = model, model._parameters, model.optimizer
        self.xp = xp = get_array_module(self.parameters.buffer)
        self.stream = xp.cuda.Stream(non_blocking=True)
        # Graphs have memory that nobody else gets: what they leave there may be theirs again.
        self.pool = xp.cuda.MemoryPool()
        self.state = xp.zeros(5, np.int64)
        self.totals, self.failed = self.state[:2].view(np.float64), self.state[2:]
        self.counters = xp.zeros(_KEYS + 2 * _MOST_KEYS, np.int64)
        self.iterations = self.counters[_STEP : _STEP + 1]  # the optimizer's, while it steps here
        self.streamed = Streamed(self.stream, self._dtypes, xp)
        self._resident: Any = None  # the data that are on the device, and the batches of them
        self._resident_of: ArrayBatches | None = None
        self._graphs: dict[Any, _Graph] = {}
        self._warm: set[Any] = set()
        self._settings: Settings | None = None
        self._unsettled = 0  # steps that set what they read
        self._keys_of: Any = [], []  # whose keys are in the counters, in which state
        self._drawn: list[random.Generator] = []  # in the step that is being done
        self._refused = False  # whether a step could not be captured
        self._counted: list[Mean] = []  # metrics that are in `totals`
        self._apart = False  # whether there are others, to be computed after each step
        self._depth = 0  # epochs that are under way: a callback or a generator may train too
        self.samples = self.steps = 0  # since `start`

    def are_for(self, model: Model) -> bool:
        """Return whether these are still the model's: of its weights and its optimizer."""
        return self.parameters is model._parameters and self.optimizer is model.optimizer

    # Beginning and end

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let steps run inside, after what the current stream has to do, and before what comes."""
        outer = self.xp.cuda.get_current_stream()
        self.stream.wait_event(outer.record())
        try:
            with self.stream:
                yield
        finally:
            outer.wait_event(self.stream.record())

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Let scores begin anew inside; those of an epoch that this is in the midst of go on after.

        So does its place in the order of the samples.
        """
        position = self.counters[_POSITION : _POSITION + 1]
        before = self._depth and (self.state.copy(), position.copy(), self.samples, self.steps)
        with self.running():
            self.start()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if before:
                self.state[...], position[...], self.samples, self.steps = before

    def start(self) -> None:
        """Let scores begin anew, and see what has changed outside of the steps."""
        if self.optimizer.step_count is self.iterations and not self._depth:
            self.iterations -= self.failed[2:]  # where an interrupt came before `read`
        self.state.fill(0)
        self.samples = self.steps = 0
        if self.optimizer.step_count is not self.iterations:
            self.iterations[...] = self.optimizer.step_count
            self.optimizer.step_count = self.iterations
        self.see_settings()

    def see_settings(self) -> str | None:
        """Return which setting is not what it was: what was captured is then forgotten.

        A captured step does not read them again.
        """
        owners = [self.optimizer, self.model.loss, *self.model._with_sublayers()]
        settings, before = Settings(owners, get_precision()), self._settings
        changed = "all" if before is None else before.changed_in(settings)
        if changed is not None:
            self._settings = settings
            self._graphs.clear()
            self._warm.clear()
        return changed

    def read(self, scores: Scores) -> None:
        """Wait for the steps, and let the scores be those since `start`.

        Raises:
            NonFiniteLossError: a loss or a gradient was not finite; `batch` says in which step, the
                first being 1. The weights are those before it.
        """
        with self.running():
            state = backend.to_numpy(self.state)
        (loss, hits), failed = state[:2].view(np.float64), state[2:]
        scores.set(self.samples, loss, self._counted, hits)
        if not failed[:2].any():
            return
        left_out = int(failed[2])
        self.optimizer.step_count -= left_out
        self.state.fill(0)
        error = non_finite("the loss", loss) if failed[0] else non_finite("a gradient", np.nan)
        error.batch = self.steps - left_out + 1
        raise error

    # Steps

    def turns(self, batches: Batches, one_by_one: bool) -> Iterator[Turn]:
        """Yield the steps of an epoch, as `take` takes them.

        Arguments:
            batches: where they come from.
            one_by_one: whether something is done after each.
        """
        if isinstance(batches, ArrayBatches) and (resident := self._resident_for(batches)):
            return resident.turns(batches, 1 if one_by_one else 1 << 30)
        return self.streamed.turns(batches)

    def _resident_for(self, batches: ArrayBatches) -> Resident | None:
        """Return the data of batches on the device, where those before were if that is possible.

        None if they are not there, and too large to be; or a single batch, after which others of
        its kind may come; or of an epoch in the midst of another, whose data stay.
        """
        if batches is self._resident_of:
            return self._resident
        dtypes = self._dtypes(batches.x, batches.y)
        if batches.steps == 1 or self._depth > 1:
            return None
        if not fits_on_device(self.xp, (batches.x, batches.y), dtypes):
            return None
        if self._resident is None or not self._resident.take(batches, dtypes):
            position = self.counters[_POSITION : _POSITION + 1]
            self._warm = {kind for kind in self._warm if kind[0] is not self._resident}
            self._graphs = {
                key: graph for key, graph in self._graphs.items() if key[0] is not self._resident
            }
            self._resident = Resident(batches, position, dtypes)
        self._resident_of = batches
        return self._resident

    def take(self, turn: Turn, scores: Scores) -> None:
        """Do the steps of a turn, captured ones if they can be."""
        if not self.parameters.is_current():  # a callback gave a weight a new array
            self.parameters.lay_out()
        left = turn.steps
        while left > 0:
            count = _UNROLLED if left >= _UNROLLED and not self._apart else 1
            graph = self._graph(turn, count)
            with whole():
                result: _Result | None
                if graph is None:
                    count, result = 1, self._alone(turn)
                else:
                    result = self._run(graph, count)
                self.samples += count * turn.size
                self.steps += count
                if result is not None:
                    self._score(result, scores)
            left -= count

    def _score(self, result: _Result, scores: Scores) -> None:
        """Let metrics that a step does not compute itself take in a batch."""
        outcome, y = result
        self._counted = [
            metric
            for metric in scores.metrics
            if outcome.hits is not None and counts_hits(metric, y.shape, outcome.prediction.shape)
        ]
        self._apart = len(self._counted) < len(scores.metrics)
        for metric in scores.metrics:
            if metric not in self._counted:
                # What a metric of one's own keeps, the next step must not write over.
                keeps = not isinstance(metric, MeanMetricWrapper)
                prediction = outcome.prediction
                metric.update_state(*((y.copy(), prediction.copy()) if keeps else (y, prediction)))

    def _alone(self, turn: Turn) -> _Result:
        """Do one step that is not captured, and see whether the next can be.

        A step that sets what it reads again cannot; but the first may make what then stays.
        """
        self._keys_of = [], []
        result = self._step(turn.feed, turn.size)
        if self._captures() and (setting := self._set_in_step()) is not None:
            self._unsettled += 1
            if self._unsettled > _MOST_UNSETTLED:
                self._refuse(
                    CaptureError(
                        f"{setting} is set in each step, which a captured step would not do again: "
                        "write into an array that stays, or use compile(capture=False)."
                    )
                )
        return result

    def _set_in_step(self) -> str | None:
        """Return what a step has set, or None."""
        changed = self.see_settings()
        for parameter in (*self.parameters.trainable, *self.parameters.frozen):
            if parameter.value.base is not self.parameters.buffer:
                self._warm.clear()
                return f"the value of weight {parameter.name!r}"
        return changed

    def _captures(self) -> bool:
        return self.model.capture is not False and not self._refused

    def _refuse(self, error: CaptureError) -> None:
        """Let steps go without capturing from now on, or raise the error if they must not."""
        if self.model.capture is True:
            raise error
        self._refused = True
        warnings.warn(f"Steps run one kernel at a time: {error}", stacklevel=3)

    def _step(self, feed: Feed, size: int) -> _Result:
        """Do one step in the current stream, or let it be captured; return what it gives."""
        model, optimizer = self.model, self.optimizer
        x, y = feed.batch(size)
        inputs = model._as_input(x)
        targets = asarray(y, like=inputs.value)
        assert model.loss is not None
        self._drawn = []
        with primitives.leaving_parts(), random.keys_from(self._key):
            outcome = compute_gradients(model, model.loss, self.parameters, inputs, targets)
        self._finish(outcome, size)
        optimizer.step(
            self.parameters.values, self.parameters.gradients, skip=self.failed, counted=True
        )
        return _Result(outcome, targets)

    def _finish(self, outcome: Outcome, size: int) -> None:
        """Let one kernel add up what is in parts, look for what is not finite, score and count."""
        in_parts: dict[int, list[tuple[int, Parts]]] = {}
        others = []
        for parameter, place in zip(
            self.parameters.trainable, self.parameters.offsets, strict=True
        ):
            if parameter.parts is None:
                others.append(Segment(place, parameter.size))
            else:
                in_parts.setdefault(id(parameter.parts.buffer), []).append((place, parameter.parts))
                parameter.parts = None
        *first, last = in_parts.values() or [[]]
        gradients = self.parameters.gradients
        for group in first:
            finish_gradients(gradients, group[0][1].buffer, segments_of(group), self.failed)
        increments = [1, size]  # of the step and the position; then of each key's seed and draw
        for generator in self._drawn[:_MOST_KEYS]:
            increments += [0, self._drawn.count(generator)]
        finish_gradients(
            gradients,
            last[0][1].buffer if last else None,
            (*segments_of(last), *others) or (Segment(0, 0),),
            self.failed,
            Scored(
                outcome.losses.astype(gradients.dtype, copy=False),
                size // outcome.losses.size,
                outcome.hits,
                self.totals,
                launcher.constant(np.array(increments, np.int64).tobytes()),
                self.counters[: len(increments)],
            ),
        )

    # Graphs

    def _graph(self, turn: Turn, count: int) -> _Graph | None:
        """Return what was captured of such steps, or captures it; None where to go without.

        The first step of each kind goes without: it compiles kernels and makes what stays.
        """
        if not self._captures():
            return None
        kind = turn.feed.key, turn.size
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
            with (
                self.xp.cuda.using_allocator(pool.malloc),
                no_copies_from_host(self.xp),
            ):
                self.stream.begin_capture()
                try:
                    for _ in range(count):
                        result = self._step(turn.feed, turn.size)
                except BaseException:
                    with suppress(Exception):  # it was broken off
                        self.stream.end_capture()
                    raise
                graph = self.stream.end_capture()
        except Exception as error:
            raise CaptureError(f"{place_of(error)}{type(error).__name__}: {error}") from error
        return _Graph(graph, pool, result if self._apart else None, self._drawn)

    def _key(self, generator: random.Generator) -> Array | None:
        """Return the key of a draw in the memory that a captured step reads; None if it is none."""
        slot = len(self._drawn)
        self._drawn.append(generator)
        if not self.stream.is_capturing():
            return None
        if slot >= _MOST_KEYS:
            raise CaptureError(f"a step draws more than {_MOST_KEYS} keys of random numbers.")
        start = _KEYS + 2 * slot
        return self.counters[start : start + 2].view(np.uint64)

    def _run(self, graph: _Graph, count: int) -> _Result | None:
        """Run a graph of `count` steps."""
        states = [generator.get_state() for generator in graph.draws]
        if (graph.draws, states) != self._keys_of:
            keys = [
                (seed, draw + graph.draws[:slot].count(graph.draws[slot]))
                for slot, (seed, draw) in enumerate(states)
            ]
            words = np.array(keys, np.uint64).view(np.int64).reshape(-1)
            self.counters[_KEYS : _KEYS + len(words)] = self.xp.asarray(words)
        graph.graph.launch(self.stream)
        for generator in graph.draws:
            seed, draw = generator.get_state()
            generator.set_state((seed, draw + count))
        self._keys_of = graph.draws, [generator.get_state() for generator in graph.draws]
        return graph.result

    def _dtypes(self, x: Array, y: Array) -> tuple[Any, Any]:
        """Return the types that inputs and targets have on the device."""
        dtype = self.parameters.buffer.dtype
        integers = self.model.takes_integers() and x.dtype.kind in "biu"
        return x.dtype if integers else dtype, dtype if y.dtype.kind == "f" else y.dtype
