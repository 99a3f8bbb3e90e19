"""A stand-in for a library in the tests of `python -m benchmarks.cpu`: its calls sleep."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.workers import Variant


class Library:
    """Runs any case.

    Arguments:
        threads: number of threads; reported as its version.
        seconds: duration of a call.
        fails: part that raises an error.
        dies: part that ends the process.
    """

    def __init__(
        self, threads: int, seconds: float = 0.001, fails: str = "", dies: str = ""
    ) -> None:
        self.seconds, self.fails, self.dies = seconds, fails, dies
        self.versions = {"Fake": f"{threads}.0"}

    def __getattr__(self, part: str) -> Any:
        return lambda case: self._variants(part)

    def _variants(self, part: str) -> dict[str, Variant]:
        print("printed by a library: not an answer")

        def call() -> float:
            if part == self.fails:
                raise ValueError("made\nup | here")
            if part == self.dies:
                raise SystemExit("it is gone")
            time.sleep(self.seconds)
            return 0.5

        slow = Variant(lambda: time.sleep(100 * self.seconds))
        return {"slow": slow, "quick": Variant(call)} if part == "train" else {"": Variant(call)}
