"""The images of a study: from any source to a set, and from a set to changed ones.

A *set* is a folder that holds a packed store and its manifest, as `wsi-specdec pack` writes them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import PackConfig, RunnerConfig, StudyData
from wsi_specdec.errors import ConfigError, NotEnoughDataError
from wsi_specdec.files import fingerprint, sha256_of
from wsi_specdec.images import is_dicom
from wsi_specdec.packing import Listing, list_images, pack_images
from wsi_specdec.provenance import provenance
from wsi_specdec.store import packed_attributes
from wsi_specdec.studies.sets.choosing import choose_images
from wsi_specdec.studies.sets.derived import Change, derive_set, unchanged
from wsi_specdec.studies.sets.files import (
    STORE_NAME,
    Member,
    Truth,
    claim,
    identity,
    is_whole,
    open_set,
    read_truth,
    write_set,
)
from wsi_specdec.studies.sets.gather import (
    Gathered,
    is_run,
    resized,
    shipped_patches,
    stored_images,
)

__all__ = ["Change", "Truth", "derive_set", "open_set", "prepare_set", "read_truth", "unchanged"]

_PICTURE_PX: Final = 224


def prepare_set(data: StudyData, out: Path, workers: int) -> Path:
    """Write the images that a study starts from; keep them if they are there.

    Parameters
    ----------
    data
        The source and what is taken of it.
    out
        Folder of the study.
    workers
        Images that are packed at a time, or threads that read and encode.

    Returns
    -------
    `out`/data/base, a set.

    Raises
    ------
    ConfigError
        If there is no source, or a setting does not fit it.
    SettingsMismatchError
        If the set was made with other settings, or of other images.
    ManifestError, LeakError
        If the source contradicts itself, or a patient stands in two splits.
    NotEnoughDataError
        If the source has too few images.
    """
    base = out / "data" / "base"
    if data.source is None:
        msg = (
            "the study has no images: give --data FOLDER, --data FILE.csv, --data RUN (of "
            "`wsi-specdec tile` or `pack`) or --data breast, the patches that ship"
        )
        raise ConfigError(msg)
    if data.source == "breast":
        return _of_gathered(shipped_patches(data), data, base, workers)
    if is_run(data.source):
        return _of_gathered(stored_images(data.source, data, workers), data, base, workers)
    listing = list_images(data.source, data.classes)
    if any(not e.patient_known and is_dicom(e.slide.path) for e in listing.entries):
        # Only packing tells whose they are, which splits go by.
        packed = out / "data" / "packed"
        pack_images(listing, packed, _packing(data, listing), RunnerConfig(workers=workers))
        return _of_gathered(stored_images(packed, data, workers), data, base, workers)
    return _of_pictures(listing, data, base, workers)


def _of_pictures(listing: Listing, data: StudyData, base: Path, workers: int) -> Path:
    """Pack the pictures that are chosen."""
    entries = listing.entries
    split = choose_images([e.slide for e in entries], [e.label for e in entries], data)
    kept = [
        replace(entries[row], slide=replace(entries[row].slide, split=name))
        for row, name in split.items()
    ]
    members = [Member(e.slide, e.label, _content(e.slide.path), (0, 0)) for e in kept]
    if claim(base, _wanted(data, listing.classes, members)):
        return base
    chosen = Listing(tuple(kept), listing.classes)
    pack_images(chosen, base, _packing(data, listing), RunnerConfig(workers=workers))
    if not is_whole(base):
        msg = f"not one image of {data.source} could be packed: see {base / 'ledger.csv'}"
        raise NotEnoughDataError(msg)
    return base


def _of_gathered(gathered: Gathered, data: StudyData, base: Path, workers: int) -> Path:
    """Write a set of the stored images that are chosen."""
    members, images = gathered.members, resized(gathered, data.size)
    split = choose_images([m.slide for m in members], [m.label for m in members], data)
    kept = [
        replace(members[row], slide=replace(members[row].slide, split=name))
        for row, name in split.items()
    ]
    wanted = _wanted(data, gathered.classes, kept)
    if claim(base, wanted):
        return base
    rows = np.array(list(split), np.int64)

    def read(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return images.read(rows[positions])

    attributes = packed_attributes(
        STORE_NAME,
        size=images.tile_size,
        classes=images.classes,
        params_sha256=sha256_of({"study_set": 1, "size": images.tile_size}),
        mpp=images.mpp,
        stain_applied=images.stain_applied,
    )
    made = provenance({"images": wanted["images_sha256"]}, seed=data.seed)
    write_set(base, kept, read, {**attributes, "provenance": made}, threads=workers)
    return base


def _packing(data: StudyData, listing: Listing) -> PackConfig:
    return PackConfig(
        size=data.size or _PICTURE_PX, fit=data.fit, classes=listing.classes, seed=data.seed
    )


def _wanted(data: StudyData, classes: Sequence[str], members: Sequence[Member]) -> dict[str, Any]:
    """All that shapes a base set. Where its source lies does not, so that it may be moved."""
    settings = data.model_dump(mode="json", exclude={"source", "classes"})
    return {"data": settings, "classes": list(classes), "images_sha256": identity(members)}


def _content(path: Path) -> str:
    return fingerprint(path) if path.is_file() else "missing"
