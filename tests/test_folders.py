"""Folders of cached files, for users without a home folder too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from gpunet import cli, datasets, folders

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has a folder for each user")


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the system's temporary folder; there is no home folder, and no warning was given."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("GPUNET_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders._warn_once.cache_clear()
    return tmp_path


def test_without_a_home_folder_there_is_a_private_temporary_one(temporary: Path) -> None:
    with pytest.warns(RuntimeWarning, match="no home folder: gpunet caches files in"):
        folder = folders.user_cache_folder()
    assert folders.user_cache_folder() == folder  # and no second warning
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o077 == 0


def test_a_cache_folder_of_the_environment_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert folders.user_cache_folder() == Path("/caches/gpunet")


def test_a_folder_that_others_can_write_to_is_refused(temporary: Path) -> None:
    folder = temporary / f"gpunet-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="only this user can write to"):
        folders.user_cache_folder()
    folder.rmdir()
    folder.symlink_to(temporary)
    with pytest.raises(PermissionError, match="only this user can write to"):
        folders.user_cache_folder()


def test_doctor_and_datasets_need_no_home_folder(temporary: Path) -> None:
    with pytest.warns(RuntimeWarning, match="no home folder"):
        folder = datasets.cache_folder()
    assert folder.parent == temporary
    assert str(folder) in " ".join(cli.doctor().split())


def test_doctor_tells_of_a_home_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_HOME", "~/data")
    monkeypatch.setattr(os.path, "expanduser", str)
    assert "data cache      Could not determine home directory" in cli.doctor()
