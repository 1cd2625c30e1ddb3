"""Which images are to be packed, and what is known of each, from a folder or a CSV file."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import Slide, check_leaks, check_unique, make_slide
from wsi_specdec.errors import ManifestError
from wsi_specdec.images import IMAGE_SUFFIXES, find_images

# Columns of a slide's row that mean the same for an image.
_KNOWN: Final = ("slide_id", "path", "patient_id", "split", "site", "scanner", "view")
# Other names of columns.
_ALIASES: Final = {
    "image_id": "slide_id",
    "image": "path",
    "image_path": "path",
    "file": "path",
    "filename": "path",
    "patientid": "patient_id",
    "class": "label",
    "projection": "view",
}
_SPLITS: Final = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "internal", "external"}
)
# Of two classes, one of these names is the negative one.
_NEGATIVE: Final = frozenset(
    {"0", "negative", "normal", "benign", "healthy", "control", "no finding", "no_finding"}
)
_GROUP: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image to be packed.

    Attributes
    ----------
    slide
        Its row of the manifest, an image being a slide of one tile; its label is not set.
    label
        Number of its class, None where unknown.
    patient_known
        Whether its patient is stated; else it is its file's header's, or the image itself.
    groups
        What else the CSV says of it, by column.
    """

    slide: Slide
    label: int | None
    patient_known: bool
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """The images, and the names of their labels 0, 1, …."""

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    slide: Slide
    label: str | None
    patient_known: bool
    groups: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


def list_images(source: Path, classes: Sequence[str] = ()) -> Listing:
    """List the images of a folder or of a CSV file.

    A folder holds images, or a folder for each class, or a folder for each split that holds one
    for each class; an image is named after its path in it. A CSV file has the column `path`
    (relative to its folder, or absolute) and maybe `image_id`, `patient_id`, `label`, `split`,
    `site`, `scanner` and `view`; any other column is kept as a group.

    Parameters
    ----------
    classes
        Names of the labels 0, 1, …; empty takes those that are found, sorted, but of two the one
        that is called normal, negative or the like first.

    Raises
    ------
    ManifestError
        If there is no image, two have one id, or a value is wrong.
    LeakError
        If a patient stands in two splits.
    """
    if source.is_dir():
        rows = _of_folder(source)
    elif source.suffix.lower() == ".csv":
        rows = _of_csv(source)
    else:
        msg = f"{source} is neither a folder of images nor a CSV file that lists them"
        raise ManifestError(msg)
    if not rows:
        msg = f"no images in {source}: PNG, JPEG, TIFF and DICOM are looked for"
        raise ManifestError(msg)
    slides = [row.slide for row in rows]
    check_unique(slides)
    check_leaks([row.slide for row in rows if row.patient_known])
    names = tuple(classes) or _found({row.label for row in rows if row.label is not None})
    entries = [Entry(row.slide, _number(row, names), row.patient_known, row.groups) for row in rows]
    return Listing(tuple(entries), names)


def _of_folder(folder: Path) -> list[_Row]:
    """Rows of the images in a folder, in its classes' or in its splits' and classes' folders."""
    inner = _folders(folder)
    found: list[tuple[str | None, str | None, Path]]
    if inner and all(name.lower() in _SPLITS for name in inner):
        found = [
            (label, split, file)
            for split, place in inner.items()
            for label, file in _by_class(place)
        ]
    else:
        found = [(label, None, file) for label, file in _by_class(folder)]
    rows = []
    for label, split, file in found:
        name = "_".join([*file.relative_to(folder).parts[:-1], _stem(file)])
        texts = {"slide_id": _safe(name), "path": str(file.absolute()), "split": split}
        rows.append(_Row(make_slide(texts, folder, str(file)), label, False, {}, str(file)))
    return rows


def _by_class(folder: Path) -> list[tuple[str | None, Path]]:
    classes = _folders(folder)
    in_classes = [(name, file) for name, place in classes.items() for file in find_images(place)]
    beside: list[tuple[str | None, Path]] = [(None, file) for file in find_images(folder)]
    if in_classes and beside:
        msg = (
            f"{folder} holds images beside folders of images: put each into the folder of its "
            "class, or list them in a CSV file"
        )
        raise ManifestError(msg)
    return [*in_classes, *beside]


def _folders(folder: Path) -> dict[str, Path]:
    places = (p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith("."))
    return {place.name: place for place in places}


def _of_csv(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {path}: {error}"
        raise ManifestError(msg) from error
    reader = csv.DictReader(io.StringIO(text))
    header = [name.strip() for name in reader.fieldnames or []]
    header = [_ALIASES.get(name.lower(), name) for name in header]
    _check_header(header, path)
    reader.fieldnames = header
    return [
        _row(values, path, f"{path}, line {line}") for line, values in enumerate(reader, start=2)
    ]


def _check_header(header: Sequence[str], path: Path) -> None:
    if "path" not in header:
        msg = f"{path} has no column 'path' that says where each image is"
        raise ManifestError(msg)
    if len(set(header)) != len(header):
        msg = f"{path} names a column twice, maybe by two names of it: {', '.join(header)}"
        raise ManifestError(msg)
    odd = [name for name in header if not _GROUP.fullmatch(name) or name.startswith(".")]
    if odd:
        msg = f"{path}: a column's name holds letters, digits, '.', '_' and '-', not {odd[0]!r}"
        raise ManifestError(msg)


def _row(values: Mapping[str, str | None], path: Path, where: str) -> _Row:
    given = {k: v.strip() for k, v in values.items() if isinstance(v, str) and v.strip()}
    if "path" not in given:
        msg = f"{where}: the column 'path' is empty"
        raise ManifestError(msg)
    known: dict[str, str | None] = {name: given[name] for name in _KNOWN if name in given}
    known.setdefault("slide_id", _safe(_stem(Path(given["path"]))))
    slide = make_slide(known, path.parent, where)
    groups = {n: given.get(n, "") for n in values if n not in {*_KNOWN, "label"} and n is not None}
    patient_known = "patient_id" in given
    return _Row(slide, given.get("label"), patient_known, groups, where)


def _found(labels: set[str]) -> tuple[str, ...]:
    """Order the classes that were found; spelling that differs in case alone is one class."""
    spelled = sorted(
        {label.lower(): label for label in sorted(labels, reverse=True)}.values(), key=_order
    )
    if len(spelled) == 1 and spelled[0].lower() not in _NEGATIVE:
        msg = (
            f"the only class is {spelled[0]!r}, so its number is unknown: name all classes, the "
            f"negative one first, as in --classes normal,{spelled[0]}"
        )
        raise ManifestError(msg)
    if len(spelled) == 2:
        spelled.sort(key=lambda name: name.lower() not in _NEGATIVE)
    return tuple(spelled)


def _order(name: str) -> tuple[int, str]:
    """Order numbers as numbers, before words."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name.lower())


def _number(row: _Row, classes: Sequence[str]) -> int | None:
    if row.label is None:
        return None
    names = [name.lower() for name in classes]
    if row.label.lower() not in names:
        msg = f"{row.where}: label {row.label!r} is not one of the classes {', '.join(classes)}"
        raise ManifestError(msg)
    return names.index(row.label.lower())


def _stem(file: Path) -> str:
    """Name without its suffix; what follows the last dot of a DICOM UID is none."""
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "image"
