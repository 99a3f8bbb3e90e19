from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder; Keras' and the user's are empty too."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("GPUNET_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return home


def real_data(name: str) -> Path:
    """Return GPUNET_HOME where it holds a file; skip the test elsewhere."""
    home = os.environ.get("GPUNET_HOME")
    if not home:
        pytest.skip(f"needs {name}: GPUNET_HOME is not set")
    if not (Path(home) / name).is_file():
        pytest.skip(f"needs {name}: there is none in GPUNET_HOME={home}")
    return Path(home)
