"""CAMELYON17: five centres, five slides a patient, a table of stages."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from miniatures import CANCER, settings, tiles_within, write_asap, write_slide

from wsi_specdec.cohort import Slide
from wsi_specdec.config import DatasetConfig, TileConfig
from wsi_specdec.datasets import dataset_slides
from wsi_specdec.errors import ManifestError

SHARES = {"train": 0.6, "validation": 0.15, "internal": 0.25}
CONFIG = DatasetConfig(name="camelyon17", internal=("center_0", "center_3", "center_4"))
STAGES = ("negative", "negative", "itc", "micro", "macro")
TileLabels = Callable[[Sequence[Slide], TileConfig], Mapping[str, Mapping[tuple[int, int], int]]]


def write_camelyon17(folder: Path, table: str = "training/stage_labels.csv") -> Path:
    """Write the published files of the training patients, without content."""
    lines = ["patient,stage"]
    for patient in range(100):
        lines.append(f"patient_{patient:03d}.zip,pN1")
        for node, stage in enumerate(STAGES):
            name = f"patient_{patient:03d}_node_{node}"
            lines.append(f"{name}.tif,{stage}")
            place = folder / f"training/center_{patient // 20}/patient_{patient:03d}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.tif").touch()
    lines += ["patient_100.zip,pN0", "patient_100_node_0.tif,negative"]
    (folder / "training/lesion_annotations").mkdir()
    for patient in range(0, 100, 2):
        (folder / f"training/lesion_annotations/patient_{patient:03d}_node_4.xml").touch()
    (folder / table).write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("table", ["training/stage_labels.csv", "stages.csv"])
def test_rows_of_the_manifest(tmp_path: Path, table: str) -> None:
    slides = dataset_slides(CONFIG, write_camelyon17(tmp_path, table), SHARES)
    assert len(slides) == 500
    assert Counter(slide.label for slide in slides) == {0: 200, 1: 300}
    assert sum(slide.annotation_path is not None for slide in slides) == 50
    splits = defaultdict(set)
    for slide in slides:
        splits[slide.site].add(slide.split)
    assert splits["center_1"] == {"external-center_1"}
    assert splits["center_2"] == {"external-center_2"}
    assert splits["center_0"] == set(SHARES)
    of_patient = defaultdict(set)
    for slide in slides:
        of_patient[slide.patient_id].add(slide.split)
    assert len(of_patient) == 100
    assert {len(names) for names in of_patient.values()} == {1}
    by_id = {slide.slide_id: slide for slide in slides}
    assert by_id["patient_047_node_2"].site == "center_2"
    assert by_id["patient_047_node_2"].patient_id == "patient_047"


def test_what_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    folder = write_camelyon17(tmp_path)
    (folder / "training/center_1/patient_020/patient_020_node_3.tif").unlink()
    with pytest.raises(ManifestError, match=r"1 files .*patient_020_node_3\.tif"):
        dataset_slides(CONFIG, folder, SHARES)
    partial = CONFIG.model_copy(update={"partial": True})
    assert len(dataset_slides(partial, folder, SHARES)) == 499
    for outline in (folder / "training/lesion_annotations").iterdir():
        outline.unlink()
    with pytest.raises(ManifestError, match="no outlines"):
        dataset_slides(partial, folder, SHARES)
    table = folder / "training/stage_labels.csv"
    table.write_text(table.read_text().replace("macro", "large"))
    with pytest.raises(ManifestError, match=r"stage of patient_000_node_4\.tif is 'large'"):
        dataset_slides(CONFIG, folder, SHARES)


def test_tiles_are_labelled_as_outlined(tmp_path: Path, tile_labels: TileLabels) -> None:
    hole = (128, 192, 192, 256)
    for node, cancer in enumerate((False, True)):
        place = tmp_path / "training/center_0"
        write_slide(place / f"patient_000_node_{node}.tif", cancer=cancer)
    write_asap(
        tmp_path / "training/lesion_annotations/patient_000_node_1.xml",
        [("metastases", CANCER), ("normal", hole)],
    )
    (tmp_path / "stage_labels.csv").write_text(
        "patient,stage\npatient_000_node_0.tif,negative\npatient_000_node_1.tif,macro\n"
    )
    config = CONFIG.model_copy(update={"internal": ("center_0",)})
    slides = dataset_slides(config, tmp_path, {"train": 1.0})
    found = tile_labels(slides, settings("camelyon17").tile)
    assert set(found["patient_000_node_0"].values()) == {-1}
    labels = found["patient_000_node_1"]
    assert {corner for corner, label in labels.items() if label == 1} == (
        tiles_within(CANCER) - tiles_within(hole)
    )
    assert -1 not in labels.values()
