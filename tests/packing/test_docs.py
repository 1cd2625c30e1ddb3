"""The page about packed images says what the code does."""

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_files import save_grey
from typer.testing import CliRunner

from wsi_specdec.cli.app import make_app
from wsi_specdec.config import PackConfig
from wsi_specdec.runner import LedgerSummary
from wsi_specdec.store import open_store
from wsi_specdec.store.calls import read_calls

ROOT = Path(__file__).parents[2]
IMAGES = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {heading}.*?$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found.group(1)


def first_cells(text: str) -> set[str]:
    rows = re.findall(r"^\|([^|]*)\|", text, flags=re.MULTILINE)
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_settings_are_those_of_the_code() -> None:
    assert first_cells(section(IMAGES, "Settings")) == set(PackConfig.model_fields)


def test_the_store_holds_what_is_documented(
    tmp_path: Path, pack: Callable[..., LedgerSummary]
) -> None:
    save_grey(tmp_path / "in" / "a.png", 0)
    pack(tmp_path / "in")
    store = open_store(tmp_path / "out" / "tiles" / "images.zarr")
    arrays = {path.name for path in store.path.iterdir() if path.is_dir()} - {"quality"}
    documented = first_cells(section(FORMATS, "Packed image store"))
    assert documented == set(store.attributes) | (arrays - {"group"}) | {"group/<name>"}
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"tiles", "slides.csv", "ledger.csv", "ledger.jsonl", "pack.json"}


@pytest.mark.slow
def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = re.search(r"^```sh\n(.*?)^```$", IMAGES, re.MULTILINE | re.DOTALL)
    assert shell
    (tmp_path / "wsi_specdec").symlink_to(ROOT / "wsi_specdec")
    monkeypatch.chdir(tmp_path)
    lines = shell.group(1).replace("\\\n", " ").splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["pack", "train", "score", "aggregate"]
    app = make_app()
    for line in lines:
        # In this process: to start four would take most of the time.
        done = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    with (ROOT / "wsi_specdec/demo/data/hannover/images.csv").open(encoding="utf-8") as handle:
        listed = {Path(row["path"]).stem: row for row in csv.DictReader(handle)}
    calls = {call.slide_id: call for call in read_calls(tmp_path / "chest" / "calls.csv")}
    assert calls.keys() == listed.keys()
    for name, call in calls.items():
        assert (call.n_tiles, call.state, call.cohort) == (1, "done", listed[name]["split"])
        assert call.patient_id == listed[name]["patient_id"]
        assert call.call in {0, 1}
    python = re.search(r"^```py\n(.*?)^```$", IMAGES, re.MULTILINE | re.DOTALL)
    assert python
    names: dict[str, Any] = {}
    exec(compile(python.group(1), "images.md", "exec"), names)  # noqa: S102
    assert names["tiles"].shape == (2, 64, 64, 3)
    assert names["one_each"].keys() == listed.keys()
