"""Kernels that are compiled once, and cached on disk, whatever becomes of the files."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gpunet import folders
from tests.support.processes import python

numba = pytest.importorskip("numba")
event = importlib.import_module("numba.core.event")
compiling = importlib.import_module("gpunet.primitives.fast.compile")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty folder, in use for compiled kernels; no warning was given yet."""
    monkeypatch.setattr(compiling, "_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(compiling, "_warned", set())
    return tmp_path


def double(x: compiling.Floats) -> None:
    for i in range(x.size):
        x[i] *= 2


def compiled() -> Any:
    """Return a kernel that works, compiled or loaded as in a new process."""
    made = compiling._compile(double, compiling._signature(double, {}))
    x = np.ones(3, np.float32)
    made(x)
    assert x.tolist() == [2, 2, 2]
    return made


class Sizes(NamedTuple):
    rows: int
    columns: int


def annotated(
    x: compiling.Floats, rows: compiling.IntsIn, data: Any, sizes: Sizes, count: int,
    scale: np.float32, is_copy: bool,
) -> None:  # fmt: skip
    pass


def test_a_kernel_has_the_types_of_its_annotations() -> None:
    types = numba.types
    expected = types.void(
        types.Array(types.float32, 1, "C"),
        types.Array(types.int64, 1, "C", readonly=True),
        types.Array(types.uint8, 1, "C", readonly=True),
        types.NamedUniTuple(types.int64, 2, Sizes),
        types.int64,
        types.float32,
        types.boolean,
    )
    assert compiling._signature(annotated, {"data": compiling.BytesIn}) == expected


def was_loaded(kernel: Any) -> bool:
    return sum(kernel.stats.cache_hits.values()) == 1


def test_a_kernel_is_compiled_once(cache: Path) -> None:
    assert not was_loaded(compiled())
    assert was_loaded(compiled())
    assert len([*cache.rglob("*.nbi"), *cache.rglob("*.nbc")]) == 2


def flipped(data: bytes) -> bytes:
    """Return the data with one bit of the machine code changed."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "not ours": lambda data: pickle.dumps({"some": "object"}),
}


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [*((suffix, damage) for suffix in ("nbi", "nbc") for damage in DAMAGES), ("nbc", "flipped")],
)
def test_a_damaged_file_is_replaced(suffix: str, damage: str, cache: Path) -> None:
    compiled()
    (path,) = cache.rglob(f"*.{suffix}")
    path.write_bytes((DAMAGES | {"flipped": flipped})[damage](path.read_bytes()))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert not was_loaded(compiled())
        assert was_loaded(compiled())
    # Of an index that is another program's Numba says nothing, and writes its own.
    assert len(given) == (0 if (suffix, damage) == ("nbi", "not ours") else 1)
    for warning in given:
        assert "A cached kernel cannot be read and is compiled again: " in str(warning.message)


@pytest.mark.skipif(os.name == "nt", reason="files have no such limit")
def test_on_a_full_disk_kernels_are_used_unsaved(cache: Path) -> None:
    import resource

    _, most = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
        try:
            for _ in range(2):
                assert not was_loaded(compiled())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (message,) = [str(warning.message) for warning in given]
    assert f"Compiled kernels cannot be saved in {cache}" in message
    assert "File too large" in message


def test_a_folder_that_goes_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()  # no folder can be made below a file
    monkeypatch.setattr(compiling, "_cache_folder", lambda: cache / "file")
    with pytest.warns(RuntimeWarning, match="Compiled kernels cannot be saved in"):
        assert not was_loaded(compiled())


def test_where_no_folder_can_be_written_it_is_a_temporary_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()  # the real `_cache_folder`
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiling.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders._warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="gpunet caches files in"):
        folder = compiling._cache_folder.__wrapped__()
    assert compiling._cache_folder.__wrapped__() == folder  # and no second warning
    assert folder.parent.parent == tmp_path
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


@pytest.fixture
def interrupt_in_compilation() -> Iterator[None]:
    """Send Ctrl-C when something is compiled."""

    class Interrupt(event.Listener):
        def on_start(self, event: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # until the main thread is told

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Interrupt()):
        yield


def test_an_interrupt_does_not_cut_a_compilation_short(
    cache: Path, interrupt_in_compilation: None
) -> None:
    kernel = compiling.kernel(double)
    x = np.ones(3, np.float32)
    with pytest.raises(KeyboardInterrupt):
        kernel(x)
    kernel(x)
    assert x.tolist() == [2, 2, 2]
    assert was_loaded(compiled())


def test_kernels_are_cached_between_processes(tmp_path: Path) -> None:
    code = """
        import numpy as np
        from gpunet import primitives
        rows = np.ones((3, 5), np.float32)
        print(primitives.bias_backward(rows), primitives.bias_backward(rows))
    """
    first = python(code, NUMBA_CACHE_DIR=str(tmp_path), GPUNET_NUM_THREADS="1")
    assert first.stderr.count("gpunet: compiling kernels for this processor, once") == 1
    assert list(tmp_path.rglob("*.nbc"))
    second = python(code, NUMBA_CACHE_DIR=str(tmp_path), GPUNET_NUM_THREADS="1")
    assert second.stderr == ""
    assert first.stdout == second.stdout == "[3. 3. 3. 3. 3.] [3. 3. 3. 3. 3.]\n"
