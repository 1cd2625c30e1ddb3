import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, ramp, save_grey, write_dicom
from PIL import Image

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import PackConfig
from wsi_specdec.errors import (
    ConfigError,
    LeakError,
    NotEnoughDataError,
    SettingsMismatchError,
)
from wsi_specdec.images import open_image
from wsi_specdec.packing import pack as module
from wsi_specdec.packing import to_square
from wsi_specdec.runner import LedgerSummary, read_ledger
from wsi_specdec.store import TileStore, open_store, open_stores, read_index

Pack = Callable[..., LedgerSummary]


def store_of(folder: Path) -> TileStore:
    return open_store(folder / "tiles" / "images.zarr")


def rows_of(folder: Path) -> dict[str, Slide]:
    return {slide.slide_id: slide for slide in read_manifest(folder / "slides.csv")}


def written(folder: Path, *rows: str) -> Path:
    path = folder / "images.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes of three images."""
    for number in range(3):
        save_grey(tmp_path / "in" / "COVID" / f"{number}.png", number)
        save_grey(tmp_path / "in" / "normal" / f"{number}.png", 10 + number, 20, 50)
    return tmp_path / "in"


def test_a_folder_becomes_a_store_a_manifest_and_a_ledger(
    tmp_path: Path, classes: Path, pack: Pack
) -> None:
    summary = pack(classes)
    assert summary.ok
    assert summary.counts["done"] == 6
    store = store_of(tmp_path / "out")
    index = read_index(store)
    assert index.image_id[0] == "COVID_0"
    assert store.attributes["classes"] == ["normal", "COVID"]
    assert store.label.tolist() == [1, 1, 1, 0, 0, 0]
    assert index.image_size.tolist() == [[30, 40]] * 3 + [[50, 20]] * 3
    picture = open_image(classes / "normal" / "2.png")
    assert np.array_equal(store.read([5])[0], to_square(picture, 16, "pad", 0))
    slides = rows_of(tmp_path / "out")
    assert slides["COVID_1"].label == 1
    assert slides["normal_1"].label == 0
    assert slides.keys() == open_stores(tmp_path / "out").keys()
    ledger = read_ledger(tmp_path / "out")
    assert {(row.state, row.tiles) for row in ledger} == {("done", 1)}
    assert not (tmp_path / "out" / "pieces").exists()
    assert not (tmp_path / "out" / "patient.salt").exists()


def test_the_same_again_does_nothing(tmp_path: Path, classes: Path, pack: Pack) -> None:
    pack(classes)
    before = store_of(tmp_path / "out").path.stat().st_ino
    ledger = (tmp_path / "out" / "ledger.csv").read_text()
    assert pack(classes).ok
    assert store_of(tmp_path / "out").path.stat().st_ino == before
    assert (tmp_path / "out" / "ledger.csv").read_text() == ledger


def test_only_what_is_new_is_read(tmp_path: Path, classes: Path, pack: Pack) -> None:
    pack(classes)
    tile = store_of(tmp_path / "out").read([0])
    before = {row.slide_id: row for row in read_ledger(tmp_path / "out")}
    save_grey(classes / "normal" / "9.png", 99)
    (classes / "normal" / "1.png").unlink()
    save_grey(classes / "COVID" / "1.png", 77)
    assert pack(classes).ok
    store = store_of(tmp_path / "out")
    names = ["COVID_0", "COVID_1", "COVID_2", "normal_0", "normal_2", "normal_9"]
    assert read_index(store).image_id == names
    assert np.array_equal(store.read([0]), tile)
    new = to_square(open_image(classes / "COVID" / "1.png"), 16, "pad", 0)
    assert np.array_equal(store.read([1])[0], new)
    after = {row.slide_id: row for row in read_ledger(tmp_path / "out")}
    assert after["COVID_0"] == before["COVID_0"]


def test_a_piece_of_other_content_is_not_taken(tmp_path: Path, classes: Path, pack: Pack) -> None:
    pack(classes)
    tile = store_of(tmp_path / "out").read([0])
    first = (classes / "COVID" / "0.png").read_bytes()
    save_grey(classes / "COVID" / "0.png", 55)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(classes)
    (classes / "COVID" / "0.png").write_bytes(first)
    assert pack(classes).ok
    assert np.array_equal(store_of(tmp_path / "out").read([0]), tile)


def test_pieces_of_a_killed_run_are_used(tmp_path: Path, classes: Path, pack: Pack) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(classes)
    pieces = sorted((tmp_path / "out" / "pieces").iterdir())
    assert len(pieces) == 6
    made = pieces[0].stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(classes)
    assert pieces[0].stat().st_mtime_ns == made
    pieces[1].write_bytes(b"torn")
    assert pack(classes).ok
    assert store_of(tmp_path / "out").n_tiles == 6


def test_changed_truth_needs_no_pixels(tmp_path: Path, pack: Pack) -> None:
    save_grey(tmp_path / "a.png", 1)
    pack(written(tmp_path, "path,patient_id,label,sex", "a.png,p,0,f"), classes=["0", "1"])
    tile = store_of(tmp_path / "out").read([0])
    pack(written(tmp_path, "path,patient_id,label,sex", "a.png,q,1,m"), classes=["0", "1"])
    store = store_of(tmp_path / "out")
    assert store.label.tolist() == [1]
    assert read_index(store).patient_id == ["q"]
    assert read_index(store).group["sex"] == ["m"]
    assert rows_of(tmp_path / "out")["a"].patient_id == "q"
    assert np.array_equal(store.read([0]), tile)


def test_a_broken_image_costs_itself_alone(tmp_path: Path, classes: Path, pack: Pack) -> None:
    (classes / "COVID" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    summary = pack(classes)
    assert not summary.ok
    assert [slide_id for slide_id, _ in summary.failures] == ["COVID_1"]
    assert "no readable PNG" in summary.failures[0][1]
    assert read_index(store_of(tmp_path / "out")).image_id[:2] == ["COVID_0", "COVID_2"]
    # It stays in the manifest, where the ledger explains it.
    assert rows_of(tmp_path / "out")["COVID_1"].label == 1
    states = {row.slide_id: row.state for row in read_ledger(tmp_path / "out")}
    assert states["COVID_1"] == "failed"


def test_without_any_image_there_is_no_store(tmp_path: Path, classes: Path, pack: Pack) -> None:
    pack(classes)
    for path in classes.rglob("*.png"):
        path.write_bytes(b"broken")
    assert not pack(classes).ok
    assert not (tmp_path / "out" / "tiles" / "images.zarr").exists()


def test_other_settings_are_refused(tmp_path: Path, classes: Path, pack: Pack) -> None:
    pack(classes)
    with pytest.raises(SettingsMismatchError, match="size: 16 -> 32"):
        pack(classes, size=32)
    # What does not shape pixels may change.
    pack(classes, mpp=2.0)
    assert store_of(tmp_path / "out").mpp == 2.0
    pack(classes, size=32, overwrite=True)
    assert store_of(tmp_path / "out").tile_size == 32


def test_a_folder_of_tiled_slides_is_refused(tmp_path: Path, classes: Path, pack: Pack) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tile.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds tiled slides"):
        pack(classes)


def test_jpeg_stores_are_near_to_lossless_ones(tmp_path: Path, pack: Pack) -> None:
    smooth = np.linspace(0, 255, 900).reshape(30, 30).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(smooth).save(tmp_path / "in" / "a.png")
    pack(tmp_path / "in")
    pack(tmp_path / "in", "jpeg", codec="jpeg", jpeg_quality=95)
    assert store_of(tmp_path / "jpeg").codec == "jpeg"
    assert store_of(tmp_path / "jpeg").attributes["jpeg_quality"] == 95
    exact, near = (store_of(tmp_path / name).read([0]).astype(int) for name in ("out", "jpeg"))
    assert 0 < np.abs(exact - near).mean() < 3


def test_splits_are_drawn_by_patient_and_stay(tmp_path: Path, pack: Pack) -> None:
    rows = ["path,patient_id,label"]
    for number in range(20):
        save_grey(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,p{number // 2},{number // 10}")
    shares = {"train": 0.6, "validation": 0.2, "internal": 0.2}
    pack(written(tmp_path, *rows), splits=shares)
    before = rows_of(tmp_path / "out")
    of_patient = {(s.patient_id, s.split) for s in before.values()}
    assert len(of_patient) == 10
    assert sorted(split or "" for _, split in of_patient) == (
        ["internal"] * 2 + ["train"] * 6 + ["validation"] * 2
    )
    save_grey(tmp_path / "20.png", 20)
    pack(written(tmp_path, *rows, "20.png,new,1"), splits=shares)
    after = rows_of(tmp_path / "out")
    assert {name: after[name].split for name in before} == {
        name: slide.split for name, slide in before.items()
    }
    assert after["20"].split == "train"


def test_too_few_patients_for_the_splits(tmp_path: Path, pack: Pack) -> None:
    save_grey(tmp_path / "in" / "a.png", 0)
    with pytest.raises(NotEnoughDataError, match="1 patients"):
        pack(tmp_path / "in", splits={"train": 0.5, "internal": 0.5})


def test_labels_of_many_classes_are_in_the_store_alone(tmp_path: Path, pack: Pack) -> None:
    rows = ["path,label"]
    for number in range(3):
        save_grey(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,class{number}")
    pack(written(tmp_path, *rows))
    assert store_of(tmp_path / "out").label.tolist() == [0, 1, 2]
    assert {slide.label for slide in rows_of(tmp_path / "out").values()} == {None}


SECRETS = [text.encode() for text in (*PATIENT_NAME.split("^"), PATIENT_ID, BIRTH_DATE)]


def assert_no_secret(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        for secret in SECRETS:
            assert secret not in data, f"{secret!r} in {path.name}"
            assert secret.lower() not in data.lower(), path.name


def test_patients_of_headers_are_named_by_pseudonyms(tmp_path: Path, pack: Pack) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_dicom(source / "a.dcm", ramp(), ViewPosition="AP")
    write_dicom(source / "b.dcm", ramp(), ViewPosition="PA")
    write_dicom(source / "c.dcm", ramp(), PatientID="another")
    write_dicom(source / "d.dcm", ramp(), PatientID="")
    # What fails tells nothing either: it is cut off within the header, and within the pixels.
    whole = write_dicom(source / "e.dcm", ramp()).read_bytes()
    (source / "e.dcm").write_bytes(whole[:-50])
    (source / "f.dcm").write_bytes(whole[: whole.index(PATIENT_ID.encode()) + 30])
    write_dicom(source / "g.dcm", ramp(), BurnedInAnnotation="YES")
    summary = pack(source)
    assert [name for name, _ in summary.failures] == ["e", "f", "g"]
    index = read_index(store_of(tmp_path / "out"))
    first, second, third, fourth = index.patient_id
    assert first == second != third
    assert first.startswith("patient-")
    assert fourth == "d"
    assert index.group["view"] == ["AP", "PA", "", ""]
    assert rows_of(tmp_path / "out")["b"].patient_id == second
    assert rows_of(tmp_path / "out")["b"].view == "PA"
    assert_no_secret(tmp_path / "out")
    # The same again, from the store: the same names.
    pack(source)
    assert read_index(store_of(tmp_path / "out")).patient_id == index.patient_id
    assert_no_secret(tmp_path / "out")
    assert (tmp_path / "out" / "patient.salt").stat().st_mode & 0o777 == 0o600


def test_pseudonyms_are_shared_by_those_who_share_the_secret(tmp_path: Path, pack: Pack) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_dicom(source / "a.dcm", ramp())
    salt = tmp_path / "salt"
    salt.write_text("a secret of some length")
    for out, settings in {"x": {"salt": salt}, "y": {"salt": salt}, "z": {}}.items():
        pack(source, out, **settings)
    names = {out: read_index(store_of(tmp_path / out)).patient_id for out in "xyz"}
    assert names["x"] == names["y"] != names["z"]
    salt.write_text("short")
    with pytest.raises(ConfigError, match="holds 5 bytes"):
        pack(source, "w", salt=salt)


def test_a_csv_goes_before_the_header(tmp_path: Path, pack: Pack) -> None:
    write_dicom(tmp_path / "a.dcm", ramp(), ViewPosition="AP")
    pack(written(tmp_path, "path,patient_id,view", "a.dcm,p7,LL"))
    index = read_index(store_of(tmp_path / "out"))
    assert (index.patient_id, index.group["view"]) == (["p7"], ["LL"])
    assert_no_secret(tmp_path / "out")
    # Without the CSV's word the header is asked.
    pack(written(tmp_path, "path,view", "a.dcm,LL"))
    assert read_index(store_of(tmp_path / "out")).patient_id[0].startswith("patient-")


def test_what_the_csv_no_longer_says_is_asked_of_the_header(tmp_path: Path, pack: Pack) -> None:
    for name in ("a", "b"):
        write_dicom(tmp_path / f"{name}.dcm", ramp())
    pack(written(tmp_path, "path,patient_id", "a.dcm,p7", "b.dcm,"))
    first = read_index(store_of(tmp_path / "out")).patient_id
    pack(written(tmp_path, "path", "a.dcm", "b.dcm"))
    second = read_index(store_of(tmp_path / "out")).patient_id
    assert first == ["p7", second[0]]
    assert second == [second[0], second[0]]


def test_a_patient_of_headers_in_two_splits_is_a_leak(tmp_path: Path, pack: Pack) -> None:
    for name in ("a", "b"):
        write_dicom(tmp_path / f"{name}.dcm", ramp())
    table = written(tmp_path, "path,split", "a.dcm,train", "b.dcm,test")
    with pytest.raises(LeakError, match="patient-"):
        pack(table)
    assert not (tmp_path / "out" / "tiles").exists()


def test_the_manifest_is_csv_of_the_known_columns(
    tmp_path: Path, classes: Path, pack: Pack
) -> None:
    pack(classes)
    with (tmp_path / "out" / "slides.csv").open(encoding="utf-8") as handle:
        header = next(csv.reader(handle))
    assert header[-1] == "view"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": {"train": 0.5, "internal": 0.2}}, "must sum to 1"),
        ({"classes": ["a", "A"]}, "names one twice"),
        ({"size": 4}, "size"),
        ({"splits": {"somewhere": 1}}, "splits"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackConfig.model_validate(settings)
