"""Sets of images: from the shipped patches and from pictures, and sets derived of them."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi_specdec.cohort import read_manifest
from wsi_specdec.config import StudyData
from wsi_specdec.demo import load_patches
from wsi_specdec.errors import (
    ConfigError,
    ManifestError,
    NotEnoughDataError,
    SettingsMismatchError,
    StoreError,
)
from wsi_specdec.store import open_stores, read_index
from wsi_specdec.studies.sets.choosing import choose_images
from wsi_specdec.studies.sets.gather import shipped_patches
from wsi_specdec.studies.sets.prepare import derive_set, open_set, prepare_set, read_truth
from wsi_specdec.training.data import choose_tiles

FEW = StudyData(source="breast", max_images={"train": 290, "validation": 20, "internal": 10})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_set(FEW, tmp_path_factory.mktemp("study"), 2)


def inverted(tiles: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Invert tiles, and write the row's number into a pixel."""
    out = 255 - tiles
    out[:, 0, 0] = np.stack([rows // 256, rows % 256, rows * 0], axis=1)
    return out


def written_at(folder: Path) -> int:
    return (folder / "tiles" / "images.zarr" / "zarr.json").stat().st_mtime_ns


def test_the_shipped_patches_are_split_by_patient() -> None:
    patches = shipped_patches(StudyData())
    slides = [member.slide for member in patches.members]
    taken = choose_images(slides, [m.label for m in patches.members], StudyData())
    assert len(taken) == len(slides) == 8011
    of_patient = {(slides[row].patient_id, name) for row, name in taken.items()}
    assert Counter(name for _, name in of_patient) == {
        "train": 134,
        "validation": 34,
        "internal": 56,
    }
    assert (patches.classes, patches.tile_size, patches.mpp) == (("normal", "IDC"), 50, 4.0)


def test_a_set_of_patches_holds_their_pixels_labels_and_patients(base: Path) -> None:
    store, truth, patches = open_set(base), read_truth(base), load_patches()
    row_of = {
        f"{p}_x{x}_y{y}": row
        for row, (p, x, y) in enumerate(zip(patches.patient, patches.x, patches.y, strict=True))
    }
    rows = [row_of[name] for name in truth.image_id]
    np.testing.assert_array_equal(store.read(range(len(truth))), patches.tiles[rows])
    assert truth.label.tolist() == patches.label[rows].tolist()
    assert truth.label.dtype == np.int64
    assert list(truth.patient) == patches.patient[rows].tolist()
    assert Counter(truth.split) == FEW.max_images
    assert truth.groups == dict.fromkeys(("site", "scanner", "view"), ("",) * 320)
    assert store.attributes["classes"] == ["normal", "IDC"]
    assert (store.mpp, store.codec) == (4.0, "lossless")
    assert len(set(read_index(store).fingerprint)) == 320


def test_a_set_is_what_training_takes(base: Path) -> None:
    data = choose_tiles(open_stores(base), read_manifest(base / "slides.csv"), "auto")
    assert (len(data.train), len(data.validation)) == (290, 20)
    truth = read_truth(base)
    in_train = truth.label[np.array(truth.split) == "train"]
    assert np.bincount(data.train.label).tolist() == np.bincount(in_train).tolist()


def test_images_are_averaged_to_another_size(tmp_path: Path) -> None:
    data = FEW.model_copy(update={"size": 25, "max_images": {"train": 4, "validation": 4}})
    folder = prepare_set(data, tmp_path, 1)
    store, patches = open_set(folder), load_patches()
    name = read_truth(folder).image_id[0]
    (row,) = (
        row
        for row, (p, x, y) in enumerate(zip(patches.patient, patches.x, patches.y, strict=True))
        if f"{p}_x{x}_y{y}" == name
    )
    means = patches.tiles[row].reshape(25, 2, 25, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(store.read([0])[0], means, atol=0.5)
    assert (store.tile_size, store.mpp) == (25, 8.0)


def test_the_same_settings_keep_a_set_and_others_are_refused(base: Path) -> None:
    out, before = base.parent.parent, written_at(base)
    assert prepare_set(FEW, out, 1) == base
    assert written_at(base) == before
    with pytest.raises(SettingsMismatchError, match=r"data\.seed: 0 -> 1"):
        prepare_set(FEW.model_copy(update={"seed": 1}), out, 1)
    assert written_at(base) == before


def test_a_set_that_was_cut_off_is_written_again(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "data" / "base")
    shutil.rmtree(tmp_path / "data" / "base" / "tiles")
    again = prepare_set(FEW, tmp_path, 2)
    assert read_truth(again).image_id == read_truth(base).image_id
    rows = range(320)
    np.testing.assert_array_equal(open_set(again).read(rows), open_set(base).read(rows))


def test_a_derived_set_holds_changed_pixels_of_some_splits(base: Path, tmp_path: Path) -> None:
    truth, source = read_truth(base), open_set(base)
    folder = derive_set(base, tmp_path, inverted, splits=["train", "internal"], params={"a": 1})
    found, store = read_truth(folder), open_set(folder)
    rows = np.flatnonzero(np.array(truth.split) != "validation")
    assert found.image_id == tuple(np.array(truth.image_id)[rows])
    assert found.label.tolist() == truth.label[rows].tolist()
    assert Counter(found.split) == {"train": 290, "internal": 10}
    # More than a batch, so that rows are right across batches.
    expected = inverted(source.read(rows), rows)
    np.testing.assert_array_equal(store.read(range(300)), expected)
    old, new = read_index(source), read_index(store)
    assert not set(old.fingerprint) & set(new.fingerprint)
    assert store.attributes["params_sha256"] != source.attributes["params_sha256"]
    assert (store.mpp, store.attributes["classes"]) == (4.0, ["normal", "IDC"])


def test_fingerprints_of_derived_images_go_by_the_change(base: Path, tmp_path: Path) -> None:
    marks = [
        read_index(
            open_set(
                derive_set(base, tmp_path / name, inverted, splits=["internal"], params=params)
            )
        ).fingerprint
        for name, params in [("a", {"amount": 1}), ("b", {"amount": 2}), ("c", {"amount": 1})]
    ]
    assert not set(marks[0]) & set(marks[1])
    assert marks[0] == marks[2]


def test_a_derived_set_is_kept_for_the_same_change_alone(base: Path, tmp_path: Path) -> None:
    def never(tiles: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        msg = f"{len(tiles)} tiles of {rows} are there already"
        raise AssertionError(msg)

    first = tmp_path / "first"
    # A tuple reads back as a list.
    params = {"amounts": (1, 2)}
    derive_set(base, first, inverted, splits=["internal", "validation"], params=params)
    derive_set(base, first, never, splits=["validation", "internal"], params=params)
    with pytest.raises(SettingsMismatchError, match="amounts"):
        derive_set(base, first, never, splits=["internal", "validation"], params={"amounts": ()})
    with pytest.raises(SettingsMismatchError, match="splits"):
        derive_set(base, first, never, splits=["internal"], params=params)
    second = derive_set(first, tmp_path / "second", inverted, splits=["internal"], params={})
    with pytest.raises(SettingsMismatchError, match="source_sha256"):
        derive_set(base, second, never, splits=["internal"], params={})


def test_a_change_that_is_none_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gave uint8 \(10, 25, 50, 3\)"):
        derive_set(base, tmp_path / "a", lambda t, _: t[:, ::2], splits=["internal"], params={})
    with pytest.raises(NotEnoughDataError, match="there are internal, train, validation"):
        derive_set(base, tmp_path / "b", inverted, splits=["external"], params={})


def test_an_image_without_a_split_is_named(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "set")
    manifest = tmp_path / "set" / "slides.csv"
    manifest.write_text(manifest.read_text().replace(",internal,", ",,"))
    with pytest.raises(ManifestError, match="names no split of the image"):
        read_truth(tmp_path / "set")


def test_a_study_without_images_says_how_to_give_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data breast"):
        prepare_set(StudyData(), tmp_path, 1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training and 6 test pictures of two classes, their shade their number; one is broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(26):
        split = "training" if number < 20 else "test"
        place = folder / split / ("AC", "H")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shade = np.full((12, 16, 3), 9 * number, np.uint8)
        Image.fromarray(shade).save(place / f"{number}.png")
    (folder / "test" / "H" / "25.png").write_bytes(b"broken")
    return folder


def test_pictures_are_packed_and_train_is_divided(pictures: Path, tmp_path: Path) -> None:
    data = StudyData(
        source=pictures,
        classes=("H", "AC"),
        size=8,
        split_names={"test": "external"},
        max_images={"train": 8},
    )
    folder = prepare_set(data, tmp_path, 1)
    truth = read_truth(folder)
    assert Counter(truth.split) == {"train": 8, "validation": 4, "internal": 4, "external": 5}
    numbers = [int(name.rsplit("_", 1)[1]) for name in truth.image_id]
    assert [9 * n for n in numbers] == open_set(folder).read(range(21))[:, 4, 4, 0].tolist()
    assert truth.label.tolist() == [1 - n % 2 for n in numbers]
    assert {name for n, name in zip(numbers, truth.split, strict=True) if n >= 20} == {"external"}
    before = written_at(folder)
    assert prepare_set(data, tmp_path, 1) == folder
    assert written_at(folder) == before


def test_a_picture_that_changed_makes_other_images_of_them(pictures: Path, tmp_path: Path) -> None:
    source = shutil.copytree(pictures, tmp_path / "source")
    data = StudyData(source=source, classes=("H", "AC"), size=8, split_names={"test": "external"})
    prepare_set(data, tmp_path / "study", 1)
    path = source / "training" / "AC" / "0.png"
    written = bytearray(path.read_bytes())
    written[-1] ^= 1  # as large as before
    path.write_bytes(bytes(written))
    with pytest.raises(SettingsMismatchError, match="images"):
        prepare_set(data, tmp_path / "study", 1)
