"""Run a program in a fresh process and see what it takes: time, and memory of all its processes.

Memory is read from /proc, so this works on Linux alone.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SAMPLE_S = 0.02
_SHOWN_CHARACTERS = 600


@dataclass(frozen=True)
class Measurement:
    """One run of a program.

    Attributes
    ----------
    wall_s
        From the start of the process to its end.
    peak_mb
        Largest resident memory of any one of its processes, in MB of 10^6 bytes.
    peak_sum_mb
        Largest sum over its processes at one moment, shared pages counted in each.
    result
        What the program wrote; empty where it failed.
    failure
        End of its output where it failed, else empty.
    """

    wall_s: float
    peak_mb: float
    peak_sum_mb: float
    result: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def measure(
    command: Sequence[str], *, result: Path | None, log: Path, timeout_s: float = 3600
) -> Measurement:
    """Run `command` and measure it; `result` is the JSON file that it writes, if it does."""
    if result is not None:
        result.unlink(missing_ok=True)
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        memory = _Memory(process.pid)
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
            process.kill()
            process.wait()
        wall = time.perf_counter() - started
    peak, peak_sum = memory.stop()
    found: dict[str, Any] = {}
    failure = ""
    if code != 0 or (result is not None and not result.is_file()):
        ended = f"took more than {timeout_s:g} s" if code is None else f"exit code {code}"
        tail = log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_CHARACTERS:].strip()
        failure = f"{ended}: {tail}"
    elif result is not None:
        found = json.loads(result.read_text(encoding="utf-8"))
    return Measurement(wall, peak, peak_sum, found, failure)


def warm(path: Path) -> None:
    """Bring a file into the page cache, and let earlier writes reach the disk."""
    os.sync()
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


class _Memory:
    """Samples the resident memory of a process and all its descendants until told to stop."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self._peak_sum = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """Return the largest peak of one process and the largest sum, in MB."""
        self._stopped.set()
        self._thread.join()
        peak = max(self._peaks.values(), default=0)
        # A peak between two samples is in the first alone.
        return peak / 1e6, max(peak, self._peak_sum) / 1e6

    def _watch(self) -> None:
        while not self._stopped.is_set():
            total = 0
            for pid in descendants(self._pid):
                memory = resident(pid)
                total += memory["VmRSS"]
                self._peaks[pid] = max(self._peaks.get(pid, 0), memory["VmHWM"])
            self._peak_sum = max(self._peak_sum, total)
            self._stopped.wait(_SAMPLE_S)


def descendants(pid: int) -> list[int]:
    """List a process and all that it started, as far as they live."""
    found = [pid]
    for parent in found:
        # It may end while its threads are listed.
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, _read(children).split())
    return found


def resident(pid: int) -> Mapping[str, int]:
    """Return VmRSS and VmHWM, its peak, in bytes; zero for a process that has ended."""
    memory = {"VmRSS": 0, "VmHWM": 0}
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        name, _, value = line.partition(":")
        if name in memory:
            memory[name] = int(value.split()[0]) * 1024
    return memory


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # It has ended since.
        return ""
