"""Programs that tests start, none of which outlives its test."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]


def run_group(
    command: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a program to its end and give its output; fail the test where it takes too long.

    Unlike after `subprocess.run`, what the program itself started ends too: a grandchild that
    hangs would keep the pipes open, and the test waiting.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=env,
        cwd=cwd,
        start_new_session=True,
    ) as process:
        late = False
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if late:
            out, err = process.communicate()
    if late:
        pytest.fail(f"{command} took more than {timeout:g} s; it had printed\n{out}\n{err}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)
