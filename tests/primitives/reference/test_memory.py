"""Memory that is used again: never while somebody looks at it, and never too much of it kept."""

import gc
import threading

import numpy as np
import pytest

from gpunet.primitives.reference import memory

LARGE = 1 << 18  # bytes, above the size from which memory is kept


@pytest.fixture(autouse=True)
def nothing_kept():
    memory._unused.clear()
    yield
    memory._unused.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_given_out_again_when_the_array_is_gone():
    first = memory.empty((LARGE,), "uint8")
    where = address(first)
    del first
    second = memory.empty((LARGE // 4,), "float32")
    assert address(second) == where
    assert second.dtype == np.float32
    assert second.flags.c_contiguous
    assert second.flags.writeable


def test_a_view_keeps_its_memory():
    first = memory.empty((4, LARGE // 4), "uint8")
    first[...] = 7
    view = first[1:, ::2].reshape(-1)[:10]
    del first
    gc.collect()
    second = memory.empty((4, LARGE // 4), "uint8")
    second[...] = 9
    assert (view == 7).all()


def test_arrays_start_at_a_cache_line():
    for size in (LARGE, LARGE + 1, 3 * LARGE + 7):
        assert address(memory.empty((size,), "uint8")) % 64 == 0


def test_small_arrays_are_numpys_own():
    assert memory.empty((10,), "float32").base is None
    assert not memory._unused


def test_a_much_larger_piece_is_not_taken():
    del_me = memory.empty((4 * LARGE,), "uint8")
    del del_me
    kept = memory.kept_bytes()
    small = memory.empty((LARGE,), "uint8")
    assert memory.kept_bytes() == kept
    assert small.nbytes == LARGE


def test_what_is_kept_has_a_limit():
    arrays = [memory.empty((memory._MOST_KEPT // 4,), "uint8") for _ in range(9)]
    arrays.clear()
    assert 0 < memory.kept_bytes() <= memory._MOST_KEPT


def test_no_two_threads_get_the_same_memory():
    errors = []

    def work(mark):
        for _ in range(300):
            array = memory.empty((LARGE,), "uint8")
            array[:] = mark
            if not (array == mark).all():
                errors.append(mark)
            del array

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
