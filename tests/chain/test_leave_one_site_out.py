"""A user's own comparison with each site left out, on a few composed slides of made-up sites."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wsi_specdec.cohort import read_manifest, write_manifest
from wsi_specdec.config import CohortConfig, PipelineConfig, load_config
from wsi_specdec.demo import compose_cohort
from wsi_specdec.files import sha256_of_file
from wsi_specdec.runner import read_states
from wsi_specdec.store import find_stores, open_store
from wsi_specdec.studies import ArmRun, Cohort, run_arms

Program = Callable[..., "subprocess.CompletedProcess[str]"]
SITES = ("north", "south", "west")
CONFIG = """
kind: pipeline
splits: {train: 0.5, validation: 0.25, internal: 0.25}
tile: {mpp: 4.0, tile_size: 50}
train:
  model: test_resnet
  epochs: 1
  labels: tile
  tensorboard: false
  pictures: false
  max_tiles_per_slide: 20
arms:
  - {name: wd, weight_decay: 0.05, sd_coef: 0.0}
  - {name: sd, weight_decay: 0.0, sd_coef: 0.05}
aggregate: {pooling: topk_mean}
evaluate: {baseline: wd, bootstrap: 100}
report: {max_slides: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with slides of three sites, a manifest without splits, and a config."""
    folder = tmp_path_factory.mktemp("sites")
    slides = compose_cohort(folder, CohortConfig(train=4, validation=2, internal=2, external=4))
    ranked = sorted(slides, key=lambda slide: (slide.label or 0, slide.slide_id))
    placed = [replace(s, site=SITES[i % 3], split=None) for i, s in enumerate(ranked)]
    write_manifest(placed, folder / "mine.csv")
    (folder / "mine.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def compare(folder: Path, in_process: Program) -> Callable[[], Path]:
    def run() -> Path:
        flags = ("--leave-one-site-out", "--out", folder / "out", "--quiet")
        done = in_process(
            "compare", folder / "mine.yaml", "--manifest", folder / "mine.csv", *flags
        )
        assert done.returncode == 0, done.stderr
        return folder / "out"

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_each_site_is_judged_by_models_that_never_saw_it(
    folder: Path, compare: Callable[[], Path], one_thread: None, tmp_path: Path
) -> None:
    out = compare()
    joined = json.loads((out / "leave_one_site_out.json").read_text())
    assert [each["site"] for each in joined["sites"]] == list(SITES)
    assert sum(each["slides"] for each in joined["sites"]) == 12
    # Tiles are there once.
    assert len(list((out / "tiles").iterdir())) == 12
    for site in SITES:
        fold = out / "folds" / site
        outside = {
            s.slide_id for s in read_manifest(fold / "slides.csv") if s.split == f"external-{site}"
        }
        assert outside == {s.slide_id for s in read_manifest(out / "slides.csv") if s.site == site}
        results = json.loads((fold / "results.json").read_text())
        for arm in ("wd", "sd"):
            found = joined["arms"][arm]["slide"]["auroc"]["by_site"][site]
            measured = results["arms"][arm]["cohorts"][f"external-{site}"]["slide"]["auroc"]
            assert found["value"] == measured["value"]
        assert (fold / "report.html").is_file()
    assert {(d["arm"], d["baseline"]) for d in joined["differences"]} == {("sd", "wd")}
    assert "wd | Patch AUROC |" in (out / "leave_one_site_out.md").read_text()

    made = [
        *out.glob("folds/*/arms/*/seed-0/model/weights.safetensors"),
        *out.glob("tiles/*/zarr.json"),
    ]
    assert len(made) == 3 * 2 + 12
    before = {path: path.stat().st_mtime_ns for path in made}
    (out / "leave_one_site_out.json").unlink()
    compare()
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert json.loads((out / "leave_one_site_out.json").read_text())["arms"] == joined["arms"]

    # Two at a time call as one after the other does, with as many threads each.
    fold = out / "folds" / "west"
    config = load_config(fold / "config.yaml")
    assert isinstance(config, PipelineConfig)
    stores = {name: open_store(path) for name, path in find_stores(fold).items()}
    slides, stain_dir = read_manifest(fold / "slides.csv"), tmp_path / "stain"
    again = [ArmRun.within(tmp_path, arm, 0) for arm in config.arms]
    together = config.model_copy(update={"parallel": 2})
    run_arms(again, Cohort(slides, stores, read_states(fold), stain_dir), together)
    for run in again:
        kept = ArmRun.within(fold, run.arm, 0)
        assert run.calls.read_text() == kept.calls.read_text()
        weights = [each.model / "weights.safetensors" for each in (run, kept)]
        assert sha256_of_file(weights[0]) == sha256_of_file(weights[1])
