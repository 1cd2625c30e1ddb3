"""Manifests, splits and leaks."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.cohort import (
    Slide,
    assign_splits,
    evaluated_cohorts,
    read_manifest,
    slides_from_paths,
    write_manifest,
)
from wsi_specdec.errors import ConfigError, LeakError, ManifestError, NotEnoughDataError

DICOM = Path(__file__).parents[1] / "data/camelyon_jpeg_overview.dcm"
SHARES = {"train": 0.6, "validation": 0.2, "internal": 0.2}


def manifest(folder: Path, text: str) -> Path:
    path = folder / "slides.csv"
    path.write_text(text)
    return path


def test_only_the_path_is_required(tmp_path: Path) -> None:
    (slide,) = read_manifest(manifest(tmp_path, "path\nslides/a b.svs\n"))
    assert slide == Slide("a_b", tmp_path / "slides/a b.svs", "a_b")


def test_a_manifest_survives_being_written_and_read(tmp_path: Path) -> None:
    slides = [
        Slide("a", tmp_path / "a.svs", "p1", 1, "train", "centre", "scanner", 0.25),
        Slide(
            "b", tmp_path / "b.svs", "p2", 0, "external-north", annotation_path=tmp_path / "b.png"
        ),
    ]
    write_manifest(slides, tmp_path / "out.csv")
    assert read_manifest(tmp_path / "out.csv") == slides
    assert str(tmp_path) not in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "case_id,slide_id,label\np1,a,tumor\n",
        "sample_id,image_path,mask_path,spacing_at_level_0\na,a.tif,a.png,0.25\n",
        "wsi,mpp\na.svs,0.5\n",
    ],
)
def test_headers_of_other_tools_are_accepted(tmp_path: Path, text: str) -> None:
    (slide,) = read_manifest(manifest(tmp_path, text))
    assert slide.slide_id == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,colour\na.svs,red\n", "unknown columns"),
        ("label\n1\n", "no column 'path'"),
        ("path\n", "no rows"),
        ("path,label\na.svs,maybe\n", "line 2: label 'maybe'"),
        ("path,split\na.svs,holdout\n", "line 2: split 'holdout'"),
        ("path,mpp\na.svs,fine\n", "line 2: mpp 'fine'"),
        ("path,slide_id\na.svs,../a\n", "may hold only"),
        ("path,path\na.svs,b.svs\n", "twice"),
        ("path\nx/a.svs\ny/a.svs\n", r"two slides have the id 'a': .*x/a\.svs and .*y/a\.svs"),
    ],
)
def test_a_wrong_manifest_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(manifest(tmp_path, text))


def test_one_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    text = "path,patient_id,split\na.svs,p1,train\nb.svs,p1,test\n"
    with pytest.raises(LeakError, match="p1 in internal and train"):
        read_manifest(manifest(tmp_path, text))


def test_external_cohorts_may_share_patients_with_each_other_alone(tmp_path: Path) -> None:
    shared = "path,patient_id,split\na.svs,p1,external\nb.svs,p1,external-2\nc.svs,p2,train\n"
    slides = read_manifest(manifest(tmp_path, shared))
    assert [s.split for s in slides] == ["external", "external-2", "train"]
    # Each slide keeps the split it has, and not that of its patient.
    assert assign_splits(slides, {"train": 1.0}) == slides
    for other in ("train", "validation", "internal"):
        with pytest.raises(LeakError, match=f"p1 in external and external-2 and {other}"):
            read_manifest(manifest(tmp_path, f"{shared}d.svs,p1,{other}\n"))


def test_a_missing_manifest_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot read"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match=r"no slides in the folder .*svs"):
        slides_from_paths([tmp_path])
    with pytest.raises(ManifestError, match="no such slide"):
        slides_from_paths([tmp_path / "none.svs"])


def test_folders_give_their_slides_in_order(tmp_path: Path) -> None:
    for name in ("b.svs", "a.TIF", "notes.txt"):
        (tmp_path / name).touch()
    assert [s.slide_id for s in slides_from_paths([tmp_path])] == ["a", "b"]


def test_a_manifest_may_name_the_folder_of_a_dicom_slide(tmp_path: Path) -> None:
    (tmp_path / "case 1.5").mkdir()
    shutil.copy(DICOM, tmp_path / "case 1.5/level.dcm")
    (slide,) = read_manifest(manifest(tmp_path, "path\ncase 1.5\n"))
    assert slide == Slide("case_1.5", tmp_path / "case 1.5/level.dcm", "case_1.5")
    # Found in a folder, a lone instance goes by its own name.
    assert slides_from_paths([tmp_path]) == [Slide("level", slide.path, "level")]
    shutil.copy(DICOM, tmp_path / "case 1.5/other.dcm")
    assert slides_from_paths([tmp_path]) == [slide]


def test_a_manifest_that_names_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ManifestError, match=r"line 2: .*folder without DICOM files"):
        read_manifest(manifest(tmp_path, "path\nfolder\n"))
    # Where only ids are given, a folder of that name is something else.
    (slide,) = read_manifest(manifest(tmp_path, "slide_id\nfolder\n"))
    assert slide.slide_id == "folder"


@given(
    labels=st.lists(st.integers(0, 1), min_size=6, max_size=60),
    seed=st.integers(0, 100),
)
def test_splits_never_part_a_patient(labels: list[int], seed: int) -> None:
    slides = [
        Slide(f"s{i}", Path(f"s{i}.svs"), f"p{i // 2}", label) for i, label in enumerate(labels)
    ]
    split = assign_splits(slides, SHARES, seed)
    of_patient: dict[str, set[str | None]] = {}
    for slide in split:
        of_patient.setdefault(slide.patient_id, set()).add(slide.split)
    assert all(len(names) == 1 for names in of_patient.values())
    assert assign_splits(slides, SHARES, seed) == split


def test_splits_follow_the_shares_within_each_class() -> None:
    slides = [Slide(f"s{i}", Path("x"), f"p{i}", i % 2) for i in range(100)]
    split = assign_splits(slides, SHARES)
    for label in (0, 1):
        counts = [sum(s.split == name and s.label == label for s in split) for name in SHARES]
        assert counts == [30, 10, 10]


def test_splits_that_were_given_stay_and_draw_the_patient_along() -> None:
    slides = [Slide(f"s{i}", Path("x"), f"p{i // 2}") for i in range(20)]
    slides[0] = replace(slides[0], split="external")
    split = assign_splits(slides, SHARES)
    assert split[0].split == split[1].split == "external"


def test_impossible_splits_are_refused() -> None:
    slides = [Slide("a", Path("a"), "p"), Slide("b", Path("b"), "q")]
    with pytest.raises(NotEnoughDataError, match="2 patients cannot fill 3 splits"):
        assign_splits(slides, SHARES)
    with pytest.raises(ConfigError, match="sum to 1"):
        assign_splits(slides, {"train": 0.5})


def test_test_cohorts_are_internal_first() -> None:
    names = ["external-b", "train", "internal", None, "external", "validation"]
    slides = [Slide(f"s{i}", Path("x"), f"p{i}", split=name) for i, name in enumerate(names)]
    assert evaluated_cohorts(slides) == ["internal", "external", "external-b"]
