"""Which files of a folder are slides, and what they are called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wsi_specdec.errors import ManifestError
from wsi_specdec.slides import find_slides

WriteInstance = Callable[..., Path]


def names(*paths: Path) -> list[str]:
    return [slide.name for slide in find_slides(paths)]


def touch(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).touch()
    return folder


def test_pictures_beside_slides_are_not_slides(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a.png", "a.truth.png", "b.jpg")
    assert names(tmp_path) == ["a"]
    # Named by the user, they are.
    assert names(tmp_path / "b.jpg", tmp_path) == ["b", "a"]


def test_pictures_alone_are_slides(tmp_path: Path) -> None:
    assert names(touch(tmp_path, "b.png", "a.jpg", "C.JPEG", "notes.txt")) == ["C", "a", "b"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.svs").mkdir()
    assert names(touch(tmp_path, "a.svs", "._a.svs")) == ["a"]


def test_a_link_that_leads_nowhere_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "b.svs").symlink_to(tmp_path / "gone")
    assert names(touch(tmp_path, "a.svs")) == ["a", "b"]


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no slides in the folder .*\.jpg.*\.svs"):
        find_slides([tmp_path])


def test_dicom_slides_in_folders_of_their_own(
    tmp_path: Path, write_instance: WriteInstance
) -> None:
    for folder in ("case 1", "case.2"):
        write_instance(f"{folder}/1.dcm", kind="LABEL")
        write_instance(f"{folder}/2.dcm")
    found = find_slides([tmp_path])
    assert found == [("case 1", tmp_path / "case 1/2.dcm"), ("case.2", tmp_path / "case.2/2.dcm")]
    # The slide's own folder, and all its files as a shell lists them, mean the same.
    assert find_slides([tmp_path / "case 1"]) == found[:1]
    assert find_slides(sorted((tmp_path / "case 1").iterdir())) == found[:1]


def test_dicom_slides_side_by_side(tmp_path: Path, write_instance: WriteInstance) -> None:
    for series in ("1.1", "2.2"):
        write_instance(f"{series}-level.dcm", series=series)
        write_instance(f"{series}-label.dcm", series=series, kind="LABEL")
    touch(tmp_path, "z.svs")
    assert names(tmp_path) == ["1.1-level", "2.2-level", "z"]


def test_a_dicom_slide_of_one_file_is_named_after_it(write_instance: WriteInstance) -> None:
    assert names(write_instance("slides/a.dcm").parent) == ["a"]
