import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner import Task, memory
from wsi_specdec.runner.task import run_task
from wsi_specdec.runner.worker import Worker


@pytest.mark.parametrize(
    ("payload", "state", "reason", "logged"),
    [
        (("tiles", 3), "done", "", None),
        (("empty", "no tissue found"), "empty", "no tissue found", None),
        (("unsupported", None), "skipped", "looks like fluorescence", None),
        (("unreadable", None), "failed", "cannot read a.svs: truncated", "deep cause"),
        (("surprise", None), "failed", "ZeroDivisionError: oh", "in surprise"),
    ],
)
def test_errors_become_data(
    payload: tuple[str, Any], state: str, reason: str, logged: str | None, task_module: ModuleType
) -> None:
    report = run_task(task_module.run, payload, None)
    assert (report.state, report.reason) == (state, reason)
    assert report.tiles == (3 if state == "done" else 0)
    assert (logged in report.traceback) if logged else (report.traceback == "")
    assert 0 < report.resident_mb <= report.peak_rss_mb + 1


def test_peak_is_of_the_task_alone(task_module: ModuleType) -> None:
    large = run_task(task_module.run, ("touch", 150), None)
    small = run_task(task_module.run, ("tiles", 1), None)
    assert large.peak_rss_mb > small.peak_rss_mb + 100


def test_the_watch_lets_go_when_the_block_ends() -> None:
    with memory.watched(1e9):
        assert memory.resident_mb() > 1
    with pytest.raises(KeyError), memory.watched(None):
        raise KeyError


def test_a_worker_that_keeps_too_much_memory_is_replaced(task_module: ModuleType) -> None:
    worker = Worker(RunnerConfig(memory_limit_mb=20_000))
    try:

        def pid(config: RunnerConfig) -> int:
            worker._config = config
            worker.submit(task_module.run, Task("a", ("pid", None)))
            while not worker.wait(1.0):
                pass
            return worker.collect().tiles

        first = pid(RunnerConfig(memory_limit_mb=20_000))
        # What it holds is now above half of its limit, though below the limit itself.
        assert pid(RunnerConfig(memory_limit_mb=None)) == first
        resident = _resident_mb(first)
        assert pid(RunnerConfig(memory_limit_mb=1.5 * resident)) == first
        assert pid(RunnerConfig(memory_limit_mb=20_000)) not in {first, os.getpid()}
    finally:
        worker.stop()


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return float(line.split()[1]) / 1024
