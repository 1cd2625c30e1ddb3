"""A set of images on disk: a packed store, its manifest, and what both were made from."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, check_leaks, read_manifest, write_manifest
from wsi_specdec.config import differences
from wsi_specdec.errors import ManifestError, SettingsMismatchError, StoreError
from wsi_specdec.files import read_json, remove_partials, sha256_of, write_json
from wsi_specdec.keys import MANIFEST_FILE, TILES_DIR
from wsi_specdec.progress import progress
from wsi_specdec.store import (
    PackedIndex,
    PackedStoreWriter,
    TileStore,
    find_stores,
    is_packed,
    open_store,
    read_index,
    store_path,
)

SET_FILE: Final = "set.json"
STORE_NAME: Final = "images"
# Images read, changed and written at a time.
BATCH: Final = 256
GROUPS: Final = ("site", "scanner", "view")
# Takes numbers of images (n,) and returns their pixels, uint8 (n, T, T, 3).
Reader = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of a set's images, in the order of its store.

    Attributes
    ----------
    image_id, patient, split
        Of each image, (n,).
    label
        Class of each, int64 (n,); -1 where it is unknown.
    groups
        `site`, `scanner` and `view` of each, (n,), empty where unknown.
    """

    image_id: tuple[str, ...]
    label: NDArray[np.int64]
    patient: tuple[str, ...]
    split: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.image_id)


@dataclass(frozen=True, slots=True)
class Member:
    """One image that is to be written into a set.

    Attributes
    ----------
    slide
        Its row of the manifest, but for the label.
    label
        Its class, None where unknown.
    fingerprint
        Identity of its pixels.
    size
        Width and height before it was made a square tile.
    groups
        What else is known of it.
    """

    slide: Slide
    label: int | None
    fingerprint: str
    size: tuple[int, int]
    groups: Mapping[str, str] = field(default_factory=dict)


def read_truth(folder: Path) -> Truth:
    """Read what is known of a set's images.

    Raises
    ------
    StoreError
        If the set is not whole.
    ManifestError, LeakError
        If an image is missing from the manifest, has no split, or a patient stands in two.
    """
    store = open_set(folder)
    slides = _rows(folder, read_index(store).image_id)
    return Truth(
        image_id=tuple(slide.slide_id for slide in slides),
        label=store.label.astype(np.int64),
        patient=tuple(slide.patient_id for slide in slides),
        split=tuple(slide.split or "" for slide in slides),
        groups={name: tuple(getattr(s, name) or "" for s in slides) for name in GROUPS},
    )


def open_set(folder: Path) -> TileStore:
    """Open the store of a set, or of another folder of packed images.

    Raises
    ------
    StoreError
        If there is none, or several, or one of a slide.
    """
    paths = list(find_stores(folder).values())
    store = open_store(paths[0])
    if len(paths) > 1 or not is_packed(store):
        msg = f"{folder} is no set of images: it holds {len(paths)} stores, of slides"
        raise StoreError(msg)
    return store


def is_whole(folder: Path) -> bool:
    """Whether a set was written to its end."""
    try:
        return (folder / MANIFEST_FILE).is_file() and len(open_set(folder)) > 0
    except StoreError:
        return False


def claim(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Keep a set's folder for what it shall be made from; say whether it is there already.

    Parameters
    ----------
    wanted
        All that shapes the set: settings, and hashes of what it is made from.

    Raises
    ------
    SettingsMismatchError
        If the folder is kept for anything else; it is left as it is.
    """
    path = folder / SET_FILE
    # As it reads back: a tuple is a list in JSON.
    new = json.loads(json.dumps(wanted, allow_nan=False, default=str))
    if not path.is_file():
        write_json(path, new)
        return False
    differing = differences(read_json(path), new)
    if differing:
        msg = (
            f"{folder} holds images made with other settings, or from others: "
            f"{'; '.join(differing)}. Choose another --out, or remove that folder"
        )
        raise SettingsMismatchError(msg)
    remove_partials(folder)
    remove_partials(folder / TILES_DIR)
    return is_whole(folder)


def write_set(
    folder: Path,
    members: Sequence[Member],
    read: Reader,
    attributes: Mapping[str, Any],
    *,
    threads: int = 2,
) -> None:
    """Write the manifest, then the store, in batches; no pixel is lost.

    Parameters
    ----------
    members
        The images.
    read
        Gives the pixels of some of `members` by their position.
    attributes
        Of the store, as `packed_attributes` makes them.
    threads
        That encode.

    Raises
    ------
    LeakError
        If a patient stands in two splits; nothing is written.
    """
    slides = [member.slide for member in members]
    check_leaks(slides)
    # The store comes last: it is what `is_whole` asks for.
    write_manifest(_labelled(members, len(attributes["classes"])), folder / MANIFEST_FILE)
    writer = PackedStoreWriter(
        store_path(folder, STORE_NAME),
        n_tiles=len(members),
        tile_size=attributes["tile_size_level0_px"],
        codec="lossless",
        attributes=attributes,
        threads=threads,
    )
    with writer, progress(f"write {folder.name}", len(members)) as tick:
        for start in range(0, len(members), BATCH):
            rows = np.arange(start, min(start + BATCH, len(members)), dtype=np.int64)
            writer.append(read(rows))
            tick(len(rows))
        writer.finish_packed(_index(members), [-1 if m.label is None else m.label for m in members])


def identity(members: Sequence[Member]) -> str:
    """Hash which images a set is made of, and what is known of them."""
    rows = [
        [m.slide.slide_id, m.slide.patient_id, m.slide.split, m.label, m.fingerprint]
        for m in members
    ]
    return sha256_of({"images": rows})


def members_of(folder: Path) -> list[Member]:
    """Return the images of a set that was written, in the order of its store.

    Raises
    ------
    StoreError, ManifestError, LeakError
        As `read_truth`.
    """
    store = open_set(folder)
    index, labels = read_index(store), store.label.tolist()
    return [
        Member(
            slide=slide,
            label=None if labels[row] < 0 else labels[row],
            fingerprint=index.fingerprint[row],
            size=(int(index.image_size[row, 0]), int(index.image_size[row, 1])),
            groups={key: texts[row] for key, texts in index.group.items()},
        )
        for row, slide in enumerate(_rows(folder, index.image_id))
    ]


def _rows(folder: Path, names: Sequence[str]) -> list[Slide]:
    """Rows of the manifest of a store's images, each with a split."""
    rows = {slide.slide_id: slide for slide in read_manifest(folder / MANIFEST_FILE)}
    unknown = [name for name in names if name not in rows or rows[name].split is None]
    if unknown:
        msg = f"{folder / MANIFEST_FILE} names no split of the image {unknown[0]!r}"
        raise ManifestError(msg)
    return [rows[name] for name in names]


def _labelled(members: Sequence[Member], classes: int) -> list[Slide]:
    """Rows of the manifest, which knows two classes; of more, labels are in the store alone."""
    return [replace(m.slide, label=m.label if classes <= 2 else None) for m in members]


def _index(members: Sequence[Member]) -> PackedIndex:
    known = [
        {name: getattr(m.slide, name) or "" for name in GROUPS} | dict(m.groups) for m in members
    ]
    names = sorted({name for texts in known for name in texts})
    return PackedIndex(
        image_id=[m.slide.slide_id for m in members],
        patient_id=[m.slide.patient_id for m in members],
        fingerprint=[m.fingerprint for m in members],
        image_size=np.array([m.size for m in members], np.int64).reshape(-1, 2),
        group={name: [texts.get(name, "") for texts in known] for name in names},
    )
