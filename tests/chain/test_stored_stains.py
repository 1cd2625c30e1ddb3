"""A model trained on tiles that are stored normalised calls slides as they are scanned."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from stained_images import EOSIN, OTHER_EOSIN, stained, target_by
from tiff_slides import write_slide

from wsi_specdec.config import StainConfig
from wsi_specdec.models import load_spec
from wsi_specdec.models.stained import target_of
from wsi_specdec.stain.target import applied_target, write_target
from wsi_specdec.store import find_stores, open_store, read_scores, read_scores_metadata

Program = Callable[..., "subprocess.CompletedProcess[str]"]
SIDE, TILE = 384, 64
SPLITS = ("train",) * 2 + ("validation",) * 2 + ("internal",) * 2
UNSEEN = ("s4", "s5")
STAIN = StainConfig(method="macenko", max_pixels=8000)


def write_of_laboratory(path: Path, number: int) -> None:
    """Write a slide of two laboratories, in JPEG tiles that are those of its store."""
    image = np.full((SIDE, SIDE, 3), 242, np.uint8)
    eosin = OTHER_EOSIN if number // 2 % 2 else EOSIN
    image[TILE:-TILE, TILE:-TILE] = stained(
        (SIDE - 2 * TILE,) * 2, number, eosin, block=8 if number % 2 else 4
    )
    write_slide(path, image, tile=TILE, compression="jpeg", compressionargs={"level": 92})


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Write slides, their manifest, and a pipeline that normalises as it tiles."""
    (tmp_path / "slides").mkdir()
    rows = ["path,patient_id,label,split"]
    for number, split in enumerate(SPLITS):
        write_of_laboratory(tmp_path / "slides" / f"s{number}.tif", number)
        rows.append(f"slides/s{number}.tif,p{number},{number % 2},{split}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    write_target(tmp_path / "target.json", target_by(STAIN), {})
    stain = STAIN.model_dump(mode="json")
    pipeline = {
        "kind": "pipeline",
        "tile": {
            "tile_size": TILE,
            "codec": "lossless",
            "stain": stain,
            "stain_target": str(tmp_path / "target.json"),
        },
        "train": {
            "model": "test_resnet",
            "epochs": 1,
            "batch_size": 16,
            "tensorboard": False,
            "pictures": False,
        },
        "arms": [{"name": "wd", "weight_decay": 0.05}],
        "evaluate": {"bootstrap": 100},
        "runner": {"workers": 1},
        "report": {"max_slides": 0, "max_tiles": 2},
    }
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(pipeline))))
    return tmp_path


@pytest.mark.slow
def test_slides_score_as_their_stored_normalised_tiles_do(
    cohort: Path, in_process: Program
) -> None:
    run, calls = cohort / "run", cohort / "calls"
    given = ("run", cohort / "pipeline.yaml", "--manifest", cohort / "cohort.csv", "--out", run)
    done = in_process(*given, "--quiet")
    assert done.returncode == 0, done.stderr
    arm = run / "arms" / "wd" / "seed-0"
    assert target_of(load_spec(arm / "model")) == target_by(STAIN)

    unseen = cohort / "unseen"
    unseen.mkdir()
    for name in UNSEEN:
        (unseen / f"{name}.tif").symlink_to(cohort / "slides" / f"{name}.tif")
    options = ("--model", arm / "model", "--out", calls, "--workers", "1", "--quiet")
    done = in_process("process", unseen, *options)
    assert done.returncode == 0, done.stderr

    for name in UNSEEN:
        stored, raw = (open_store(find_stores(out)[name]) for out in (run, calls))
        assert applied_target(stored.attributes) == target_by(STAIN)
        assert applied_target(raw.attributes) is None
        assert (stored.codec, raw.attributes["pixel_path"]) == ("lossless", "passthrough")
        every = np.arange(raw.n_tiles)
        assert np.abs(stored.read(every).astype(int) - raw.read(every)).mean() > 3
        expected = read_scores(arm / "scores" / f"{name}.parquet")
        found = read_scores(calls / "scores" / f"{name}.parquet")
        assert expected.columns.tolist() == found.columns.tolist()
        for column in expected.columns:
            np.testing.assert_array_equal(found[column], expected[column])
        assert np.ptp(found["logit_tumour"]) > 0
        counts = read_scores_metadata(calls / "scores" / f"{name}.parquet")["stains"]
        assert counts == [{"normalised": raw.n_tiles, "too_little_tissue": 0, "degenerate": 0}]
