"""The fake CuPy has no more than CuPy has, and is as strict."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.fake_cupy.functions import FAKED
from tests.support.fake_cupy.module import install


def test_what_is_fake_is_what_cupy_has() -> None:
    real = pytest.importorskip("cupy", exc_type=ImportError)
    assert not [name for name in FAKED if not hasattr(real, name)]
    with install() as cupy:
        assert not [name for name in vars(cupy) if not hasattr(real, name)]
        fake = {name for name in dir(cupy.ndarray) if not name.startswith("__")}
    own = {"_derived", "_device", "_memory", "_value"}
    assert not [name for name in fake - own if not hasattr(real.ndarray, name)]


def test_the_fake_cupy_is_as_strict_as_cupy(cupy: Any) -> None:
    x, on_host = cupy.arange(6.0).reshape(2, 3), np.ones((2, 3))
    for wrong in (
        lambda: x + on_host, lambda: on_host * x, lambda: x == on_host, lambda: np.exp(on_host) + x,
        lambda: cupy.maximum(x, on_host), lambda: np.concatenate([x, on_host]),
        lambda: np.asarray(x), lambda: np.float32(x), lambda: range(x[0, 0]),
        lambda: x.__iadd__(on_host), lambda: cupy.exp(on_host), lambda: x.sum(initial=1),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="non-scalar"):
        x[0] = on_host[0]
    assert type(x.sum()) is type(x[0, 0]) is type(np.exp(x)) is type(np.float32(2) * x) is type(x)
    assert x[0].base is x.base
    assert x.base.base is None
    assert x.T.base is x.base
    np.testing.assert_array_equal(x[:, np.array([2, 3, -1])].get()[0], [2, 0, 2])  # wraps around
    module = importlib.import_module("cupy")
    assert module is cupy
    assert isinstance(cupy.cuda.Device().attributes, dict)
    assert isinstance(x.flags, SimpleNamespace)
