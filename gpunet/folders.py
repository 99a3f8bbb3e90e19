"""Folders where gpunet keeps files between runs."""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

__all__ = ["temporary_cache_folder", "user_cache_folder"]


def user_cache_folder() -> Path:
    """Return gpunet's folder for cached files of this user; it need not exist yet.

    It is ``gpunet`` in ``XDG_CACHE_HOME`` or ``~/.cache``, on macOS in ``~/Library/Caches``, on
    Windows in ``LOCALAPPDATA``; for a user without a home folder, `temporary_cache_folder`.

    Raises:
        OSError: if there is no home folder, and no temporary folder either.
    """
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
            return Path(local) / "gpunet" / "gpunet" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "gpunet"
        caches = os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache"
        return Path(caches) / "gpunet"
    except RuntimeError:  # as of a container's user that has no entry in /etc/passwd
        return temporary_cache_folder("This user has no home folder")


def temporary_cache_folder(reason: str) -> Path:
    """Return a folder of this user among the system's temporary ones, and warn the first time.

    Arguments:
        reason: why no other folder serves; it opens the warning.

    Raises:
        OSError: if none can be made, or another user can write to it.
    """
    owner = f"-{os.getuid()}" if hasattr(os, "getuid") else ""  # Windows has a folder for each user
    folder = Path(tempfile.gettempdir()) / f"gpunet{owner}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner:
        _check_private(folder)
    _warn_once(
        f"{reason}: gpunet caches files in {folder}, which the system may empty. Set "
        "NUMBA_CACHE_DIR (compiled kernels) and GPUNET_HOME (data) to folders that can be written."
    )
    return folder


def _check_private(folder: Path) -> None:
    """Raise `PermissionError` unless only this user can write there: caches are trusted."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(
            f"Expected {folder} to be a folder that only this user can write to. Remove it, or "
            "set NUMBA_CACHE_DIR and GPUNET_HOME to other folders."
        )


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)
