"""Streams, graphs and memory of the fake CuPy: what a GPU would do wrong is an error there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from gpunet import primitives
from tests.support.fake_cupy.gpu import CUDARuntimeError
from tests.support.fake_cupy.module import fake_gpu, install
from tests.support.fake_cupy.timeline import FakeError

ON_HOST = np.arange(6, dtype="float32")


@pytest.fixture
def stream(cupy: Any) -> Any:
    return cupy.cuda.Stream(non_blocking=True)


@contextmanager
def capturing(cupy: Any, stream: Any, pool: Any) -> Iterator[list[Any]]:
    """Capture what is done inside the block; the list then holds the graph."""
    stream.wait_event(cupy.cuda.Stream.null.record())
    graph: list[Any] = []
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        yield graph
        graph.append(stream.end_capture())


def copied(array: Any) -> np.ndarray:
    fake_gpu.Device().synchronize()
    return array.get()


def test_what_is_fake_is_what_cupy_has() -> None:
    real = pytest.importorskip("cupy", exc_type=ImportError)
    with install() as cupy:
        for name in ("Stream", "Event", "Graph", "MemoryPool", "MemoryPointer", "PinnedMemoryPool"):
            fake, there = getattr(cupy.cuda, name), getattr(real.cuda, name)
            own = {"Graph": {"nodes"}, "MemoryPointer": {"array"}}.get(name, set())
            public = {word for word in dir(fake) if not word.startswith("_")} - own
            assert not [word for word in public if not hasattr(there, word)], name
        for word in set(vars(cupy.cuda)) - {"pool"}:
            assert hasattr(real.cuda, word), word
        for word in vars(cupy.cuda.runtime):
            assert hasattr(real.cuda.runtime, word), word


def test_errors_say_what_cuda_says() -> None:
    real = pytest.importorskip("cupy", exc_type=ImportError)
    for status in (400, 401, 900, 901, 905, 906, 907):
        assert str(CUDARuntimeError(status)) == str(real.cuda.runtime.CUDARuntimeError(status))


def test_a_graph_does_what_was_captured_with_the_same_bits(cupy: Any, stream: Any) -> None:
    index, ones = cupy.asarray(np.array([1, 2, -1])), cupy.ones((6, 1), "float32")

    def step(x: Any, total: Any) -> Any:
        y = cupy.sin(x).reshape(6, 1) * 2
        y[1:3] = ones[:2]
        y += ones
        z = primitives.matmul(y, x.reshape(1, 6))[index]
        total += z.sum()
        x[...] = x + 1
        x[:2] = 0.5
        return z.astype("float64")

    x, total = cupy.asarray(ON_HOST), cupy.zeros((), "float32")
    pool = cupy.cuda.MemoryPool()
    with capturing(cupy, stream, pool) as graph:
        z = step(x, total)
    np.testing.assert_array_equal(copied(x), ON_HOST)
    assert np.isnan(copied(z)).all()
    x_eager, total_eager = cupy.asarray(ON_HOST), cupy.zeros((), "float32")
    for _ in range(3):
        graph[0].launch(stream)
        expected = step(x_eager, total_eager)
        for fake, eager in ((x, x_eager), (total, total_eager), (z, expected)):
            assert copied(fake).tobytes() == copied(eager).tobytes()


def test_what_is_launched_has_names(cupy: Any, stream: Any) -> None:
    launched = fake_gpu.now().launched
    x = cupy.zeros((4, 4), "float32")
    launched.clear()
    primitives.activate(x, "relu")
    y = cupy.full(3, 2.0)
    y += y[0]
    _ = x.T.reshape(16), x[0].reshape(2, 2), cupy.empty(3)
    assert launched == ["activation_forward", "fill", "add", "copy"]
    launched.clear()
    pool = cupy.cuda.MemoryPool()
    with capturing(cupy, stream, pool) as graph:
        _ = cupy.zeros_like(x) + cupy.arange(4)
    assert not launched
    assert graph[0].nodes == ["memset", "arange", "add"]
    graph[0].launch(stream)
    assert launched == ["graph"]


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "get": lambda cupy, x: x.get(),
    "item": lambda cupy, x: x[0].item(),
    "float": lambda cupy, x: float(x[0]),
    "bool": lambda cupy, x: bool(x[0] > 0),
    "tolist": lambda cupy, x: x.tolist(),
    "asnumpy": lambda cupy, x: cupy.asnumpy(x),
    "repr": lambda cupy, x: repr(x),
    "synchronize": lambda cupy, x: cupy.cuda.get_current_stream().synchronize(),
    "device": lambda cupy, x: cupy.cuda.Device().synchronize(),
    "asarray": lambda cupy, x: cupy.asarray(ON_HOST),
    "set": lambda cupy, x: x.set(ON_HOST),
    "nonzero": lambda cupy, x: cupy.nonzero(x),
    "where": lambda cupy, x: cupy.where(x),
    "argsort": lambda cupy, x: x.argsort(),
    "mask": lambda cupy, x: x[x > 2],
    "mask set": lambda cupy, x: x.__setitem__(x > 2, 0),
    "list": lambda cupy, x: x[[1, 2]],
    "index": lambda cupy, x: x.__setitem__(np.array([1, 2]), 0),
    "concatenate": lambda cupy, x: cupy.concatenate([x] * 9),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_waits_for_the_gpu_ends_a_capture(what: str, cupy: Any, stream: Any) -> None:
    x, pool = cupy.asarray(ON_HOST), cupy.cuda.MemoryPool()
    stream.wait_event(cupy.cuda.Stream.null.record())
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        with pytest.raises(CUDARuntimeError, match="CaptureUnsupported"):
            REFUSED[what](cupy, x)
        assert stream.is_capturing()
        for goes_on in (lambda: x.fill(1), stream.end_capture):
            with pytest.raises(CUDARuntimeError, match="CaptureInvalidated"):
                goes_on()
    assert not stream.is_capturing()
    assert x.tolist() == ON_HOST.tolist()


def test_events_while_capturing(cupy: Any, stream: Any) -> None:
    before = cupy.cuda.Stream.null.record()
    for wrong, error in (
        (lambda: stream.wait_event(before), "CaptureIsolation"),
        (lambda: stream.record().synchronize(), "CapturedEvent"),
    ):
        stream.begin_capture()
        with pytest.raises(CUDARuntimeError, match=error):
            wrong()
        with pytest.raises(CUDARuntimeError, match="Invalidated"):
            stream.end_capture()
    for asks in (lambda: stream.done, lambda: stream.record().done):
        stream.begin_capture()
        assert not asks()
        with pytest.raises(CUDARuntimeError, match="Invalidated"):
            stream.end_capture()


def test_a_capture_goes_on_after_what_cupy_itself_refuses(cupy: Any, stream: Any) -> None:
    x = cupy.ones((2, 2))
    with capturing(cupy, stream, cupy.cuda.MemoryPool()) as graph:
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            x @ x
        with pytest.raises(ValueError, match="broadcast"):
            x += cupy.empty(3)
    assert graph[0].nodes == []


def test_streams_begin_and_end_captures_in_turn(cupy: Any, stream: Any) -> None:
    with pytest.raises(RuntimeError, match="legacy"):
        cupy.cuda.Stream.null.begin_capture()
    with pytest.raises(CUDARuntimeError, match="IllegalState"):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="IllegalState"):
        stream.begin_capture()
    stream.end_capture()


def test_the_null_stream_stands_still_while_a_blocking_one_captures(cupy: Any) -> None:
    x, stream = cupy.ones(3), cupy.cuda.Stream()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="CaptureImplicit"):
        cupy.cuda.Stream.null.is_capturing()
    stream.end_capture()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="CaptureImplicit"):
        x += 1
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        stream.end_capture()


def test_a_capture_takes_memory_from_a_pool_of_its_own(cupy: Any, stream: Any) -> None:
    x = cupy.ones(3)
    for allocator in (cupy.get_default_memory_pool().malloc, None):
        with stream, cupy.cuda.using_allocator(allocator):
            stream.begin_capture()
            with pytest.raises(FakeError, match="while a stream is capturing"):
                x + 1
            stream.end_capture()


def test_a_graph_needs_the_memory_it_was_captured_with(cupy: Any, stream: Any) -> None:
    def captured(x: Any, pool: Any) -> Any:
        with capturing(cupy, stream, pool) as graph:
            x += x * 2
        return graph[0]

    x, pool = cupy.ones(3), cupy.cuda.MemoryPool()
    graph = captured(x, pool)
    graph.launch(stream)
    with stream, cupy.cuda.using_allocator(pool.malloc):
        other = cupy.empty(3)
    with pytest.raises(FakeError, match="belong to another array"):
        graph.launch(stream)
    assert np.isnan(copied(other)).all()
    del other
    second = captured(x, pool)  # the second graph has the memory of the first
    for each in (graph, second):
        each.launch(stream)
    graph = captured(x, pool)
    pool.free_all_blocks()
    with pytest.raises(FakeError, match="given back to the device"):
        graph.launch(stream)
    graph = captured(x, pool)
    del x
    with pytest.raises(FakeError, match=r"multiply.*of an array that is gone"):
        graph.launch(stream)
    stream.synchronize()
    x, pool = cupy.ones(3), cupy.cuda.MemoryPool()
    with capturing(cupy, stream, pool) as graphs:
        kept = x * 2
    del pool
    gc.collect()
    with pytest.raises(FakeError, match="a pool that is gone"):
        graphs[0].launch(stream)
    assert kept.size == 3


def test_a_pool_gives_freed_memory_out_again_poisoned(cupy: Any, stream: Any) -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones(100)
        assert (pool.used_bytes(), pool.total_bytes(), pool.n_free_blocks()) == (1024, 1024, 0)
        where = x.data.ptr
        del x
        assert (pool.used_bytes(), pool.total_bytes(), pool.n_free_blocks()) == (0, 1024, 1)
        with stream:
            assert cupy.empty(100).data.ptr != where  # a free block stays with its stream
        assert cupy.empty(1).data.ptr != where
        x = cupy.empty(128)
        assert x.data.ptr == where
        assert np.isnan(x.get()).all()
    pool.free_all_blocks()
    assert (pool.total_bytes(), pool.n_free_blocks()) == (1024, 0)
    pointer = pool.malloc(16)
    assert cupy.ndarray(2, memptr=pointer + 0).data.ptr == pointer.ptr
    cupy.cuda.set_allocator(pool.malloc)
    assert pool.used_bytes() == 1536
    y = cupy.ones(1)
    assert pool.used_bytes() == 2048
    assert y.data.mem.size == 8


def test_a_stream_is_current_in_its_thread_and_block(cupy: Any, stream: Any) -> None:
    current, null = cupy.cuda.get_current_stream, cupy.cuda.Stream.null
    with stream:
        assert current() == stream != null
    assert current() == null == cupy.cuda.Stream(null=True)
    stream.use()
    assert current() == stream
    with cupy.cuda.Stream():
        pass
    assert current() == null
