"""A fake library for the tests of `python -m benchmarks.cpu`: it sleeps instead of computing."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.workers import Way


class Library:
    """It does any case.

    Arguments:
        threads: how many it has; told as its version.
        seconds: of a call.
        fails: the part that it cannot do.
        dies: the part in which its process ends.
    """

    def __init__(
        self, threads: int, seconds: float = 0.001, fails: str = "", dies: str = ""
    ) -> None:
        self.seconds, self.fails, self.dies = seconds, fails, dies
        self.versions = {"Fake": f"{threads}.0"}

    def __getattr__(self, part: str) -> Any:
        return lambda case: self._ways(part)

    def _ways(self, part: str) -> dict[str, Way]:
        print("what a library prints is no answer")

        def call() -> float:
            if part == self.fails:
                raise ValueError("made\nup | here")
            if part == self.dies:
                raise SystemExit("it is gone")
            time.sleep(self.seconds)
            return 0.5

        slow = Way(lambda: time.sleep(100 * self.seconds))
        return {"slow": slow, "quick": Way(call)} if part == "train" else {"": Way(call)}
