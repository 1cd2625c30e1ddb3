"""Sets of images of run directories: tiles of slides, and packed images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from image_files import ramp, write_dicom

from wsi_specdec.cohort import Slide, read_manifest, write_manifest
from wsi_specdec.config import CohortConfig, RunnerConfig, StudyData, TileConfig
from wsi_specdec.demo import compose_cohort
from wsi_specdec.errors import NotEnoughDataError, SettingsMismatchError, StoreError
from wsi_specdec.store import TileStoreWriter, read_index, store_path
from wsi_specdec.studies.sets.gather import stored_images
from wsi_specdec.studies.sets.prepare import derive_set, open_set, prepare_set, read_truth
from wsi_specdec.tiling import tile_slides

# Slide id to its label, its split and its tiles' labels.
Slides = Mapping[str, tuple[int | None, str | None, Sequence[int]]]
UNKNOWN = [-1] * 12
NOT_ANNOTATED: Slides = {
    "a": (0, "train", UNKNOWN),
    "b": (1, "train", UNKNOWN),
    "c": (1, "validation", UNKNOWN),
    "d": (None, "internal", UNKNOWN),
    "e": (0, "external-lab", UNKNOWN),
}


def run_of(
    folder: Path, slides: Slides, stains: Sequence[object] = ("none",) * 20, size: int = 8
) -> Path:
    """Write a run directory, whose tiles have the shade `20 · slide + tile` and lie 16 apart."""
    rows = []
    for number, (name, (label, split, tile_labels)) in enumerate(slides.items()):
        count = len(tile_labels)
        attributes = {
            "slide_id": name,
            "tile_size_level0_px": 2 * size,
            "mpp": 0.5,
            "params_sha256": "made",
            "slide_fingerprint": f"slide {name}",
            "stain_applied": stains[number],
        }
        path = store_path(folder, name)
        with TileStoreWriter(
            path, n_tiles=count, tile_size=size, codec="jpeg", attributes=attributes
        ) as writer:
            shade = ((np.arange(count) + 20 * number) % 256).astype(np.uint8)
            writer.append(np.tile(shade[:, None, None, None], (1, size, size, 3)))
            coords = [[2 * size * tile, 0] for tile in range(count)]
            writer.finish(coords, np.ones(count), tile_labels, {})
        site = f"site of {name}"
        slide = Slide(
            name, folder / f"{name}.svs", f"p-{name}", label, split, site, "scanner", 0.25
        )
        rows.append(slide)
    write_manifest(rows, folder / "slides.csv")
    return folder


def test_tiles_have_their_slides_labels_patients_and_splits(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", NOT_ANNOTATED)
    folder = prepare_set(StudyData(source=run, tiles_per_slide=5), tmp_path / "study", 2)
    truth, store = read_truth(folder), open_set(folder)
    slide = [name.split("_")[0] for name in truth.image_id]
    # Of `d` no label is known.
    assert Counter(slide) == {"a": 5, "b": 5, "c": 5, "e": 5}
    assert truth.label.tolist() == [{"a": 0, "b": 1, "c": 1, "e": 0}[name] for name in slide]
    assert list(truth.patient) == [f"p-{name}" for name in slide]
    assert list(truth.split) == [NOT_ANNOTATED[name][1] for name in slide]
    assert list(truth.groups["site"]) == [f"site of {name}" for name in slide]
    assert set(truth.groups["scanner"]) == {"scanner"}
    assert (store.mpp, store.attributes["classes"]) == (0.5, ["normal", "tumour"])
    assert list(read_index(store).group["slide"]) == slide
    # An image's name says where it lies, and so which shade it has.
    tile = [int(name.split("_x")[1].split("_y")[0]) // 16 for name in truth.image_id]
    expected = [20 * "abcde".index(name) + t for name, t in zip(slide, tile, strict=True)]
    assert store.read(range(20))[:, 3, 3, 1].tolist() == expected
    assert len(set(tile[:5])) == 5
    assert tile[:5] != [0, 1, 2, 3, 4]
    assert set(read_index(store).fingerprint).isdisjoint({"slide a", "slide b"})


def test_the_draw_of_a_slides_tiles_goes_by_the_seed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", NOT_ANNOTATED)

    def names(seed: int) -> list[str]:
        found = stored_images(run, StudyData(tiles_per_slide=5, seed=seed), 1)
        return [member.slide.slide_id for member in found.members]

    assert names(0) == names(0)
    assert names(0) != names(1)


def test_tile_labels_count_where_there_are_any(tmp_path: Path) -> None:
    slides: Slides = {
        "normal": (0, "train", [-1, -1, 0]),
        "cancer": (1, "train", [-1, 0, 1]),
        "unsaid": (None, "validation", [1, -1, 0]),
        "bare": (1, "validation", [-1, -1, -1]),
    }
    run = run_of(tmp_path, slides)
    found = stored_images(run, StudyData(), 1)
    # Stores are read in the order of their names.
    labels = {m.slide.slide_id: m.label for m in found.members}
    assert labels == {
        "cancer_x16_y0": 0,
        "cancer_x32_y0": 1,
        "normal_x0_y0": 0,
        "normal_x16_y0": 0,
        "normal_x32_y0": 0,
        "unsaid_x0_y0": 1,
        "unsaid_x32_y0": 0,
    }


def test_splits_of_slides_without_any_are_drawn_by_patient(tmp_path: Path) -> None:
    slides: Slides = {f"s{n:02d}": (n % 2, None, UNKNOWN) for n in range(20)}
    run = run_of(tmp_path / "run", slides)
    truth = read_truth(prepare_set(StudyData(source=run), tmp_path / "study", 1))
    of_patient = set(zip(truth.patient, truth.split, strict=True))
    assert Counter(name for _, name in of_patient) == {"train": 12, "validation": 4, "internal": 4}


def test_other_tiles_are_another_source(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", NOT_ANNOTATED)
    data = StudyData(source=run, tiles_per_slide=3)
    prepare_set(data, tmp_path / "study", 1)
    # The same run elsewhere is the same.
    moved = run.rename(tmp_path / "moved")
    prepare_set(data.model_copy(update={"source": moved}), tmp_path / "study", 1)
    other = run_of(tmp_path / "other", {**NOT_ANNOTATED, "a": (1, "train", UNKNOWN)})
    with pytest.raises(SettingsMismatchError, match="images_sha256"):
        prepare_set(data.model_copy(update={"source": other}), tmp_path / "study", 1)


def test_stores_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "stains", NOT_ANNOTATED, ["none", {"method": "macenko"}] + ["none"] * 3)
    with pytest.raises(StoreError, match="without stain normalisation"):
        stored_images(run, StudyData(), 1)
    run_of(tmp_path / "sizes", {"z": (0, "train", UNKNOWN)}, size=16)
    mixed = run_of(tmp_path / "sizes", NOT_ANNOTATED)
    with pytest.raises(StoreError, match="tile size"):
        stored_images(mixed, StudyData(), 1)


def test_a_run_without_labels_says_what_to_do(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (None, "train", UNKNOWN)})
    with pytest.raises(NotEnoughDataError, match="give labels or annotations"):
        stored_images(run, StudyData(), 1)


def test_a_set_is_itself_a_source(tmp_path: Path) -> None:
    data = StudyData(source="breast", max_images={"train": 8, "validation": 4, "internal": 4})
    first = prepare_set(data, tmp_path / "first", 1)
    again = prepare_set(StudyData(source=first, size=10), tmp_path / "second", 1)
    one, two = read_truth(first), read_truth(again)
    assert (one.image_id, one.split, one.patient) == (two.image_id, two.split, two.patient)
    assert open_set(again).attributes["classes"] == ["normal", "IDC"]
    assert open_set(again).tile_size == 10


def test_the_header_says_whose_a_radiograph_is(tmp_path: Path) -> None:
    for number in range(12):
        place = tmp_path / "images" / ("normal", "COVID")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write_dicom(place / f"{number}.dcm", ramp(), PatientID=f"MRN-{number // 2}")
    data = StudyData(
        source=tmp_path / "images",
        size=8,
        splits={"train": 0.5, "validation": 0.5},
        classes=("normal", "COVID"),
    )
    truth = read_truth(prepare_set(data, tmp_path / "study", 1))
    assert len(truth) == 12
    assert len(set(truth.patient)) == len(set(zip(truth.patient, truth.split, strict=True))) == 6
    assert not any("MRN" in patient for patient in truth.patient)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of `tile` with four slides of the shipped cohort."""
    out = tmp_path_factory.mktemp("composed")
    config = CohortConfig(train=2, validation=2, internal=2, external=2)
    slides = [s for s in compose_cohort(out, config) if s.split in {"train", "validation"}]
    tile_slides(slides, out, TileConfig(tile_size=50, mpp=4.0), RunnerConfig(workers=1))
    return out


def test_a_study_can_start_from_slides(composed: Path, tmp_path: Path) -> None:
    data = StudyData(source=composed, tiles_per_slide=40, size=25)
    folder = prepare_set(data, tmp_path, 2)
    truth = read_truth(folder)
    slides = {s.slide_id: s for s in read_manifest(composed / "slides.csv")}
    slide = [name.split("_x")[0] for name in truth.image_id]
    assert Counter(slide) == {n: 40 for n, s in slides.items() if s.split in set(truth.split)}
    assert set(truth.split) == {"train", "validation"}
    assert list(truth.patient) == [slides[name].patient_id for name in slide]
    # Truth is by tile: no tile of a normal slide is tumour, and some of one with cancer are not.
    labels: dict[int | None, set[int]] = {0: set(), 1: set()}
    for name, label in zip(slide, truth.label.tolist(), strict=True):
        labels[slides[name].label].add(label)
    assert labels == {0: {0}, 1: {0, 1}}
    dark = derive_set(folder, tmp_path / "dark", lambda t, _: t // 2, splits=["train"], params={})
    assert len(read_truth(dark)) == 80
