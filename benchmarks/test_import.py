"""Time of `import gpunet` and of `import numpy`, each in a fresh interpreter.

Both include the start of the interpreter, which the third row measures alone.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.parametrize("statement", ["import gpunet", "import numpy", "pass"])
def test_import(benchmark: Any, statement: str) -> None:
    command = [sys.executable, "-c", statement]
    benchmark.group = "import"
    benchmark.pedantic(subprocess.check_call, (command,), rounds=10, warmup_rounds=2)
