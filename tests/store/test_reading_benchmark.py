"""The benchmark of reading runs, and all its ways read the tiles that were written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_way_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.reading", "--tiles", "16", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "rows.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    record = json.loads((tmp_path / "rows.json").read_text())
    rows = {(row["name"], row["content"]): row for row in record["rows"]}
    assert {content for name, content in rows if name == "ours"} == {
        "jpeg",
        "scanned",
        "quarters",
        "lossless",
    }
    for row in rows.values():
        assert row["tiles_per_s"] > 0
        assert row["kb_per_tile"] > 1
        assert row["name"] in done.stdout
    ours, limit = rows["ours", "jpeg"], rows["decoding from memory", "jpeg"]
    assert ours["of_limit"] == pytest.approx(ours["tiles_per_s"] / limit["tiles_per_s"])
    assert limit["of_ours"] == pytest.approx(1 / ours["of_limit"])
