"""Division of work on flat arrays into tasks: by its amount, not by the number of threads."""

from __future__ import annotations

from gpunet.primitives.fast.compile import helper

__all__ = ["LEAST_TASK", "share", "tasks_for"]

LEAST_TASK = 1 << 15
"""Elements of simple arithmetic that are worth a task: some 20 microseconds."""

_LINE = 16  # floats of a cache line, of which no two tasks should write parts


def tasks_for(size: int, least: int = LEAST_TASK) -> int:
    """Return into how many tasks of at least `least` elements `size` of them are divided."""
    return max(1, size // least)


@helper
def share(task: int, tasks: int, size: int) -> tuple[int, int]:
    """Return the first element of a task, and the first one after it."""
    lines = (size + _LINE - 1) // _LINE
    return task * lines // tasks * _LINE, min((task + 1) * lines // tasks * _LINE, size)
