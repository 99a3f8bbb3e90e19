"""Checks of arguments that many functions and layers share."""

from __future__ import annotations

from typing import Any

__all__ = ["check_data_format", "positive_integer"]


def positive_integer(value: Any, argument: str, where: str) -> int:
    """Return `value` if it is a positive integer, else raise `ValueError`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{where}: {argument} must be a positive integer, received {value!r}.")
    return int(value)


def check_data_format(data_format: str, where: str) -> str:
    """Return `data_format` if it is a known layout, else raise `ValueError`."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"{where}: data_format must be 'channels_last' or 'channels_first', "
            f"received {data_format!r}."
        )
    return data_format
