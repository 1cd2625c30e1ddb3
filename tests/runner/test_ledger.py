import csv
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.keys import JOURNAL_FILE, LEDGER_FILE, LOG_FILE
from wsi_specdec.runner import Ledger, LedgerSummary, Outcome, read_ledger
from wsi_specdec.runner import ledger as ledger_module

DONE = Outcome("a", "done", tiles=3, seconds=1.5, peak_rss_mb=100.25, params_sha256="f00d")
FAILED = Outcome("b", "failed", reason='cannot read "b.svs", truncated', seconds=0.25)


def test_csv_holds_the_columns_of_the_design_and_reads_back(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(FAILED)
        ledger.append(DONE)
    with (tmp_path / LEDGER_FILE).open(newline="") as handle:
        header = next(csv.reader(handle))
    assert header == [
        "slide_id",
        "state",
        "reason",
        "tiles",
        "seconds",
        "peak_rss_mb",
        "params_sha256",
    ]
    rows = read_ledger(tmp_path)
    assert [row.slide_id for row in rows] == ["a", "b"]
    assert rows[0] == Outcome("a", "done", "", 3, 1.5, 100.2, "f00d")
    assert rows[1] == FAILED
    assert read_ledger(tmp_path / LEDGER_FILE) == rows


def test_last_row_of_a_slide_wins_across_sessions(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(Outcome("a", "failed", "disk full"))
    with Ledger(tmp_path) as ledger:
        assert ledger.get("a") == Outcome("a", "failed", "disk full")
        assert ledger.get("b") is None
        ledger.append(DONE)
    assert [row.state for row in read_ledger(tmp_path)] == ["done"]
    assert len((tmp_path / JOURNAL_FILE).read_text().splitlines()) == 2


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_costs_its_slide_alone(tmp_path: Path, kept: int) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(DONE)
        ledger.append(FAILED)
    journal = tmp_path / JOURNAL_FILE
    first, second = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + second[:kept])
    with Ledger(tmp_path) as ledger:
        assert ledger.get("a") == DONE
        assert ledger.get("b") is None
        ledger.append(Outcome("c", "empty", "no tissue found"))
    with Ledger(tmp_path) as ledger:
        assert [row.slide_id for row in read_ledger(tmp_path)] == ["a", "c"]
        assert ledger.get("c") == Outcome("c", "empty", "no tissue found")


def test_traceback_goes_to_the_log(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(FAILED, "Traceback: ...")
        ledger.append(DONE)
    (line,) = (tmp_path / LOG_FILE).read_text().splitlines()
    entry = json.loads(line)
    assert (entry["slide_id"], entry["traceback"]) == ("b", "Traceback: ...")


def test_outcomes_are_on_disk_before_append_returns(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(DONE)
        (line,) = (tmp_path / JOURNAL_FILE).read_text().splitlines()
        assert json.loads(line)["slide_id"] == "a"


@contextmanager
def full_disk(room: int, *files: Path) -> Iterator[None]:
    """Let no file grow past the largest of `files` by more than `room` bytes."""
    largest = max(file.stat().st_size for file in files)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_disk_refuses_is_written_once_there_is_space(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL_FILE
    with Ledger(tmp_path) as ledger:
        ledger.append(DONE)
        # The line is cut in the middle, as a disk that fills up does.
        with full_disk(20, journal):
            ledger.append(FAILED, "Traceback")
            ledger.append(Outcome("c", "done", tiles=5))
            assert journal.read_bytes()[-1:] != b"\n"
        assert ledger.get("c") == Outcome("c", "done", tiles=5)
        ledger.append(Outcome("d", "empty", "no tissue found"))
        ids = [json.loads(line)["slide_id"] for line in journal.read_text().splitlines()]
        assert ids == ["a", "b", "c", "d"]
    assert [row.slide_id for row in read_ledger(tmp_path)] == ["a", "b", "c", "d"]


def test_a_disk_that_stays_full_is_one_clear_error(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL_FILE
    ledger = Ledger(tmp_path)
    ledger.append(DONE)
    with full_disk(0, journal):
        ledger.append(FAILED)
        with pytest.raises(StoreError, match="free some space"):
            ledger.close()
    with Ledger(tmp_path) as again:
        assert again.get("a") == DONE
        assert again.get("b") is None


def test_a_folder_that_cannot_be_written_to_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to"):
        Ledger(tmp_path / "file" / "out")


def test_rows_that_a_kill_left_unrendered_are_read_from_the_journal(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(FAILED)
        ledger.render()
        time.sleep(0.05)
        ledger.append(DONE)
        # As a reader finds it after kill -9: the CSV is behind.
        assert len((tmp_path / LEDGER_FILE).read_text().splitlines()) == 2
        assert read_ledger(tmp_path) == [DONE, FAILED]
        assert read_ledger(tmp_path / LEDGER_FILE) == [DONE, FAILED]


def test_refreshing_costs_little_however_long_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_RENDER_SECONDS", 0.0)
    with Ledger(tmp_path) as ledger:
        for number in range(20_000):
            ledger._rows[f"s{number}"] = Outcome(f"s{number}", "done")
        started, renders = time.monotonic(), 0
        while time.monotonic() - started < 2:
            ledger.append(DONE)
            before = (tmp_path / LEDGER_FILE).stat().st_mtime_ns if renders else 0
            ledger.refresh()
            renders += (tmp_path / LEDGER_FILE).stat().st_mtime_ns != before
    # Each takes about 0.1 s, so that one in two seconds is a twentieth of the time.
    assert 1 <= renders <= 4


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(ConfigError, match="another run is writing to"):
        Ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.append(DONE)


def test_missing_or_foreign_ledger_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no ledger at"):
        read_ledger(tmp_path)
    (tmp_path / LEDGER_FILE).write_text("slide_id,state\na,wonderful\n")
    with pytest.raises(StoreError, match=r"ledger\.csv is no ledger"):
        read_ledger(tmp_path)


def test_reading_and_rendering_scale_to_a_hundred_thousand_slides(tmp_path: Path) -> None:
    lines = (
        json.dumps(
            {
                "slide_id": f"slide-{i:06d}",
                "state": "done",
                "reason": "",
                "tiles": i,
                "seconds": 1.0,
                "peak_rss_mb": 2.0,
                "params_sha256": "0" * 64,
            }
        )
        for i in range(100_000)
    )
    (tmp_path / JOURNAL_FILE).write_text("\n".join(lines) + "\n")
    started = time.monotonic()
    with Ledger(tmp_path) as ledger:
        ledger.append(DONE)
    # Linear: a few seconds. Anything quadratic takes many minutes.
    assert time.monotonic() - started < 60
    assert len(read_ledger(tmp_path)) == 100_001


def test_summary_counts_and_lists_in_order() -> None:
    skipped = Outcome("c", "skipped", "fluorescence")
    summary = LedgerSummary.of([FAILED, DONE, skipped, Outcome("d", "failed", "x")])
    assert summary.counts == {"done": 1, "empty": 0, "failed": 2, "skipped": 1}
    assert summary.tiles == 3
    assert summary.failures == (("b", FAILED.reason), ("d", "x"))
    assert summary.skipped == (("c", "fluorescence"),)
    assert not summary.ok
    assert LedgerSummary.of([DONE, skipped]).ok
