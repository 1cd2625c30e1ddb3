import csv
import json
import time
from pathlib import Path

import pytest

from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.keys import JOURNAL_FILE, LEDGER_FILE, LOG_FILE
from wsi_specdec.runner import Ledger, LedgerSummary, Outcome, read_ledger

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
