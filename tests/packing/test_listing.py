from pathlib import Path

import pytest

from wsi_specdec.errors import LeakError, ManifestError
from wsi_specdec.packing import list_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def written(folder: Path, text: str) -> Path:
    path = folder / "images.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    touch(tmp_path, "COVID/1.png", "COVID/2.jpg", "normal/1.png", "normal/no image.txt")
    listing = list_images(tmp_path)
    assert listing.classes == ("normal", "COVID")
    found = [(e.slide.slide_id, e.label, e.slide.patient_id) for e in listing.entries]
    assert found == [
        ("COVID_1", 1, "COVID_1"),
        ("COVID_2", 1, "COVID_2"),
        ("normal_1", 0, "normal_1"),
    ]
    assert not any(entry.patient_known for entry in listing.entries)


def test_a_folder_for_each_split_and_class(tmp_path: Path) -> None:
    touch(tmp_path, "training/AC/a.png", "training/H/a.png", "test/AC/a.png")
    listing = list_images(tmp_path, ["H", "AC"])
    found = {e.slide.slide_id: (e.slide.split, e.label) for e in listing.entries}
    assert found == {
        "training_AC_a": ("train", 1),
        "training_H_a": ("train", 0),
        "test_AC_a": ("internal", 1),
    }


def test_a_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a name.png")
    (tmp_path / "1.2.840.7").write_bytes(b"\0" * 128 + b"DICM")
    listing = list_images(tmp_path)
    # What follows the last dot of a UID is no suffix.
    assert [entry.slide.slide_id for entry in listing.entries] == ["1.2.840.7", "a_name", "b"]
    assert {entry.label for entry in listing.entries} == {None}
    assert listing.classes == ()


def test_a_csv_says_what_is_known(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "filename,PatientID,class,split,site,projection,sex\n"
        "x/a.png,p1,COVID,train,here,AP,f\n"
        "b.png,p2,normal,test,,PA,\n"
        "c.png,,,,,,m\n",
    )
    first, second, third = list_images(path).entries
    assert first.slide.path == tmp_path / "x" / "a.png"
    assert (first.slide.slide_id, first.slide.patient_id, first.label) == ("a", "p1", 1)
    assert (first.slide.split, first.slide.site, first.slide.view) == ("train", "here", "AP")
    assert first.groups == {"sex": "f"}
    assert first.patient_known
    assert (second.slide.split, second.slide.site, second.label) == ("internal", None, 0)
    assert (third.slide.patient_id, third.label, third.patient_known) == ("c", None, False)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1", "0"], ("0", "1")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["Positive", "Negative"], ("Negative", "Positive")),
        (["b", "a"], ("a", "b")),
        (["COVID", "covid", "Normal"], ("Normal", "COVID")),
        (["normal"], ("normal",)),
    ],
)
def test_classes_are_found_in_order(
    tmp_path: Path, labels: list[str], classes: tuple[str, ...]
) -> None:
    rows = "".join(f"{row}.png,{label}\n" for row, label in enumerate(labels))
    assert list_images(written(tmp_path, f"path,label\n{rows}")).classes == classes


def test_a_single_positive_class_must_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "path,label\na.png,COVID\n")
    with pytest.raises(ManifestError, match="--classes normal,COVID"):
        list_images(path)
    assert list_images(path, ["normal", "COVID"]).entries[0].label == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nx\n", "no column 'path'"),
        ("path,image\na,b\n", "names a column twice"),
        ("path,a b\na.png,1\n", "a column's name holds .* not 'a b'"),
        ("path,../x\na.png,1\n", "a column's name holds"),
        ("path\n\n", "no images in"),
        ("path,label\n,x\n", "line 2: the column 'path' is empty"),
        ("path,split\na.png,tomorrow\n", "line 2: split 'tomorrow'"),
        ("path,image_id\na.png,a/b\n", "line 2: slide_id 'a/b'"),
        ("path\nx/a.png\ny/a.png\n", "two slides have the id 'a'"),
    ],
)
def test_a_csv_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        list_images(written(tmp_path, text))


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "path,label\na.png,COVID\nb.png,flu\n")
    with pytest.raises(ManifestError, match=r"images\.csv, line 3: label 'flu' is not one of"):
        list_images(path, ["normal", "COVID"])


def test_a_patient_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    path = written(tmp_path, "path,patient_id,split\na.png,p,train\nb.png,p,test\n")
    with pytest.raises(LeakError, match="p in internal and train"):
        list_images(path)


def test_other_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no images in"):
        list_images(tmp_path)
    touch(tmp_path, "a.png", "class/b.png")
    with pytest.raises(ManifestError, match="images beside folders"):
        list_images(tmp_path)
    with pytest.raises(ManifestError, match="neither a folder"):
        list_images(tmp_path / "a.png")
