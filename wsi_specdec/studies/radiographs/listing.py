"""Four public collections of chest radiographs, listed as one CSV file that `pack` reads."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsi_specdec.errors import ManifestError
from wsi_specdec.files import write_text
from wsi_specdec.images import find_images
from wsi_specdec.keys import EXTERNAL, TRAIN

CLASSES: Final = ("normal", "COVID")
COLUMNS: Final = ("image_id", "path", "patient_id", "label", "split", "site", "view")
_METADATA: Final = "metadata.csv"
# Of NIH ChestX-ray14, whose file names are the patient's number and the number of the visit.
_NIH: Final = re.compile(r"(\d{8})_\d{3}")
# What in a file name tells pictures of one report apart: figure, case, day, side of the view.
_WITHIN_REPORT: Final = re.compile(
    r"(?:\.pdf|[-_.](?:[Ff]ig|gr|g|f)[-_]?\d|-case\d|-day-?\d|-admission|-\d+-(?:hours|days)"
    r"|-[a-d]-|-PA).*"
)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a collection's metadata say of an image."""

    patient: str
    view: str


_Metadata = Mapping[str, _Said]


@dataclass(frozen=True, slots=True)
class _Collection:
    """One collection: its folder, what it is for, and how its metadata are read."""

    folder: str
    name: str
    classes: tuple[str, ...]
    split: str
    # Columns of the image, the patient and the view in `metadata.csv`; None where there is none.
    columns: tuple[str, str, str] | None
    # Patient by the file's name, where there are no metadata.
    patient: Callable[[str], str]


def patient_by_name(stem: str) -> str:
    """Return whose image it is, as far as a file's name tells.

    A file of NIH ChestX-ray14 begins with the patient's number. Pictures that were taken from a
    publication or a case report go by the report, which may have several patients: to keep two of
    them together costs little, to tear one apart would test on a patient who was learned from.

    >>> patient_by_name("00001684_003"), patient_by_name("lancet-case2b")
    ('00001684', 'lancet')
    """
    if found := _NIH.fullmatch(stem):
        return found[1]
    return _WITHIN_REPORT.sub("", stem) or stem


_COLLECTIONS: Final = (
    _Collection("internal_talo", "internal", CLASSES, TRAIN, None, patient_by_name),
    _Collection(
        "external_actualmed",
        "actualmed",
        CLASSES,
        EXTERNAL,
        ("imagename", "patientid", "view"),
        str,
    ),
    _Collection(
        "external_hannover",
        "hannover",
        CLASSES[1:],
        f"{EXTERNAL}-hannover",
        ("image_id", "patient_id", "projection"),
        str,
    ),
    _Collection(
        "external_kermany_paediatric",
        "paediatric",
        CLASSES[:1],
        f"{EXTERNAL}-paediatric",
        None,
        str,
    ),
)


def list_collections(folder: Path, listing: Path) -> Path:
    """List the collections in a folder; the internal one is needed, and one external at least.

    `internal_talo` has the split `train`, of which a study makes its own; `external_actualmed`
    is `external`, the others are `external-hannover` and `external-paediatric`. In each there is
    a folder for each class, `normal` and `COVID`.

    Parameters
    ----------
    folder
        Holds a folder for each collection.
    listing
        CSV file that is written.

    Returns
    -------
    `listing`.

    Raises
    ------
    ManifestError
        If a collection lacks a class or the metadata that say whose its images are, or there are
        no collections.
    """
    there = [c for c in _COLLECTIONS if (folder / c.folder).is_dir()]
    if len(there) < 2 or there[0] is not _COLLECTIONS[0]:
        names = ", ".join(c.folder for c in _COLLECTIONS)
        msg = (
            f"{folder} does not hold the collections of the study, which are folders named {names}"
            " (the first and one of the others at least): see docs/studies/radiographs.md, or give "
            "a CSV file that lists your own"
        )
        raise ManifestError(msg)
    rows = [row for collection in there for row in _rows(collection, folder / collection.folder)]
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(listing, out.getvalue())
    return listing


def _rows(collection: _Collection, place: Path) -> list[dict[str, str]]:
    said = _read_metadata(place / _METADATA, collection.columns) if collection.columns else None
    rows = []
    for label in collection.classes:
        files = find_images(place / label) if (place / label).is_dir() else []
        if not files:
            msg = f"{place / label} holds no images: put those of the class {label!r} there"
            raise ManifestError(msg)
        rows += [_row(collection, label, file, said) for file in files]
    return rows


def _row(
    collection: _Collection, label: str, file: Path, metadata: _Metadata | None
) -> dict[str, str]:
    if metadata is None:
        said = _Said(collection.patient(file.stem), "")
    elif file.stem in metadata:
        said = metadata[file.stem]
    else:
        msg = f"{file.parent.parent / _METADATA} does not say whose image {file.name} is"
        raise ManifestError(msg)
    return {
        "image_id": f"{collection.name}_{label}_{_safe(file.stem)}",
        "path": str(file.absolute()),
        "patient_id": f"{collection.name}_{_safe(said.patient)}",
        "label": label,
        "split": collection.split,
        "site": collection.name,
        "view": said.view.upper(),
    }


def _read_metadata(path: Path, columns: Sequence[str]) -> _Metadata:
    """Read patient and view of each image, by its name without suffix."""
    image, patient, view = columns
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        suffixes = (".png", ".jpg", ".jpeg")
        return {
            (name[: name.rindex(".")] if name.lower().endswith(suffixes) else name): _Said(
                row[patient].strip() or name, row[view].strip()
            )
            for row in reader
            if (name := row[image].strip())
        }
    except (OSError, UnicodeDecodeError, KeyError, AttributeError) as error:
        msg = (
            f"{path} must be a table with the columns {', '.join(columns)}, by which patients are "
            f"known: {error}"
        )
        raise ManifestError(msg) from error


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
