"""`doctor` and `info` tell the truth about this machine and a slide."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_specdec.doctor import Finding, describe_slide, examine
from wsi_specdec.errors import SlideError

CMU = Path(__file__).parents[1] / "data/CMU-1-Small-Region.svs"


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wsi_specdec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_everything_is_in_order_here() -> None:
    findings = {finding.check: finding for finding in examine()}
    assert [f for f in findings.values() if not f.ok] == []
    assert findings["self-test"].found.endswith("tiles written and read back")


def test_a_broken_codec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("wsi_specdec.doctor.open_store", broken)
    findings = {finding.check: finding for finding in examine()}
    assert findings["self-test"] == Finding("self-test", ok=False, found="OSError: ")


def test_a_slide_is_described_in_json_types() -> None:
    described = describe_slide(CMU, "auto", None)
    assert described["levels"] == ["2220 x 2967 (downsample 1)"]
    assert described["mpp_source"] == "metadata"
    assert json.loads(json.dumps(described)) == described
    assert describe_slide(CMU, "tiffslide", 0.25)["mpp"] == 0.25


def test_info_shows_the_good_slide_and_names_the_bad_one(tmp_path: Path) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    with pytest.raises(SlideError):
        describe_slide(bad, "auto", None)
    done = run("info", CMU, bad)
    assert done.returncode == 1
    assert "aperio" in done.stdout
    assert str(bad) in done.stderr
