"""Which files are slides, in the order and under the names that the user finds them by."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from wsi_specdec.errors import ManifestError
from wsi_specdec.slides.dicom import SUFFIX as DICOM_SUFFIX
from wsi_specdec.slides.dicom import group_series

SLIDE_SUFFIXES: Final = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".svslide", ".bif", ".vms", ".vmu"}
    | {DICOM_SUFFIX}
)
# Slides only in folders that hold no other: beside slides they are masks and thumbnails.
PICTURE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})


class FoundSlide(NamedTuple):
    """A slide's name, and the file to open."""

    name: str
    file: Path


def find_slides(paths: Iterable[Path]) -> list[FoundSlide]:
    """Find the slides among files and folders; a folder gives those directly within it.

    Pictures (PNG, JPEG) in a folder count as slides if it holds no other slide. The instances of
    a DICOM series are one slide; a folder's folders are searched for them too. A slide is named
    after its file's stem, a DICOM slide of several instances after its folder where it is the
    only slide in it. Hidden files are passed over.

    Raises
    ------
    ManifestError
        If a path does not exist or cannot be read, or a folder holds no slide.
    """
    files = [file for path in paths for file in _files(path)]
    instances = [file for file in files if _is_instance(file)]
    series = {group.file: group.instances for group in group_series(instances)}
    slides = [file for file in files if file in series or not _is_instance(file)]
    in_folder = Counter(slide.parent for slide in slides)
    return [
        FoundSlide(
            slide.resolve().parent.name
            if series.get(slide, 1) > 1 and in_folder[slide.parent] == 1
            else slide.stem,
            slide,
        )
        for slide in slides
    ]


def _files(path: Path) -> list[Path]:
    """Return the files that one argument stands for, of DICOM all instances."""
    if not path.exists():
        msg = f"no such slide or folder: {path}"
        raise ManifestError(msg)
    if not path.is_dir():
        return [path]
    entries = _entries(path)
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if entry not in set(folders)]
    slides = _with_suffix(files, SLIDE_SUFFIXES)
    slides += [file for folder in folders for file in _entries(folder) if _is_instance(file)]
    slides = slides or _with_suffix(files, PICTURE_SUFFIXES)
    if not slides:
        looked_for = ", ".join(sorted(SLIDE_SUFFIXES | PICTURE_SUFFIXES))
        msg = f"no slides in the folder {path}: looked for {looked_for}"
        raise ManifestError(msg)
    return slides


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without hidden files such as macOS' `._slide.svs`."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror}"
        raise ManifestError(msg) from error


def _with_suffix(files: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _is_instance(file: Path) -> bool:
    return file.suffix.lower() == DICOM_SUFFIX
