"""New processes: Python code in one, or a function in a fork of this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import gpunet

ROOT = Path(gpunet.__file__).parents[1]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process with these environment variables, and without GPUNET_FAST."""
    environment = {key: value for key, value in os.environ.items() if key != "GPUNET_FAST"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def succeeds_in_fork(function: Callable[[], bool]) -> bool:
    """Return whether the function returns True in a forked process; fail where that hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if function() else 1
        finally:
            os._exit(code)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked process hangs")
