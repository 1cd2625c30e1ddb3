"""PESO: masks of epithelium, finer than the slides, some corrected by hand; no slide labels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from miniatures import CANCER, TISSUE, settings, tiles_within, write_mask, write_slide

from wsi_specdec.cohort import Slide
from wsi_specdec.config import DatasetConfig, TileConfig
from wsi_specdec.datasets import dataset_slides
from wsi_specdec.errors import ManifestError
from wsi_specdec.files import read_json
from wsi_specdec.pipeline import run_pipeline

SHARES = {"train": 0.6, "validation": 0.15, "internal": 0.25}
CONFIG = DatasetConfig(name="peso", internal=("radboud",))
# Where the corrected masks are drawn: elsewhere nothing is known.
REGION = (64, 64, 320, 320)
TileLabels = Callable[[Sequence[Slide], TileConfig], Mapping[str, Mapping[tuple[int, int], int]]]


def write_peso(
    folder: Path, numbers: Sequence[int], corrected: Sequence[int] = (), *, pixels: bool = False
) -> Path:
    for number in numbers:
        stem = f"pds_{number}_HE"
        slide = folder / f"peso_training_wsi_{number % 6 + 1}" / f"{stem}.tif"
        masks = {folder / "peso_training_masks" / f"{stem}_training_mask.tif": TISSUE}
        if number in corrected:
            place = folder / "peso_training_masks_corrected"
            masks[place / f"{stem}_training_mask_corrected.tif"] = REGION
        for path in (slide, *masks):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if pixels:
            write_slide(slide, cancer=True, seed=number)
            for path, area in masks.items():
                write_mask(path, {area: 1, CANCER: 2}, scale=2)
    return folder


def test_rows_of_the_manifest(tmp_path: Path) -> None:
    folder = write_peso(tmp_path, range(1, 21), corrected=(3, 12, 20))
    slides = dataset_slides(CONFIG, folder, SHARES)
    assert [slide.slide_id for slide in slides[:2]] == ["pds_1", "pds_2"]
    assert {slide.label for slide in slides} == {None}
    tested = {slide.slide_id for slide in slides if slide.split == "internal"}
    assert tested == {"pds_3", "pds_12", "pds_20"}
    for slide in slides:
        assert slide.annotation_path is not None
        assert slide.annotation_path.stem.endswith("corrected") == (slide.slide_id in tested)
    assert sum(slide.split == "train" for slide in slides) == 14
    assert sum(slide.split == "validation" for slide in slides) == 3


def test_without_corrected_masks_slides_are_split_at_random(tmp_path: Path) -> None:
    slides = dataset_slides(CONFIG, write_peso(tmp_path, range(1, 21)), SHARES)
    assert sum(slide.split == "internal" for slide in slides) == 5


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"(?s)holds no masks.*pds_<n>_HE\.tif"):
        dataset_slides(CONFIG, tmp_path, SHARES)
    folder = write_peso(tmp_path, range(1, 9))
    (folder / "peso_training_wsi_3" / "pds_2_HE.tif").unlink()
    with pytest.raises(ManifestError, match=r"1 files .*pds_2_HE\.tif"):
        dataset_slides(CONFIG, folder, SHARES)


def test_tiles_are_labelled_as_the_masks_say(tmp_path: Path, tile_labels: TileLabels) -> None:
    folder = write_peso(tmp_path / "peso", (1, 2), corrected=(2,), pixels=True)
    slides = dataset_slides(CONFIG, folder, {"train": 1.0})
    found = tile_labels(slides, settings("peso").tile)
    for name, area in (("pds_1", TISSUE), ("pds_2", REGION)):
        labels = found[name]
        assert {corner for corner, label in labels.items() if label == 1} == tiles_within(CANCER)
        assert {corner for corner, label in labels.items() if label >= 0} == tiles_within(area)


@pytest.mark.slow
def test_slides_without_labels_are_compared_by_their_tiles(tmp_path: Path) -> None:
    folder = write_peso(tmp_path / "peso", range(1, 9), corrected=(7, 8), pixels=True)
    arms = [
        {"name": "wd", "weight_decay": 0.01, "sd_coef": 0.0},
        {"name": "sd", "weight_decay": 0.0, "sd_coef": 0.01},
    ]
    config = settings(
        "peso",
        f"data={folder}",
        f"out={tmp_path / 'out'}",
        "train.model=test_resnet",
        "train.pictures=false",
        "train.epochs=1",
        "train.max_tiles_per_slide=8",
        f"arms={arms}",
        "seeds=[0]",
        "evaluate.pairs=[]",
        "evaluate.bootstrap=100",
        "report.max_slides=1",
        "runner.workers=1",
    )
    finished = run_pipeline(config)
    cohorts = read_json(tmp_path / "out" / "results.json")["arms"]["sd"]["cohorts"]
    assert cohorts["internal"]["patch"]["auroc"]["n"] == 2 * len(tiles_within(REGION))
    assert cohorts["internal"]["slide"]["auroc"]["value"] is None
    assert finished.report.is_file()
