"""The cache of kernels compiled for the CPU: what is rebuilt, and what is not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpunet.primitives.launch import Build
from tests.support.cuda_on_cpu import libraries

pytestmark = pytest.mark.skipif(
    libraries.compiler() is None, reason="needs g++ to run kernels on the CPU"
)

BUILD = Build("probe.cu", ())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache."""
    monkeypatch.setattr(libraries, "_cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the compiler's command lines from here on."""
    libraries._version()  # asked for once a process
    found: list[list[str]] = []
    run = subprocess.run

    def recorded(command: list[str], **options: Any) -> Any:
        found.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", recorded)
    return found


def compiled(**options: str) -> Path:
    macros = tuple(f"-D{name}={value}" for name, value in options.items())
    return libraries._compiled("answer", 'extern "C" int answer() { return ANSWER; }', macros)


def test_a_library_is_compiled_once(folder: Path, commands: list[list[str]]) -> None:
    path = compiled(ANSWER="1")
    assert compiled(ANSWER="1") == path
    assert len(commands) == 1
    assert compiled(ANSWER="2") != path
    assert len(commands) == 2
    assert sorted(folder.iterdir()) == sorted({path, compiled(ANSWER="2")})


def test_flags_and_the_version_of_the_compiler_are_in_the_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {compiled(ANSWER="1")}
    monkeypatch.setattr(libraries, "_FLAGS", [*libraries._FLAGS, "-DOTHER"])
    paths.add(compiled(ANSWER="1"))
    monkeypatch.setattr(libraries, "_version", lambda: "g++ 99")
    paths.add(compiled(ANSWER="1"))
    assert len(paths) == 3


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "without its digest": lambda content: content[:-32],
    "another byte": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "no library": lambda content: b"text",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_library_is_compiled_again(
    folder: Path, commands: list[list[str]], damage: str
) -> None:
    path = compiled(ANSWER="1")
    content = path.read_bytes()
    path.unlink()  # a loaded file is replaced, never written to
    path.write_bytes(DAMAGE[damage](content))
    assert compiled(ANSWER="1") == path
    assert len(commands) == 2
    assert libraries._is_whole(path)


def test_an_error_of_the_compiler_leaves_no_file(folder: Path) -> None:
    with pytest.raises(libraries.CompileError, match=r"answer\.cu -DANSWER=nothing\n"):
        compiled(ANSWER="nothing")
    assert list(folder.iterdir()) == []


def test_several_may_compile_the_same_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        paths = list(threads.map(lambda _: compiled(ANSWER="1"), range(4)))
    assert list(folder.iterdir()) == [paths[0]]
    assert libraries._is_whole(paths[0])


def test_libraries_unused_for_long_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    find = libraries._cache_folder.__wrapped__
    old, new = find() / "old.so", find() / "new.so"
    for path, days in ((old, 31), (new, 29)):
        path.touch()
        used = time.time() - days * 24 * 3600
        os.utime(path, (used, used))
    find()
    assert [path.name for path in old.parent.iterdir()] == ["new.so"]
