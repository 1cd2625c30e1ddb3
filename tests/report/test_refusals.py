"""A run that is not whole gives no report, but an error that names what is wrong."""

import json
import re
from pathlib import Path

import pytest
from fake_runs import FakeRun

from wsi_specdec.config import ReportConfig
from wsi_specdec.errors import RunDirectoryError, StoreError, WsiSpecdecError
from wsi_specdec.report import read_run, write_report


@pytest.mark.parametrize(
    "name",
    [
        "slides.csv",
        "ledger.csv",
        "provenance.json",
        "config.yaml",
        "arms/wd/seed-1",
        "arms/wd/seed-0/calls.csv",
        "arms/wd/seed-0/scores/internal-0.parquet",
        "previews/internal-0.thumbnail.jpg",
        "previews/external-3.tissue.png",
        "tiles/internal-0.zarr",
    ],
)
def test_a_missing_piece_is_named(comparison: FakeRun, name: str) -> None:
    path = comparison.path / name
    path.rename(path.with_name("gone"))
    with pytest.raises(WsiSpecdecError, match=re.escape(path.name)):
        write_report(comparison.path, ReportConfig())
    assert not (comparison.path / "report.html").exists()


def test_an_unfinished_run_is_refused(comparison: FakeRun, tmp_path: Path) -> None:
    (comparison.path / "results.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"results\.json"):
        read_run(comparison.path)
    with pytest.raises(RunDirectoryError, match="not a finished run"):
        read_run(tmp_path / "nowhere")


def test_damaged_files_are_named(comparison: FakeRun) -> None:
    results = comparison.path / "results.json"
    whole = results.read_text()
    for text, words in (("{", "results.json"), ('{"arms": {}}', "'cohorts', 'differences'")):
        results.write_text(text)
        with pytest.raises(RunDirectoryError, match=re.escape(words)):
            read_run(comparison.path)
    broken = json.loads(whole)
    del broken["arms"]["wd"]["seeds"]
    results.write_text(json.dumps(broken))
    with pytest.raises(RunDirectoryError, match="'seeds' in arm 'wd'"):
        read_run(comparison.path)
    results.write_text(whole)
    (comparison.path / "previews" / "internal-0.thumbnail.jpg").write_bytes(b"no image")
    with pytest.raises(RunDirectoryError, match=r"internal-0\.thumbnail\.jpg is not an image"):
        write_report(comparison.path, ReportConfig())


def test_a_slide_without_a_call_is_named(comparison: FakeRun) -> None:
    calls = comparison.path / "arms" / "wd" / "seed-0" / "calls.csv"
    lines = [line for line in calls.read_text().splitlines() if not line.startswith("external-2")]
    calls.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunDirectoryError, match="no row for slide 'external-2'"):
        write_report(comparison.path, ReportConfig())


def test_a_store_that_does_not_state_the_size_is_refused(comparison: FakeRun) -> None:
    file = comparison.path / "tiles" / "internal-0.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    del metadata["attributes"]["level0_width"]
    file.write_text(json.dumps(metadata))
    with pytest.raises((RunDirectoryError, StoreError), match=r"internal-0\.zarr"):
        write_report(comparison.path, ReportConfig())
