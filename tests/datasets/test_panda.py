"""PANDA: Kaggle's layout, two sites whose masks number their classes differently."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from miniatures import CANCER, TISSUE, settings, tiles_within, write_mask, write_slide

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import DatasetConfig, TileConfig
from wsi_specdec.datasets import dataset_slides
from wsi_specdec.errors import ConfigError, ManifestError
from wsi_specdec.files import read_json
from wsi_specdec.pipeline import run_pipeline
from wsi_specdec.store import open_store, store_path

SHARES = {"train": 0.6, "validation": 0.15, "internal": 0.25}
# Benign tissue and cancer, as each site numbers them.
VALUES = {"karolinska": (1, 2), "radboud": (2, 4)}
Row = tuple[str, str, int]
TileLabels = Callable[[Sequence[Slide], TileConfig], Mapping[str, Mapping[tuple[int, int], int]]]


def write_panda(folder: Path, rows: Sequence[Row], *, pixels: bool = False) -> Path:
    lines = ["image_id,data_provider,isup_grade,gleason_score"]
    for number, (name, site, grade) in enumerate(rows):
        lines.append(f"{name},{site},{grade},0+0")
        image = folder / "train_images" / f"{name}.tiff"
        mask = folder / "train_label_masks" / f"{name}_mask.tiff"
        if pixels:
            write_slide(image, cancer=grade > 0, seed=number)
            benign, cancer = VALUES[site]
            write_mask(mask, {TISSUE: benign} | ({CANCER: cancer} if grade else {}))
        else:
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder


def cohort_rows(each: int) -> list[Row]:
    """Rows of both sites, `each` without and as many with cancer."""
    return [
        (f"{site[0]}{grade}{number:02d}", site, grade)
        for site in VALUES
        for grade in (0, 3)
        for number in range(each)
    ]


def test_rows_of_the_manifest(tmp_path: Path) -> None:
    folder = write_panda(tmp_path / "panda", cohort_rows(20))
    (folder / "train_label_masks" / "k300_mask.tiff").unlink()
    config = DatasetConfig(name="panda", internal=("karolinska",))
    slides = dataset_slides(config, folder, SHARES, seed=1)
    assert slides == dataset_slides(config, folder, SHARES, seed=1)
    assert Counter((s.site, s.split) for s in slides) == {
        ("karolinska", "train"): 24,
        ("karolinska", "validation"): 6,
        ("karolinska", "internal"): 10,
        ("radboud", "external"): 40,
    }
    by_id = {slide.slide_id: slide for slide in slides}
    found = by_id["r305"]
    assert found.path == folder / "train_images" / "r305.tiff"
    assert found.annotation_path == folder / "train_label_masks" / "r305_mask.tiff"
    assert (found.label, found.patient_id) == (1, "r305")
    assert found.scanner == "3DHistech Pannoramic Flash II 250"
    assert (by_id["r005"].label, by_id["r005"].annotation_path) == (0, None)
    assert (by_id["k300"].label, by_id["k300"].annotation_path) == (1, None)

    reverse = dataset_slides(DatasetConfig(name="panda", internal=("radboud",)), folder, SHARES)
    assert {s.split for s in reverse if s.site == "karolinska"} == {"external"}


def test_patients_are_drawn_of_each_site_and_label(tmp_path: Path) -> None:
    folder = write_panda(tmp_path / "panda", cohort_rows(10))
    config = DatasetConfig(name="panda", internal=("karolinska",), max_patients=6)
    slides = dataset_slides(config, folder, SHARES, seed=3)
    counts = Counter((slide.site, slide.label) for slide in slides)
    assert counts == {(site, label): 3 for site in VALUES for label in (0, 1)}
    assert slides == dataset_slides(config, folder, SHARES, seed=3)
    assert slides != dataset_slides(config, folder, SHARES, seed=4)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    folder = write_panda(tmp_path / "panda", cohort_rows(8))
    for name in ("k001", "r304"):
        (folder / "train_images" / f"{name}.tiff").unlink()
    config = DatasetConfig(name="panda", internal=("karolinska",))
    with pytest.raises(ManifestError, match=r"2 files are missing .*k001\.tiff, r304\.tiff"):
        dataset_slides(config, folder, SHARES)
    partial = config.model_copy(update={"partial": True})
    assert len(dataset_slides(partial, folder, SHARES)) == 30


def test_a_wrong_folder_says_what_was_expected(tmp_path: Path) -> None:
    config = DatasetConfig(name="panda", internal=("karolinska",))
    with pytest.raises(ManifestError, match=r"(?s)there is no folder .*train_images/<image_id>"):
        dataset_slides(config, tmp_path / "gone", SHARES)
    with pytest.raises(ManifestError, match=r"(?s)holds no train\.csv.*Expected.*train_label_mask"):
        dataset_slides(config, tmp_path, SHARES)
    (tmp_path / "train.csv").write_text("image_id,isup_grade\na,1\n")
    with pytest.raises(ManifestError, match="has no column data_provider"):
        dataset_slides(config, tmp_path, SHARES)
    (tmp_path / "train.csv").write_text("image_id,data_provider,isup_grade\na,radboud,7\n")
    with pytest.raises(ManifestError, match="isup_grade of a is '7'"):
        dataset_slides(config, tmp_path, SHARES)


def test_a_site_that_is_none_and_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write_panda(tmp_path / "panda", cohort_rows(8))
    wrong = DatasetConfig(name="panda", internal=("helsinki",))
    with pytest.raises(ConfigError, match="names helsinki; panda has karolinska, radboud"):
        dataset_slides(wrong, folder, SHARES)
    (folder / "copy").mkdir()
    (folder / "copy" / "k000.tiff").touch()
    with pytest.raises(ManifestError, match=r"two files are called k000\.tiff"):
        dataset_slides(DatasetConfig(name="panda", internal=("radboud",)), folder, SHARES)


def test_tiles_are_labelled_as_each_sites_masks_say(
    tmp_path: Path, tile_labels: TileLabels
) -> None:
    rows = [("k", "karolinska", 2), ("r", "radboud", 2), ("n", "radboud", 0)]
    folder = write_panda(tmp_path / "panda", rows, pixels=True)
    config = settings("panda")
    slides = dataset_slides(
        DatasetConfig(name="panda", internal=("karolinska",)), folder, {"train": 1.0}
    )
    found = tile_labels(slides, config.tile)
    cancer = tiles_within(CANCER)
    assert len(cancer) == 6
    for name in ("k", "r"):
        labels = found[name]
        assert {corner for corner, label in labels.items() if label == 1} == cancer
        assert {label for corner, label in labels.items() if corner in tiles_within(TISSUE)} == {
            0,
            1,
        }
    assert set(found["n"].values()) == {-1}
    # The same mask, read by the other site's numbers: 4 is nothing, 2 is cancer.
    (swapped,) = (replace(s, site="karolinska", slide_id="x") for s in slides if s.slide_id == "r")
    labels = tile_labels([swapped], config.tile)["x"]
    assert {corner for corner, label in labels.items() if label == 1} == (
        tiles_within(TISSUE) - cancer
    )


def test_one_command_from_the_folder_to_the_comparison(tmp_path: Path) -> None:
    folder = write_panda(tmp_path / "panda", cohort_rows(6), pixels=True)
    arms = [
        {"name": "wd", "weight_decay": 0.01, "sd_coef": 0.0},
        {"name": "sd", "weight_decay": 0.0, "sd_coef": 0.01},
    ]
    config = settings(
        "panda",
        f"data={folder}",
        f"out={tmp_path / 'out'}",
        "tile.mpp=2.0",
        "train.model=test_resnet",
        "train.pictures=false",
        "train.epochs=1",
        "train.max_tiles_per_slide=8",
        "train.batch_size=16",
        f"arms={arms}",
        "seeds=[0]",
        "evaluate.pairs=[]",
        "evaluate.bootstrap=100",
        "report.max_slides=1",
        "runner.workers=1",
    )
    finished = run_pipeline(config)
    assert finished.tiling.ok
    results = read_json(tmp_path / "out" / "results.json")
    external = results["arms"]["sd"]["cohorts"]["external"]
    assert external["slide"]["auroc"]["n"] == 12
    slides = read_manifest(tmp_path / "out" / "slides.csv")
    outer = [slide for slide in slides if slide.split == "external"]
    assert len(outer) == 12
    # Tiles of benign biopsies count too, although these came without their masks.
    labels = [open_store(store_path(tmp_path / "out", s.slide_id)).label for s in outer]
    known = [len(x) if s.label == 0 else (x >= 0).sum() for s, x in zip(outer, labels, strict=True)]
    assert external["patch"]["auroc"]["n"] == sum(known) > 12 * 4
    assert {d["cohort"] for d in results["differences"]} == {"internal", "external"}
    assert finished.report.is_file()
