"""Attention MIL over graded tiles, through `compare`, `run`, `process` and `aggregate`."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image
from tiff_slides import write_slide

from wsi_specdec.evaluation import results_schema
from wsi_specdec.files import read_json
from wsi_specdec.store.attention import read_attention

Program = Callable[..., "subprocess.CompletedProcess[str]"]
SPLITS = ("train",) * 4 + ("validation",) * 2 + ("internal",) * 4 + ("external",) * 4
GRADES = ("benign", "low", "high")
CONFIG: dict[str, Any] = {
    "kind": "pipeline",
    "tile": {
        "mpp": 0.5,
        "tile_size": 32,
        "annotations": {"classes": {"1": 1, "2": 2}},
    },
    "train": {
        "model": "test_resnet",
        "classes": GRADES,
        "epochs": 1,
        "batch_size": 16,
        "tensorboard": False,
        "pictures": False,
    },
    "arms": [{"name": "wd", "weight_decay": 0.05}, {"name": "sd", "sd_coef": 0.05}],
    "aggregate": {
        "pooling": "mil",
        "mil": {"hidden": 8, "attention": 4, "epochs": 4, "sd_coef": 0.5},
    },
    "evaluate": {"bootstrap": 100, "robustness_tiles": 20},
    "runner": {"workers": 1},
    "report": {"max_slides": 0, "max_tiles": 2},
}


def write_graded(path: Path, number: int) -> None:
    """Write a slide of tissue, the odd ones with two regions of cancer, and what is where."""
    noise = np.random.default_rng(number).integers(-20, 20, (224, 224, 3))
    grades = np.zeros((256, 256), np.uint8)
    if number % 2:
        grades[32:128, 32:224], grades[128:192, 32:128] = 1, 2
    image = np.full((256, 256, 3), 244, np.uint8)
    colours = np.array([[150, 80, 160], [170, 60, 160], [110, 70, 170]])
    image[16:240, 16:240] = colours[grades[16:240, 16:240]] + noise
    write_slide(path, image)
    Image.fromarray(grades).save(path.with_suffix(".png"))


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, Path]:
    """Write slides of two sites, and return their manifest and the settings."""
    folder = tmp_path / "slides"
    folder.mkdir()
    rows = ["path,patient_id,label,split,site,annotation_path"]
    for number, split in enumerate(SPLITS):
        path = folder / f"s{number:02}.tif"
        write_graded(path, number)
        place = "south" if split == "external" else "north"
        mask = f"slides/{path.stem}.png" if number % 2 else ""
        rows.append(f"slides/{path.name},p{number},{number % 2},{split},{place},{mask}")
    manifest, config = tmp_path / "cohort.csv", tmp_path / "mil.yaml"
    manifest.write_text("\n".join(rows) + "\n")
    config.write_text(yaml.safe_dump(json.loads(json.dumps(CONFIG))))
    return manifest, config


def calls_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as handle:
        return {row["slide_id"]: row for row in csv.DictReader(handle)}


def check_results(out: Path) -> None:
    """Grades have a kappa, regions a FROC score, and embeddings an index between the sites."""
    results = read_json(out / "results.json")
    jsonschema.validate(results, results_schema())
    for arm in results["arms"].values():
        patch = arm["cohorts"]["external"]["patch"]
        assert -1 <= patch["quadratic_kappa"]["value"] <= 1
        # Both regions of a slide touch.
        assert patch["froc"]["n"] == 2
        assert 0 <= patch["froc"]["value"] <= 1
        found = arm["robustness"]["site"]
        assert 0 <= found["value"] <= 1
        assert [p["groups"] for p in found["pairs"]] == [["north", "south"]]
        assert arm["robustness"]["scanner"]["reason"]
    page = (out / "report.html").read_text()
    for words in ("Robustness index", "Patch FROC score", "Patch quadratic weighted kappa"):
        assert words in page


@pytest.mark.slow
def test_attention_runs_whole(
    cohort: tuple[Path, Path], tmp_path: Path, in_process: Program
) -> None:
    manifest, config = cohort
    out, unseen = tmp_path / "out", tmp_path / "unseen"
    given = (config, "--manifest", manifest, "--out", out, "--quiet")
    done = in_process("compare", *given)
    assert done.returncode == 0, done.stderr
    check_results(out)
    arm = out / "arms" / "sd" / "seed-0"
    aggregator = read_json(arm / "aggregator" / "aggregator.json")
    training = aggregator["pooling_parameters"]["training"]
    assert (aggregator["pooling"], training["train_slides"]) == ("mil", 4)
    assert training["settings"]["sd_coef"] == 0.5

    weights = arm / "aggregator" / "mil.safetensors"
    before = weights.read_bytes(), read_json(out / "results.json")["differences"]
    assert in_process("run", *given).returncode == 0
    assert (weights.read_bytes(), read_json(out / "results.json")["differences"]) == before

    unseen.mkdir()
    for name in ("s10.tif", "s11.tif"):
        (unseen / name).symlink_to(manifest.parent / "slides" / name)
    done = in_process("process", unseen, "--model", arm / "model", "--out", tmp_path / "calls")
    assert done.returncode == 0, done.stderr
    kept, found = calls_of(arm / "calls.csv"), calls_of(tmp_path / "calls" / "calls.csv")
    assert set(found) == {"s10", "s11"}
    for name, row in found.items():
        assert float(row["score"]) == pytest.approx(float(kept[name]["score"]), abs=1e-4)
        assert (row["threshold"], row["call"]) == (kept[name]["threshold"], kept[name]["call"])
    assert (tmp_path / "calls" / "report.html").is_file()

    scores = ("--scores", tmp_path / "calls" / "scores", "--aggregator", arm / "aggregator")
    listed = ("--manifest", tmp_path / "calls" / "slides.csv", "--out", tmp_path / "again")
    assert in_process("aggregate", *scores, *listed, "--attention").returncode == 0
    assert calls_of(tmp_path / "again" / "calls.csv") == found
    _, attention = read_attention(tmp_path / "again" / "attention" / "s11.parquet")
    assert attention.sum() == pytest.approx(1)
    assert len(attention) == int(found["s11"]["n_tiles"])
