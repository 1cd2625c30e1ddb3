"""The cohort: which slides there are, their labels, patients, splits and sites.

A patient belongs to one split. A leak is an error, never a warning.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from wsi_specdec.errors import (
    ConfigError,
    LeakError,
    ManifestError,
    NotEnoughDataError,
    SlideReadError,
)
from wsi_specdec.files import write_text
from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION

_ID = re.compile(r"^[A-Za-z0-9._-]+$")
_SPLIT_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": INTERNAL,
    "internal": INTERNAL,
    "external": EXTERNAL,
}
_LABEL_WORDS = {
    "0": 0,
    "0.0": 0,
    "negative": 0,
    "normal": 0,
    "benign": 0,
    "1": 1,
    "1.0": 1,
    "positive": 1,
    "tumour": 1,
    "tumor": 1,
    "cancer": 1,
}
# Splits that folds are made of.
_LEARNED = (TRAIN, VALIDATION)
# Headers that CLAM, TRIDENT and hs2p write, and what they are called here.
_ALIASES = {
    "case_id": "patient_id",
    "wsi": "path",
    "sample_id": "slide_id",
    "image_path": "path",
    "mask_path": "tissue_mask_path",
    "spacing_at_level_0": "mpp",
}


@dataclass(frozen=True, slots=True)
class Slide:
    """One row of the manifest."""

    slide_id: str
    path: Path
    patient_id: str
    label: int | None = None
    split: str | None = None
    site: str | None = None
    scanner: str | None = None
    mpp: float | None = None
    tissue_mask_path: Path | None = None
    annotation_path: Path | None = None
    view: str | None = None


COLUMNS = tuple(field.name for field in fields(Slide))


def read_manifest(path: Path) -> list[Slide]:
    """Read a manifest; relative paths in it are taken from its own folder.

    Only `path` is required, or CLAM's `case_id, slide_id, label` where the caller has no need of
    the files. A slide's id defaults to its file's stem, its patient to its id.

    Raises
    ------
    ManifestError
        If the file cannot be read, a value is wrong, a column is unknown or two ids are equal.
    LeakError
        If a patient stands in two splits.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the manifest {path}: {error}"
        raise ManifestError(msg) from error
    reader = csv.DictReader(io.StringIO(text))
    header = [_ALIASES.get(name, name) for name in reader.fieldnames or []]
    _check_header(header, path)
    reader.fieldnames = header
    slides = [
        make_slide(row, path.parent, f"{path}, line {number}")
        for number, row in enumerate(reader, start=2)
    ]
    if not slides:
        msg = f"the manifest {path} has no rows"
        raise ManifestError(msg)
    check_unique(slides)
    check_leaks(slides)
    return slides


def write_manifest(slides: Sequence[Slide], path: Path) -> None:
    """Write a manifest that `read_manifest` reads back; paths below its folder are relative."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    base = path.parent.resolve()
    for slide in slides:
        writer.writerow([_cell(getattr(slide, name), base) for name in COLUMNS])
    write_text(path, out.getvalue())


def slides_from_paths(paths: Iterable[Path]) -> list[Slide]:
    """Make rows from files and folders; a folder gives every slide file directly within it.

    Pictures (PNG, JPEG) in a folder count as slides if there is no other slide. The files of a
    DICOM series are one slide, also where they lie one folder deeper, as DICOM slides do; such a
    slide is named after its folder where it is the only one there.

    Raises
    ------
    ManifestError
        If a path does not exist, a folder holds no slide, or two files have one stem.
    """
    # Imported only where needed: it loads OpenSlide.
    from wsi_specdec.slides import find_slides

    found = [(_safe_id(name), file) for name, file in find_slides(paths)]
    slides = [Slide(slide_id, file, slide_id) for slide_id, file in found]
    check_unique(slides)
    return slides


def read_slides(sources: Sequence[Path]) -> list[Slide]:
    """Read slides from one manifest (.csv), or make rows from slide files and folders of them.

    Raises
    ------
    ManifestError, LeakError
        As `read_manifest` and `slides_from_paths`.
    """
    if len(sources) == 1 and sources[0].suffix.lower() == ".csv":
        return read_manifest(sources[0])
    return slides_from_paths(sources)


def check_unique(slides: Sequence[Slide]) -> None:
    """Refuse two slides of one id, naming both files.

    Raises
    ------
    ManifestError
        If there are two.
    """
    seen: dict[str, Path] = {}
    for slide in slides:
        if slide.slide_id in seen:
            msg = (
                f"two slides have the id {slide.slide_id!r}: {seen[slide.slide_id]} and "
                f"{slide.path}; give them different ones in the manifest's column 'slide_id'"
            )
            raise ManifestError(msg)
        seen[slide.slide_id] = slide.path


def check_leaks(slides: Sequence[Slide]) -> None:
    """Refuse a patient who stands in two splits, unless both are external.

    Slides may be scanned at several places, each an external cohort: nothing is learned or chosen
    on them. The internal cohort shares no patient with them, since it is compared with each.

    Raises
    ------
    LeakError
        Naming the patients and their splits.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for slide in slides:
        if slide.split is not None:
            splits[slide.patient_id].add(slide.split)
    kinds = {p: {name.partition("-")[0] for name in names} for p, names in splits.items()}
    leaks = {p: sorted(names) for p, names in splits.items() if len(kinds[p]) > 1}
    if leaks:
        shown = "; ".join(f"{p} in {' and '.join(s)}" for p, s in sorted(leaks.items())[:5])
        more = f" and {len(leaks) - 5} more" if len(leaks) > 5 else ""
        msg = f"patients stand in more than one split: {shown}{more}; keep each in one"
        raise LeakError(msg)


def assign_splits(
    slides: Sequence[Slide], shares: Mapping[str, float], seed: int = 0
) -> list[Slide]:
    """Give each patient one split, at random, stratified by whether any slide is positive.

    Slides that already have a split keep it, and so do their patients' other slides.

    Raises
    ------
    ConfigError
        If the shares do not sum to 1.
    NotEnoughDataError
        If there are fewer patients than splits.
    """
    if abs(sum(shares.values()) - 1) > 1e-6:
        msg = f"the shares of the splits must sum to 1, got {dict(shares)}"
        raise ConfigError(msg)
    of_patient = {s.patient_id: s.split for s in slides if s.split is not None}
    free: dict[bool, list[str]] = {False: [], True: []}
    positive = {s.patient_id for s in slides if s.label == 1}
    for patient in sorted({s.patient_id for s in slides} - of_patient.keys()):
        free[patient in positive].append(patient)
    if 0 < sum(map(len, free.values())) < len(shares):
        msg = f"{sum(map(len, free.values()))} patients cannot fill {len(shares)} splits"
        raise NotEnoughDataError(msg)
    rng = np.random.default_rng(seed)
    bounds = np.cumsum(list(shares.values()))
    for patients in free.values():
        order = rng.permutation(len(patients))
        for rank, index in enumerate(order):
            position = (rank + 0.5) / len(patients)
            of_patient[patients[index]] = list(shares)[int(np.searchsorted(bounds, position))]
    return [s if s.split else replace(s, split=of_patient[s.patient_id]) for s in slides]


def assign_folds(slides: Sequence[Slide], folds: int, seed: int = 0) -> dict[str, int]:
    """Deal the patients of `train` and `validation` into folds, at random, each whole.

    Patients are dealt label by label (a patient's is the highest of the slides'; none is a label
    of its own), so that two folds differ by one patient at most, in all and of each label.

    Returns
    -------
    Patient to fold, from 1 to `folds`; patients of other splits, or of none, are left out.

    Raises
    ------
    ConfigError, NotEnoughDataError
        If there are fewer than two folds, or fewer patients than folds.
    LeakError
        If a patient stands in two splits.
    """
    if folds < 2:
        msg = f"cross-validation needs two folds at least, got {folds}"
        raise ConfigError(msg)
    check_leaks(slides)
    highest: dict[str, int] = {}
    for slide in slides:
        if slide.split in _LEARNED:
            own = -1 if slide.label is None else slide.label
            highest[slide.patient_id] = max(own, highest.get(slide.patient_id, -1))
    if len(highest) < folds:
        who = f"{len(highest)} patients whose split is {TRAIN} or {VALIDATION}"
        msg = f"{who} cannot fill {folds} folds: see the manifest's column 'split'"
        raise NotEnoughDataError(msg)
    rng = np.random.default_rng(seed)
    dealt: list[str] = []
    for label in sorted(set(highest.values())):
        dealt += rng.permutation(sorted(p for p in highest if highest[p] == label)).tolist()
    return {patient: 1 + rank % folds for rank, patient in enumerate(dealt)}


def fold_slides(slides: Sequence[Slide], fold: int, folds: int, seed: int = 0) -> list[Slide]:
    """Let one fold validate and the others train; the slides of other splits stay as they are.

    Raises
    ------
    ConfigError, LeakError, NotEnoughDataError
        If there is no such fold (from 1 to `folds`), or as `assign_folds`.
    """
    if not 1 <= fold <= folds:
        msg = f"there is no fold {fold} of {folds}: folds are counted from 1"
        raise ConfigError(msg)
    of_patient = assign_folds(slides, folds, seed)
    names = {p: VALIDATION if own == fold else TRAIN for p, own in of_patient.items()}
    return [replace(s, split=names[s.patient_id]) if s.split in _LEARNED else s for s in slides]


def cohort_slides(slides: Sequence[Slide], cohort: str) -> list[Slide]:
    """Return the slides of one split."""
    return [slide for slide in slides if slide.split == cohort]


def evaluated_cohorts(slides: Sequence[Slide]) -> list[str]:
    """Return the names of the test cohorts present, internal before external."""
    names = {s.split for s in slides if s.split} - {TRAIN, VALIDATION}
    return sorted(names, key=lambda name: (name != INTERNAL, name))


def _check_header(header: Sequence[str], path: Path) -> None:
    unknown = sorted(set(header) - set(COLUMNS))
    if unknown:
        msg = f"{path} has unknown columns {unknown}; known are {', '.join(COLUMNS)}"
        raise ManifestError(msg)
    if len(set(header)) != len(header):
        msg = f"{path} names a column twice: {', '.join(header)}"
        raise ManifestError(msg)
    if "path" not in header and "slide_id" not in header:
        msg = f"{path} has no column 'path'"
        raise ManifestError(msg)


def make_slide(row: Mapping[str, str | None], base: Path, where: str) -> Slide:
    """Make a slide of the texts of a row; paths are from `base`, a `ManifestError` says `where`."""
    value = {k: v.strip() for k, v in row.items() if isinstance(v, str) and v.strip()}
    if "path" not in value and "slide_id" not in value:
        msg = f"{where}: the column 'path' is empty"
        raise ManifestError(msg)
    path = base / value.get("path", value.get("slide_id", ""))
    slide_id = value.get("slide_id") or _safe_id(path.name if path.is_dir() else path.stem)
    if "path" in value:
        path = _file_of(path, where)
    if not _ID.match(slide_id) or slide_id.startswith("."):
        msg = f"{where}: slide_id {slide_id!r} may hold only letters, digits, '.', '_' and '-'"
        raise ManifestError(msg)
    return Slide(
        slide_id=slide_id,
        path=path,
        patient_id=value.get("patient_id", slide_id),
        label=_label(value.get("label"), where),
        split=_split(value.get("split"), where),
        site=value.get("site"),
        scanner=value.get("scanner"),
        mpp=_mpp(value.get("mpp"), where),
        tissue_mask_path=_beside(value.get("tissue_mask_path"), base),
        annotation_path=_beside(value.get("annotation_path"), base),
        view=value.get("view"),
    )


def _file_of(path: Path, where: str) -> Path:
    """Return the file to open for a path of the manifest, which may be a DICOM slide's folder."""
    if not path.is_dir():
        return path
    from wsi_specdec.slides import slide_file

    try:
        return slide_file(path)
    except SlideReadError as error:
        msg = f"{where}: {error}"
        raise ManifestError(msg) from error


def _safe_id(name: str) -> str:
    """Replace what an id may not hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "slide"


def _label(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    if text.lower() not in _LABEL_WORDS:
        msg = f"{where}: label {text!r} is not one of {', '.join(_LABEL_WORDS)}"
        raise ManifestError(msg)
    return _LABEL_WORDS[text.lower()]


def _split(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    if text.lower() in _SPLIT_WORDS:
        return _SPLIT_WORDS[text.lower()]
    if text.startswith(f"{EXTERNAL}-") and _ID.match(text):
        return text
    msg = f"{where}: split {text!r} is not one of {', '.join(_SPLIT_WORDS)} or '{EXTERNAL}-<name>'"
    raise ManifestError(msg)


def _mpp(text: str | None, where: str) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        msg = f"{where}: mpp {text!r} is not a number (µm per pixel)"
        raise ManifestError(msg) from error


def _beside(text: str | None, base: Path) -> Path | None:
    return None if text is None else base / text


def _cell(value: object, base: Path) -> str:
    if isinstance(value, Path):
        resolved = value.resolve()
        return str(resolved.relative_to(base) if resolved.is_relative_to(base) else resolved)
    return "" if value is None else str(value)
