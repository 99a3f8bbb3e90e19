"""Streams of the fake CuPy: what does not wait for what it needs is an error there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import primitives
from tests.support.fake_cupy.gpu import CUDARuntimeError
from tests.support.fake_cupy.module import install
from tests.support.fake_cupy.timeline import FakeError


@pytest.fixture
def stream(cupy: Any) -> Any:
    return cupy.cuda.Stream(non_blocking=True)


@pytest.fixture
def other(cupy: Any) -> Any:
    return cupy.cuda.Stream(non_blocking=True)


def pinned(cupy: Any, count: int) -> np.ndarray:
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(4 * count), np.float32, count)


USES: dict[str, Callable[[Any, Any], Any]] = {
    "get": lambda cupy, x: x.get(),
    "sin": lambda cupy, x: cupy.sin(x),
    "activation_forward": lambda cupy, x: primitives.activate(x, "relu"),
    "add": lambda cupy, x: x.__iadd__(1),
    "fill": lambda cupy, x: x[:2].fill(0),
    "copy": lambda cupy, x: x.__setitem__(0, x[1]),
    "set": lambda cupy, x: x.set(np.zeros(4, "float32")),
}
WAITS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "wait_event": lambda cupy, first, second: second.wait_event(first.record()),
    "stream": lambda cupy, first, second: first.synchronize(),
    "event": lambda cupy, first, second: first.record().synchronize(),
    "device": lambda cupy, first, second: cupy.cuda.Device().synchronize(),
    "done": lambda cupy, first, second: first.done or pytest.fail("busy"),
    "event done": lambda cupy, first, second: first.record().done or pytest.fail("busy"),
    "by way of": lambda cupy, first, second: _by_way_of(cupy.cuda.Stream(), first, second),
}


def _by_way_of(third: Any, first: Any, second: Any) -> None:
    third.wait_event(first.record())
    second.wait_event(third.record())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wait", WAITS)
def test_a_use_waits_for_the_write_before_it(
    use: str, wait: str, cupy: Any, stream: Any, other: Any
) -> None:
    with stream:
        x = cupy.ones(4, "float32")
    message = rf"race: {use} on stream {other.ptr} .* that fill on stream {stream.ptr} writes"
    with other:
        with pytest.raises(FakeError, match=message):
            USES[use](cupy, x)
        WAITS[wait](cupy, stream, other)
        USES[use](cupy, x)


def test_a_write_waits_for_the_reads_before_it(cupy: Any, stream: Any, other: Any) -> None:
    x = cupy.ones(4)
    for each in (stream, other):
        each.wait_event(cupy.cuda.Stream.null.record())
        with each:
            _ = x + 1
    stream.wait_event(event := other.record())
    with other:
        _ = x * 2  # after the event
    with stream, pytest.raises(FakeError, match=rf"add.*multiply on stream {other.ptr} reads"):
        x += 1
    stream.wait_event(other.record(event))
    with stream:
        x += 1


def test_the_null_stream_and_blocking_ones_wait_for_each_other(cupy: Any, stream: Any) -> None:
    blocking, x = cupy.cuda.Stream(), cupy.ones(4)
    with blocking:
        x += 1
    x += 1
    with blocking:
        x += 1
    with stream, pytest.raises(FakeError, match="race"):
        x += 1


def test_a_graph_waits_as_its_nodes_do(cupy: Any, stream: Any, other: Any) -> None:
    x, pool = cupy.zeros(4), cupy.cuda.MemoryPool()
    stream.wait_event(cupy.cuda.Stream.null.record())
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        y = x + 1
        x += y
        graph = stream.end_capture()
        graph.launch()
    with pytest.raises(FakeError, match=rf"get on stream 0 .* add on stream {stream.ptr} writes"):
        x.get()
    graph.upload(other)
    graph.launch(other)  # launches of one graph wait for each other
    cupy.cuda.Stream.null.wait_event(other.record())
    assert x.tolist() == [3] * 4
    x.fill(0)
    with pytest.raises(FakeError, match=rf"add on stream {stream.ptr} .* fill on stream 0 writes"):
        graph.launch(stream)


def test_streams_keep_away_from_what_is_being_captured(cupy: Any, stream: Any, other: Any) -> None:
    x, y = cupy.zeros(4), cupy.zeros(4)
    cupy.cuda.Device().synchronize()
    stream.begin_capture()
    with stream:
        x += 1
    with other:
        y += 1
        with pytest.raises(FakeError, match="while capturing goes on"):
            x.get()
    with stream, pytest.raises(FakeError, match="while capturing goes on"):
        x += y
    with pytest.raises(NotImplementedError, match="more than one stream"):
        other.wait_event(stream.record())
    event = stream.record()
    stream.end_capture()
    with pytest.raises(CUDARuntimeError, match="CapturedEvent"):
        other.wait_event(event)


def test_freed_memory_is_used_again_after_what_used_it(cupy: Any, stream: Any, other: Any) -> None:
    with stream:
        x = cupy.ones(4)
        other.wait_event(stream.record())
        with other:
            _ = x + 1
        del x
        y = cupy.empty(4)
        with pytest.raises(FakeError, match=rf"fill.*add on stream {other.ptr} reads"):
            y.fill(0)


def test_a_copy_to_the_host_is_there_when_the_host_has_waited(cupy: Any, stream: Any) -> None:
    with stream:
        x = cupy.ones(4, "float32")
        on_host = x.get(out=pinned(cupy, 4), blocking=False)
        x += 1
        assert np.isnan(on_host).all()
        stream.synchronize()
    assert on_host.tolist() == [1] * 4


def test_pinned_memory_is_not_written_before_it_is_copied(cupy: Any, stream: Any) -> None:
    on_host, x = pinned(cupy, 4), cupy.empty(4, "float32")
    on_host[:] = 1
    x.set(on_host, stream)
    copied = stream.record()
    copied.synchronize()
    on_host[:] = 2
    x.set(on_host, stream)
    stream.record(copied)
    on_host[1] = 3
    with pytest.raises(FakeError, match=f"pinned memory was written that stream {stream.ptr}"):
        copied.synchronize()


def test_memory_that_can_be_paged_is_copied_before_set_returns(cupy: Any, stream: Any) -> None:
    on_host, x = np.ones(4, "float32"), cupy.empty(4, "float32")
    x.set(on_host, stream)
    y = cupy.asarray(there := pinned(cupy, 4))  # CuPy copies this, too
    on_host[:] = there[:] = 2
    with stream:
        assert x.tolist() == [1] * 4
    cupy.cuda.Device().synchronize()
    assert y.shape == (4,)
    for wrong, error in (
        (lambda: x.set(on_host[:3]), ValueError),
        (lambda: x.set(on_host.astype(float)), TypeError),
        (lambda: x.set([1.0] * 4), TypeError),
        (lambda: x[::2].set(on_host[:2].copy()), RuntimeError),
    ):
        with pytest.raises(error):
            wrong()


def test_freed_pinned_memory_is_given_out_again(cupy: Any, stream: Any) -> None:
    on_host, x = pinned(cupy, 4), cupy.empty(4, "float32")
    on_host[:] = 1
    x.set(on_host, stream)
    address = on_host.ctypes.data
    del on_host
    again = pinned(cupy, 3)
    assert again.ctypes.data == address
    again[:] = 2
    with pytest.raises(FakeError, match="pinned memory was written"):
        stream.synchronize()
    pool = cupy.cuda.PinnedMemoryPool()
    memory = pool.malloc(100)
    assert memory.ptr % 512 == 0
    assert pool.n_free_blocks() == 0
    del memory
    assert pool.n_free_blocks() == 1
    pool.free_all_blocks()
    assert pool.n_free_blocks() == 0


def test_a_graph_copies_what_pinned_memory_holds_at_each_launch(cupy: Any, stream: Any) -> None:
    on_host, x = pinned(cupy, 4), cupy.empty(4, "float32")
    with stream:
        stream.begin_capture()
        x.set(on_host)
        graph = stream.end_capture()
        for number in (1, 2):
            on_host[:] = number
            graph.launch()
            assert x.tolist() == [number] * 4
        graph.launch()
        on_host[:] = 3
        with pytest.raises(FakeError, match="pinned memory"):
            stream.synchronize()


def test_what_nobody_waited_for_is_seen_at_the_end() -> None:
    def program() -> None:
        with install() as cupy:
            stream = cupy.cuda.Stream(non_blocking=True)
            on_host = pinned(cupy, 4)
            cupy.empty(4, "float32").set(on_host, stream)
            on_host[:] = 1

    with pytest.raises(FakeError, match="pinned memory"):
        program()


def test_events_tell_the_time_between_them(cupy: Any, stream: Any) -> None:
    first, last = cupy.cuda.Event(), cupy.cuda.Event()
    for wrong in (cupy.cuda.Event(), stream.record(cupy.cuda.Event(disable_timing=True))):
        with pytest.raises(CUDARuntimeError, match="InvalidResourceHandle"):
            cupy.cuda.get_elapsed_time(stream.record(first), wrong)
    assert cupy.cuda.get_elapsed_time(first, stream.record(last)) >= 0
