"""Sets of chest radiographs: the whole image, and the lung fields cut out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import RadiographsConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.files import atomic_path, sha256_of
from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION
from wsi_specdec.progress import progress
from wsi_specdec.studies.radiographs.lungs import Box, LungFields, lung_fields
from wsi_specdec.studies.sets.files import identity, members_of, open_set
from wsi_specdec.studies.sets.prepare import derive_set, read_truth

IMAGE: Final = "image"
LUNGS: Final = "lungs"
# Of the way that fields are found: other fields have another version.
_FIELDS_VERSION: Final = 1
_BATCH: Final = 64

Tiles = NDArray[np.uint8]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Lung fields of the images of a set, in the order of its store.

    Attributes
    ----------
    mask
        bool, (n, T, T).
    found
        bool, (n,): whether fields were found; if not, the mask is a central box.
    """

    mask: NDArray[np.bool_]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.found)

    def box(self, row: int, margin: float) -> Box:
        """Return the square around the fields of an image; see `LungFields.box`."""
        return LungFields(self.mask[row], bool(self.found[row])).box(margin)


@dataclass(frozen=True, slots=True, eq=False)
class RegionSets:
    """The images of the study, cut in one way.

    Attributes
    ----------
    name
        `image` or `lungs`.
    training
        Set of the splits `train` and `validation`.
    tests
        Cohort to its set.
    fields
        Cohort to the lung fields of its images as they are cut.
    """

    name: str
    training: Path
    tests: Mapping[str, Path]
    fields: Mapping[str, Fields]


def find_fields(base: Path, path: Path) -> Fields:
    """Find the lung fields of every image of a set; keep what is in the file already.

    Parameters
    ----------
    base
        The set.
    path
        Of the file, `.npz`.
    """
    store, made_from = open_set(base), _made_from(base)
    kept = _read_fields(path, made_from)
    if kept is not None:
        return kept
    # One thread: the images are small, and threads that wait for each other take longer.
    cv2.setNumThreads(1)
    found: list[LungFields] = []
    with progress("find lung fields", len(store)) as tick:
        for start in range(0, len(store), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(store)), dtype=np.int64)
            # All three channels of a grey image are equal.
            found += [lung_fields(np.ascontiguousarray(tile[..., 0])) for tile in store.read(rows)]
            tick(len(rows))
    fields = Fields(np.stack([f.mask for f in found]), np.array([f.found for f in found], np.bool_))
    packed = np.packbits(fields.mask, axis=-1)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mask=packed, found=fields.found, made_from=made_from)
    return fields


def region_sets(
    config: RadiographsConfig, base: Path, fields: Fields, out: Path
) -> list[RegionSets]:
    """Write the sets of each of `config.regions`; keep those that are there.

    Parameters
    ----------
    base
        The set of all images, of a higher resolution.
    fields
        Of its images.
    out
        Folder of the sets.

    Raises
    ------
    NotEnoughDataError
        If there is nothing to test on outside of the collection that was learned from.
    """
    splits = read_truth(base).split
    cohorts = [name for name in dict.fromkeys(splits) if name not in (TRAIN, VALIDATION)]
    if INTERNAL not in cohorts or not any(name.startswith(EXTERNAL) for name in cohorts):
        msg = (
            f"the study tests on {INTERNAL!r} and on external images, and has "
            f"{', '.join(cohorts) or 'neither'}: give images these splits"
        )
        raise NotEnoughDataError(msg)
    return [_region(name, cohorts, config, base, fields, out / name) for name in config.regions]


def count_fields(fields: Fields, base: Path) -> dict[str, dict[str, dict[str, int]]]:
    """Count by split and class in how many images lung fields were found, and in how many not."""
    truth, classes = read_truth(base), open_set(base).attributes["classes"]
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for split, label, found in zip(truth.split, truth.label, fields.found, strict=True):
        own = counts.setdefault(split, {}).setdefault(classes[label], {"found": 0, "fallback": 0})
        own["found" if found else "fallback"] += 1
    return counts


def _region(
    name: str,
    cohorts: list[str],
    config: RadiographsConfig,
    base: Path,
    fields: Fields,
    folder: Path,
) -> RegionSets:
    size = config.size
    params: dict[str, Any] = {"region": name}
    change = partial(_shrunk, size=size)
    if name == LUNGS:
        params |= {"margin": config.margin, "fields": _FIELDS_VERSION}
        change = partial(_cut, fields=fields, margin=config.margin, size=size)
    splits = np.array(read_truth(base).split)
    made = {
        place: derive_set(base, folder / place, change, splits=own, params=params, tile_size=size)
        for place, own in {"learned": (TRAIN, VALIDATION), **{c: (c,) for c in cohorts}}.items()
    }
    seen = {
        cohort: _seen(name, fields, np.flatnonzero(splits == cohort), config.margin, size)
        for cohort in cohorts
    }
    return RegionSets(name, made["learned"], {c: made[c] for c in cohorts}, seen)


def _shrunk(tiles: Tiles, rows: Rows, *, size: int) -> Tiles:
    """Bring whole images to the side that networks take."""
    del rows
    return np.stack([_resized(tile, size) for tile in tiles])


def _cut(tiles: Tiles, rows: Rows, *, fields: Fields, margin: float, size: int) -> Tiles:
    """Cut the square around the lung fields out, and bring it to the side that networks take."""
    boxes = [fields.box(row, margin) for row in rows.tolist()]
    return np.stack(
        [
            _resized(tile[box.top : box.bottom, box.left : box.right], size)
            for tile, box in zip(tiles, boxes, strict=True)
        ]
    )


def _seen(region: str, fields: Fields, rows: Rows, margin: float, size: int) -> Fields:
    """Return the fields of some images, cut as these are."""
    masks = []
    for row in rows.tolist():
        mask = fields.mask[row].astype(np.uint8) * 255
        if region == LUNGS:
            box = fields.box(row, margin)
            mask = mask[box.top : box.bottom, box.left : box.right]
        masks.append(_resized(mask, size) >= 128)
    return Fields(np.stack(masks), fields.found[rows])


def _resized(image: Tiles, size: int) -> Tiles:
    shrinks = len(image) >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=how)
    return np.asarray(resized, np.uint8)


def _made_from(base: Path) -> str:
    params = open_set(base).attributes.get("params_sha256")
    return sha256_of(
        {"images": identity(members_of(base)), "params": params, "version": _FIELDS_VERSION}
    )


def _read_fields(path: Path, made_from: str) -> Fields | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["made_from"]) != made_from:
            return None
        packed, found = kept["mask"], kept["found"]
    side = packed.shape[1]
    return Fields(np.unpackbits(packed, axis=-1, count=side).astype(np.bool_), found)
