"""Programs that tests start, none of which outlives its test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, at most two minutes; tell whether it holds."""
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than a zombie that nobody collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def started(*command: str, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a program in the background, whatever it started ending with it."""
    with (cwd / "log.txt").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=log,
            stderr=log,
            text=True,
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler_in(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Address and process of a scheduler without workers."""
    file = folder / "scheduler.json"
    command = ("dask", "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with started(*command, cwd=folder) as process:
        assert until(lambda: file.exists() and file.stat().st_size > 0)
        yield json.loads(file.read_text())["address"], process
