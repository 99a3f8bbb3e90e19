"""The cache folder of downloaded data, and downloads into it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from gpunet.folders import user_cache_folder

__all__ = ["RemoteFile", "cache_folder", "fetch"]

_VARIABLE = "GPUNET_HOME"


class RemoteFile(NamedTuple):
    """A file to download."""

    name: str  # path relative to the cache folder, with forward slashes
    url: str
    sha256: str  # of the content, in hexadecimal


def cache_folder() -> Path:
    """Return the folder of downloaded data, which may not exist yet.

    It is ``GPUNET_HOME`` if that is set, else `gpunet.folders.user_cache_folder`.
    """
    home = os.environ.get(_VARIABLE, "").strip()
    return Path(home).expanduser() if home else user_cache_folder()


def fetch(file: RemoteFile) -> Path:
    """Return the path of `file` in the cache folder; download the file if it is missing.

    An existing file is used unchanged, even in a read-only folder. A download is moved to its place
    once it is complete and its SHA-256 matches; a failed download leaves no file.

    Raises:
        ImportError: a download is needed and pooch is not installed.
        ConnectionError: the download failed.
        OSError: the file cannot be written.
    """
    path = cache_folder() / file.name
    if not path.is_file():
        _download(file, path)
    return path


def _download(file: RemoteFile, path: Path) -> None:
    try:
        import pooch
        import requests
    except ImportError as error:
        raise ImportError(
            f"Downloading {path.name} needs pooch, which is not installed. "
            f'Install it: pip install "gpunet[datasets]". {_alternatives(path)}'
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            file.url,
            f"sha256:{file.sha256}",
            fname=path.name,
            path=path.parent,
            progressbar=importlib.util.find_spec("tqdm") is not None,
        )
    except requests.RequestException as error:
        cause = getattr(error.args[0], "reason", error) if error.args else error
        reason = f"Could not download {path.name} from {file.url}: {_one_line(cause)}."
        raise ConnectionError(f"{reason} {_alternatives(path)}") from error
    except ValueError as error:  # raised by pooch for a wrong checksum
        reason = (
            f"The download from {file.url} is not the expected {path.name}: {_one_line(error)}."
        )
        raise ConnectionError(f"{reason} {_alternatives(path)}") from error
    except OSError as error:
        raise OSError(
            f"Could not write {path}: {_one_line(error)}. Set {_VARIABLE} to a writable folder."
        ) from error


def _alternatives(path: Path) -> str:
    return (
        f"Or place {path.name} in the folder {path.parent} yourself. Offline, use "
        "gpunet.datasets.digits.load_data(), which needs no download."
    )


def _one_line(error: Exception) -> str:
    """Return an error's message on one line, at most 300 characters."""
    text = " ".join(str(error).split()).rstrip(". ") or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
