"""A set whose pixels are those of another one, changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import NotEnoughDataError, StoreError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import STAIN_APPLIED
from wsi_specdec.provenance import provenance
from wsi_specdec.store import packed_attributes
from wsi_specdec.studies.sets.files import (
    STORE_NAME,
    claim,
    identity,
    members_of,
    open_set,
    write_set,
)

# Takes tiles, uint8 (n, T, T, 3), and their row numbers in the source's store, int64 (n,).
Change = Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.uint8]]


def derive_set(
    source: Path,
    out: Path,
    change: Change,
    *,
    splits: Sequence[str],
    params: Mapping[str, Any],
    stain_applied: Mapping[str, Any] | None = None,
    tile_size: int | None = None,
) -> Path:
    """Write the images of some splits of a set, their pixels changed; keep them if they are there.

    Parameters
    ----------
    source
        Folder of the set.
    out
        Folder of the new set.
    change
        Must give the same for the same image whichever others stand beside it, since images come
        in batches.
    splits
        Whose images are taken.
    params
        All that `change` does, as JSON: what a set is known by, and never its code.
    stain_applied
        What `change` brings stains to, as the attribute of that name; None keeps the source's.
    tile_size
        Side of what `change` gives; None keeps the source's.

    Returns
    -------
    `out`.

    Raises
    ------
    SettingsMismatchError
        If `out` was made with other `params` or `splits`, or of other images.
    NotEnoughDataError
        If the source has no image in these splits.
    StoreError
        If `change` gives anything but uint8 of as many images, of the side `tile_size`.
    """
    store, members = open_set(source), members_of(source)
    rows = np.array([i for i, m in enumerate(members) if m.slide.split in splits], np.int64)
    if not len(rows):
        found = ", ".join(sorted({m.slide.split or "" for m in members}))
        msg = f"{source} has no image in the splits {', '.join(splits)}: there are {found}"
        raise NotEnoughDataError(msg)
    size = tile_size or store.tile_size
    params = {**params, "tile_size": size}
    before = {"images": identity(members), "params": store.attributes.get("params_sha256")}
    made_from = sha256_of(before)
    wanted = {"source_sha256": made_from, "splits": sorted(splits), "params": params}
    if claim(out, wanted):
        return out
    shaped = {"source": before["params"], "change": sha256_of(params)}
    changed = [replace(members[i], fingerprint=_mark(members[i].fingerprint, shaped)) for i in rows]

    def read(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        numbers = rows[positions]
        tiles = store.read(numbers)
        new = change(tiles, numbers)
        shape = (len(tiles), size, size, 3)
        if new.shape != shape or new.dtype != np.uint8:
            msg = f"{out}: a change must give uint8 {shape}, and gave {new.dtype} {new.shape}"
            raise StoreError(msg)
        return new

    attributes = packed_attributes(
        STORE_NAME,
        size=size,
        classes=store.attributes["classes"],
        params_sha256=sha256_of(shaped),
        mpp=store.mpp if size == store.tile_size else None,
        fit=store.attributes.get("fit"),
        stain_applied=stain_applied or store.attributes.get(STAIN_APPLIED, "none"),
    )
    made = provenance({"source": made_from})
    write_set(out, changed, read, {**attributes, "provenance": made})
    return out


def unchanged(tiles: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Give images as they are: the `Change` of a set that is a part of another."""
    del rows
    return tiles


def _mark(fingerprint: str, shaped: Mapping[str, Any]) -> str:
    """Identity of an image's changed pixels."""
    return sha256_of({"image": fingerprint, **shaped})
