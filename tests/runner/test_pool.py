import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wsi_specdec import progress
from wsi_specdec.config import RunnerConfig, make_config
from wsi_specdec.keys import LOG_FILE
from wsi_specdec.runner import (
    Ledger,
    LedgerSummary,
    Outcome,
    Task,
    memory,
    read_ledger,
    run_over_slides,
)
from wsi_specdec.runner import ledger as ledger_module


def run(
    out: Path,
    module: ModuleType,
    *payloads: tuple[str, Any],
    params: str = "p",
    **config: float,
) -> tuple[LedgerSummary, dict[str, Outcome]]:
    tasks = [Task(f"s{i}", payload, params) for i, payload in enumerate(payloads)]
    with Ledger(out) as ledger:
        summary = run_over_slides(
            module.run,
            tasks,
            ledger=ledger,
            runner=make_config(RunnerConfig, config, "test"),
            title="test",
        )
    return summary, {row.slide_id: row for row in read_ledger(out)}


def test_states_reasons_and_counts(tmp_path: Path, task_module: ModuleType) -> None:
    summary, rows = run(
        tmp_path,
        task_module,
        ("tiles", 5),
        ("empty", "no tissue found"),
        ("unreadable", None),
        ("unsupported", None),
        ("surprise", None),
        ("tiles", 7),
        workers=1,
    )
    assert [rows[f"s{i}"].state for i in range(6)] == [
        "done",
        "empty",
        "failed",
        "skipped",
        "failed",
        "done",
    ]
    assert rows["s1"].reason == "no tissue found"
    assert rows["s2"].reason == "cannot read a.svs: truncated"
    assert rows["s4"].reason == "ZeroDivisionError: oh"
    assert summary.failures == (("s2", rows["s2"].reason), ("s4", rows["s4"].reason))
    assert summary.skipped == (("s3", "looks like fluorescence"),)
    assert (summary.tiles, summary.ok) == (12, False)
    assert all(row.params_sha256 == "p" and row.peak_rss_mb > 1 for row in rows.values())
    log = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [entry["slide_id"] for entry in log] == ["s2", "s4"]
    assert "deep cause" in log[0]["traceback"]


def test_killed_hanging_and_outgrown_slides_cost_themselves_alone(
    tmp_path: Path, task_module: ModuleType
) -> None:
    summary, rows = run(
        tmp_path,
        task_module,
        ("tiles", 1),
        ("kill", None),
        ("hang", 60),
        ("tiles", 2),
        ("grow", 250),
        ("segfault", None),
        ("leave", 3),
        ("tiles", 3),
        workers=2,
        timeout_s=5.0,
        memory_limit_mb=250.0,
    )
    assert summary.counts == {"done": 3, "empty": 0, "failed": 5, "skipped": 0}
    assert summary.tiles == 6
    assert "SIGKILL" in rows["s1"].reason
    assert "took longer than 5 s" in rows["s2"].reason
    assert "outgrew its 250 MB" in rows["s4"].reason
    assert "SIGSEGV" in rows["s5"].reason
    assert rows["s6"].reason == "its process ended with exit code 3"


def test_a_worker_is_warm_and_its_peak_is_its_tasks_own(
    tmp_path: Path, task_module: ModuleType
) -> None:
    _, rows = run(tmp_path, task_module, ("pid", None), ("touch", 200), ("pid", None), workers=1)
    assert rows["s0"].tiles == rows["s2"].tiles != os.getpid()
    assert rows["s1"].peak_rss_mb > rows["s0"].peak_rss_mb + 150
    assert rows["s2"].peak_rss_mb < rows["s1"].peak_rss_mb - 150


def test_order_is_that_of_the_tasks_whichever_ends_first(
    tmp_path: Path, task_module: ModuleType
) -> None:
    tasks = [Task(f"s{i}", p) for i, p in enumerate([("slow", 0.5), ("surprise", 0), ("kill", 0)])]
    with Ledger(tmp_path) as ledger:
        summary = run_over_slides(
            task_module.run,
            tasks[::-1],
            ledger=ledger,
            runner=RunnerConfig(workers=3),
            title="test",
        )
    assert [slide_id for slide_id, _ in summary.failures] == ["s2", "s1"]


def test_a_reused_result_keeps_its_row(tmp_path: Path, task_module: ModuleType) -> None:
    _, first = run(tmp_path, task_module, ("tiles", 4), workers=1)
    summary, second = run(tmp_path, task_module, ("reused", 4), workers=1)
    assert second == first
    assert (summary.counts["done"], summary.tiles) == (1, 4)
    _, third = run(tmp_path, task_module, ("reused", 4), workers=1, params="other")
    assert third["s0"].params_sha256 == "other"


def test_tiles_of_a_slide_under_way_are_shown(
    tmp_path: Path,
    task_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.5)
    run(tmp_path, task_module, ("tiles", 1000), ("advance", 30), ("tiles", 5), workers=1)
    shown = [
        (int(slides), int(tiles.replace(",", "")))
        for slides, tiles in re.findall(r"test: (\d)/3 ([\d,]+) tiles", capsys.readouterr().err)
    ]
    during = [tiles for slides, tiles in shown if slides == 1 and tiles > 1000]
    assert len(set(during)) >= 2
    assert during == sorted(during)
    assert max(during) <= 1300


def test_the_ledger_follows_while_a_slide_takes_long(
    tmp_path: Path, task_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_RENDER_SECONDS", 0.2)
    seen: list[list[str]] = []

    def look() -> None:
        time.sleep(3)
        seen.append((tmp_path / "ledger.csv").read_text().splitlines()[1:])

    watch = threading.Thread(target=look)
    watch.start()
    run(tmp_path, task_module, ("tiles", 1), ("hang", 5), workers=1)
    watch.join()
    assert [line.split(",")[:2] for line in seen[0]] == [["s0", "done"]]


def test_more_memory_than_the_machine_has_is_told_of(
    tmp_path: Path, task_module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = memory.machine_mb() * 0.6
    run(tmp_path, task_module, ("tiles", 1), workers=2, memory_limit_mb=limit)
    assert "note:" not in capsys.readouterr().err
    run(tmp_path, task_module, ("tiles", 1), ("tiles", 1), workers=2, memory_limit_mb=limit)
    assert "note: 2 workers of up to" in capsys.readouterr().err


def test_a_worker_is_warm_for_a_thousand_slides(tmp_path: Path, task_module: ModuleType) -> None:
    started = time.monotonic()
    summary, _ = run(tmp_path, task_module, *[("tiles", 1)] * 1000, workers=2)
    assert summary.counts["done"] == 1000
    # About 1 ms each measured; a process each would take 500 s.
    assert time.monotonic() - started < 30


def test_no_tasks_give_an_empty_ledger(tmp_path: Path, task_module: ModuleType) -> None:
    summary, rows = run(tmp_path, task_module)
    assert rows == {}
    assert summary.ok


def test_interrupt_keeps_what_is_finished_and_stops_the_workers(
    tmp_path: Path, task_module: ModuleType
) -> None:
    def interrupt_once_recorded() -> None:
        journal = tmp_path / "ledger.jsonl"
        while not (journal.exists() and journal.stat().st_size):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell that starts this in the background has it ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = time.monotonic()
        threading.Thread(target=interrupt_once_recorded, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, task_module, ("tiles", 1), ("hang", 60), ("tiles", 2), workers=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 30
    assert [row.slide_id for row in read_ledger(tmp_path)] == ["s0"]
