"""gpunet.arguments: plain Python values, and errors that name the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import arguments

NUMBERS = [2, 2.0, np.float32(2), np.float64(2), np.int64(2), np.uint8(2), np.array(2.0)]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_become_plain(value: Any) -> None:
    for found in (
        arguments.number(value, "gain", "f"),
        arguments.check_number("f", "gain", value),
        arguments.check_number("f", "gain", value, 2.0, or_equal=True),
    ):
        assert (found, type(found)) == (2.0, float)
    whole = isinstance(arguments.plain(value), int)
    for check in (arguments.integer, arguments.positive_integer):
        if whole:
            assert (check(value, "n", "f"), type(check(value, "n", "f"))) == (2, int)
        else:
            with pytest.raises((TypeError, ValueError), match=r"f.*n.*received"):
                check(value, "n", "f")


@pytest.mark.parametrize("value", [None, "2", [2], True, np.True_, np.ones(2), 2j], ids=repr)
def test_what_is_no_number(value: Any) -> None:
    for check in (
        lambda: arguments.number(value, "gain", "f"),
        lambda: arguments.check_number("f", "gain", value),
        lambda: arguments.integer(value, "gain", "f"),
    ):
        with pytest.raises(TypeError, match=r"f expects a.* for gain, received"):
            check()
    with pytest.raises(ValueError, match="f: gain must be a positive integer, received"):
        arguments.positive_integer(value, "gain", "f")


def test_numbers_out_of_range() -> None:
    for value in (float("nan"), float("inf"), np.float32("-inf")):
        with pytest.raises(ValueError, match="f expects a finite gain"):
            arguments.number(value, "gain", "f")
    with pytest.raises(ValueError, match="gain from 0 to below 1, received 1"):
        arguments.check_number("f", "gain", 1, 1.0)
    with pytest.raises(ValueError, match="n must be a positive integer, received 0"):
        arguments.positive_integer(0, "n", "f")
    assert arguments.positive_integer(np.int64(0), "n", "f", or_zero=True) == 0
    with pytest.raises(ValueError, match="n must be an integer of at least 0, received -1"):
        arguments.positive_integer(-1, "n", "f", or_zero=True)


def test_truth_values() -> None:
    for value in (True, np.True_, np.array(True)):
        assert arguments.boolean(value, "flag", "f") is True
    assert (arguments.boolean(1, "flag", "f"), arguments.boolean(0, "flag", "f")) == (True, False)
    for value in (2, 1.0, None, "no", np.array([1, 2]), []):
        with pytest.raises(TypeError, match="f expects flag as True or False, received"):
            arguments.boolean(value, "flag", "f")


def test_choices() -> None:
    for name in ("channels_first", "Channels_First"):
        assert arguments.check_data_format(name, "f") == "channels_first"
    with pytest.raises(ValueError, match=r"f: data_format must be one of .*mean 'channels_last'"):
        arguments.check_data_format("channel_last", "f")
    for value in (None, np.array(["a", "b"]), 3):
        with pytest.raises(ValueError, match="f: mode must be one of 'a', 'b', received"):
            arguments.check_choice(value, ("a", "b"), "mode", "f")
    assert arguments.check_choice(None, ("a", None), "mode", "f") is None


def test_functions_of_other_arguments() -> None:
    def scaled(y: Any, p: Any, *, scale: float) -> Any:
        return scale * (y - p)

    arguments.check_function(scaled, ("y", "p"), "f", scale=2.0)
    arguments.check_function(np.subtract, ("y", "p"), "f")  # its signature is not known
    message = r"f must be a function of \(y, p\), received one of \(y: 'Any', p: 'Any', \*, scale"
    with pytest.raises(TypeError, match=message):
        arguments.check_function(scaled, ("y", "p"), "f")
