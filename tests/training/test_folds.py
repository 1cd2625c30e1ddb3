"""`train --fold`: one fold of patients validates, by a manifest that is kept."""

from pathlib import Path

import pytest
import typer
import typer.main
from tile_cohorts import Cohort

from wsi_specdec.cli.app import make_app
from wsi_specdec.cohort import read_manifest, write_manifest
from wsi_specdec.errors import ConfigError
from wsi_specdec.models import load_spec


def call(cohort: Cohort, out: Path, fold: str) -> None:
    manifest = out.parent / "slides.csv"
    write_manifest(cohort.slides, manifest)
    arguments = ["train", "--quiet", "--tiles", str(cohort.folder), "--manifest", str(manifest)]
    arguments += ["--out", str(out), "--model", "test_resnet", "--epochs", "1", "--fold", fold]
    typer.main.get_command(make_app()).main(arguments, standalone_mode=False)


def test_each_fold_validates_once(cohort: Cohort, tmp_path: Path) -> None:
    validated: list[str] = []
    for fold in ("1/2", "2/2"):
        out = tmp_path / fold.replace("/", "-of-")
        call(cohort, out, fold)
        kept = read_manifest(out / "slides.csv")
        mine = {s.patient_id for s in kept if s.split == "validation"}
        assert mine
        assert mine.isdisjoint(s.patient_id for s in kept if s.split == "train")
        data = load_spec(out).training["data"]
        assert data["validation"]["patients"] == len(mine)
        validated += sorted(mine)
    assert sorted(validated) == sorted(s.patient_id for s in cohort.slides)


@pytest.mark.parametrize("fold", ["2", "a/b", "1/2/3", ""])
def test_a_fold_is_written_as_a_fraction(cohort: Cohort, tmp_path: Path, fold: str) -> None:
    with pytest.raises(typer.BadParameter, match="write it as 2/5"):
        call(cohort, tmp_path / "model", fold)


def test_a_fold_beyond_the_last_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no fold 3 of 2"):
        call(cohort, tmp_path / "model", "3/2")
