"""The folder of downloaded data, and how a file gets into it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from gpunet.folders import user_cache_folder

__all__ = ["RemoteFile", "cache_folder", "fetch"]

_VARIABLE = "GPUNET_HOME"


class RemoteFile(NamedTuple):
    """A file to download.

    Attributes:
        name: its path below the cache folder, with forward slashes.
        url: where it is.
        sha256: the SHA-256 of its content, in hexadecimal.
    """

    name: str
    url: str
    sha256: str


def cache_folder() -> Path:
    """Return the folder of downloaded data; it need not exist yet.

    It is ``GPUNET_HOME`` if that is set, else `gpunet.folders.user_cache_folder`.
    """
    home = os.environ.get(_VARIABLE, "").strip()
    return Path(home).expanduser() if home else user_cache_folder()


def fetch(file: RemoteFile) -> Path:
    """Return where `file` lies in the cache folder, downloaded if it is not there yet.

    A file that is there is taken as it is, and its folder may be read-only. A download is put in
    place once it is whole and its SHA-256 is right; nothing stays of one that fails.

    Raises:
        ImportError: if it must be downloaded and pooch is not installed.
        ConnectionError: if it cannot be downloaded.
        OSError: if it cannot be written.
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
            f'Install it: pip install "gpunet[datasets]". {_otherwise(path)}'
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
        raise ConnectionError(f"{reason} {_otherwise(path)}") from error
    except ValueError as error:  # pooch says so of a wrong checksum
        reason = f"What came from {file.url} is not {path.name}: {_one_line(error)}."
        raise ConnectionError(f"{reason} {_otherwise(path)}") from error
    except OSError as error:
        raise OSError(
            f"Could not write {path}: {_one_line(error)}. Set {_VARIABLE} to a folder that can be "
            "written."
        ) from error


def _otherwise(path: Path) -> str:
    return (
        f"Or place {path.name} in the folder {path.parent} yourself. Offline, "
        "gpunet.datasets.digits.load_data() needs no download."
    )


def _one_line(error: Exception) -> str:
    """Return the message of an error on one line of bounded length."""
    text = " ".join(str(error).split()).rstrip(". ") or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
