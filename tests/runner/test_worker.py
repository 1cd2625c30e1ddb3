"""A worker process that dies outside a slide costs no slide; one that cannot start is noticed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner import Task, advance_tiles
from wsi_specdec.runner.task import Report
from wsi_specdec.runner.worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    started = Worker(RunnerConfig())
    yield started
    started.stop()


def report_of(worker: Worker, module: ModuleType, payload: tuple[str, Any]) -> Report:
    worker.submit(module.run, Task("a", payload))
    while not worker.wait(1.0):
        pass
    return worker.collect()


@pytest.mark.parametrize("noticed", [False, True])
def test_a_process_that_dies_idle_costs_no_slide(
    worker: Worker, task_module: ModuleType, *, noticed: bool
) -> None:
    pid = report_of(worker, task_module, ("pid", None)).tiles
    os.kill(pid, signal.SIGKILL)
    if noticed:
        time.sleep(0.5)
    report = report_of(worker, task_module, ("pid", None))
    assert report.state == "done"
    assert report.tiles not in {pid, 0}


def test_a_process_that_cannot_start_is_noticed_soon(
    worker: Worker, task_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSI_SPECDEC_TEST_BAD_START", "1")
    started = time.monotonic()
    report = report_of(worker, task_module, ("tiles", 1))
    assert report.state == "failed"
    assert "no worker process could start, in 2 attempts" in report.reason
    assert time.monotonic() - started < 20
    monkeypatch.delenv("WSI_SPECDEC_TEST_BAD_START")
    assert report_of(worker, task_module, ("tiles", 1)).tiles == 1


def test_a_slide_that_kills_its_process_is_run_once(
    worker: Worker, task_module: ModuleType, tmp_path: Path
) -> None:
    assert "SIGKILL" in report_of(worker, task_module, ("kill", None)).reason
    assert worker._starts == 1


def test_tiles_under_way_are_seen_and_forgotten(worker: Worker, task_module: ModuleType) -> None:
    advance_tiles(5)
    worker.submit(task_module.run, Task("a", ("advance", 30)))
    seen = set()
    while not worker.wait(0.2):
        seen.add(worker.tiles)
    assert worker.collect().tiles == worker.tiles == 300
    assert len(seen) > 3
    worker.submit(task_module.run, Task("b", ("tiles", 1)))
    assert worker.tiles == 0
