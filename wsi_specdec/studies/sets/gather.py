"""Images of a study that lie in stores already, or in the package: tiles of slides, patches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import StudyData
from wsi_specdec.demo.packed import PATCH_MPP, PATCH_PX, load_patches, patches_sha256
from wsi_specdec.errors import NotEnoughDataError, StoreError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import MANIFEST_FILE, STAIN_APPLIED, TILES_DIR
from wsi_specdec.store import (
    BatchReader,
    TileStore,
    find_stores,
    is_packed,
    open_store,
    read_index,
)
from wsi_specdec.studies.sets.files import Member, Reader

BREAST_CLASSES: Final = ("normal", "IDC")
_TILE_CLASSES: Final = ("normal", "tumour")
_PARAMS: Final = "params_sha256"


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Images that can be read.

    Attributes
    ----------
    members
        The images.
    read
        Gives the pixels of some by their position, (n, `tile_size`, `tile_size`, 3).
    classes
        Names of the labels.
    tile_size, mpp
        Their side in pixels, and µm per pixel where all have the same.
    stain_applied
        What was done to their stains.
    """

    members: Sequence[Member]
    read: Reader
    classes: tuple[str, ...]
    tile_size: int
    mpp: float | None
    stain_applied: Any = "none"


@dataclass(frozen=True, slots=True)
class _Found:
    """One image of a store."""

    store: int
    tile: int
    member: Member


def is_run(source: Path) -> bool:
    """Whether a folder is a run directory of `tile` or `pack`."""
    return (source / TILES_DIR).is_dir() and (source / MANIFEST_FILE).is_file()


def shipped_patches(data: StudyData) -> Gathered:
    """Return the breast patches that ship with the package, which have no splits."""
    patches = load_patches()
    made_from = patches_sha256()
    members = []
    for row, patient in enumerate(patches.patient.tolist()):
        name = f"{patient}_x{patches.x[row]}_y{patches.y[row]}"
        members.append(
            Member(
                slide=Slide(name, Path(name), patient),
                label=int(patches.label[row]),
                fingerprint=sha256_of({"patches": made_from, "row": row}),
                size=(PATCH_PX, PATCH_PX),
            )
        )
    return Gathered(
        members,
        lambda rows: patches.tiles[rows],
        data.classes or BREAST_CLASSES,
        PATCH_PX,
        PATCH_MPP,
    )


def stored_images(source: Path, data: StudyData, threads: int) -> Gathered:
    """Return the labelled images of a run directory.

    Of each slide `tiles_per_slide` tiles are drawn, or all where there are fewer. As in training,
    a tile's own label counts where any tile has one, and others are taken of normal slides alone;
    where none has, each tile has its slide's label.

    Raises
    ------
    StoreError
        If a store cannot be used, or two differ in tile size or in what was done to their stains.
    ManifestError, LeakError
        As `read_manifest`.
    NotEnoughDataError
        If there is no labelled image.
    """
    slides = {slide.slide_id: slide for slide in read_manifest(source / MANIFEST_FILE)}
    stores = [open_store(path) for path in find_stores(source).values()]
    stores = [store for store in stores if store.n_tiles]
    annotated = any(bool((s.label >= 0).any()) for s in stores if not is_packed(s))
    found: list[_Found] = []
    for number, store in enumerate(stores):
        if is_packed(store):
            found += _images(number, store, slides)
        elif store.slide_id in slides:
            found += _tiles(number, store, slides[store.slide_id], data, annotated=annotated)
    if not found:
        msg = (
            f"no labelled image in {source}: give labels or annotations in its {MANIFEST_FILE}, "
            "and tile or pack again"
        )
        raise NotEnoughDataError(msg)
    reader = BatchReader(stores, threads)
    owners = np.array([one.store for one in found], np.int64)
    tiles = np.array([one.tile for one in found], np.int64)
    scales = {store.mpp for store in stores}
    return Gathered(
        members=[one.member for one in found],
        read=lambda rows: reader.read(owners[rows], tiles[rows]),
        classes=data.classes or _classes(stores),
        tile_size=stores[0].tile_size,
        mpp=scales.pop() if len(scales) == 1 else None,
        stain_applied=_stains(stores),
    )


def resized(gathered: Gathered, size: int | None) -> Gathered:
    """Return the images at another size, averaged where they shrink; None keeps theirs."""
    if size is None or size == gathered.tile_size:
        return gathered
    how = cv2.INTER_AREA if size < gathered.tile_size else cv2.INTER_LINEAR

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        tiles = gathered.read(rows)
        out = np.empty((len(tiles), size, size, 3), np.uint8)
        for tile, into in zip(tiles, out, strict=True):
            cv2.resize(tile, (size, size), dst=into, interpolation=how)
        return out

    scale = gathered.tile_size / size
    mpp = None if gathered.mpp is None else gathered.mpp * scale
    return replace(gathered, read=read, tile_size=size, mpp=mpp)


def _tiles(
    number: int, store: TileStore, slide: Slide, data: StudyData, *, annotated: bool
) -> list[_Found]:
    """Draw labelled tiles of a slide."""
    label = store.label.astype(np.int64)
    if not annotated or slide.label == 0:
        label = np.full(store.n_tiles, -1 if slide.label is None else slide.label, np.int64)
    known = np.flatnonzero(label >= 0)
    if len(known) > data.tiles_per_slide:
        rng = np.random.default_rng([data.seed, *slide.slide_id.encode()])
        known = np.sort(rng.permutation(known)[: data.tiles_per_slide])
    made_by = {name: store.attributes.get(name) for name in (_PARAMS, "slide_fingerprint")}
    found = []
    for tile in known.tolist():
        x, y = store.coords[tile].tolist()
        name = f"{slide.slide_id}_x{x}_y{y}"
        member = Member(
            slide=replace(slide, slide_id=name, annotation_path=None, tissue_mask_path=None),
            label=int(label[tile]),
            fingerprint=sha256_of(made_by | {"x": x, "y": y}),
            size=(store.tile_size_level0, store.tile_size_level0),
            groups={"slide": slide.slide_id},
        )
        found.append(_Found(number, tile, member))
    return found


def _images(number: int, store: TileStore, slides: Mapping[str, Slide]) -> list[_Found]:
    """Return the labelled images of a packed store that its manifest names."""
    index = read_index(store)
    found = []
    for row, name in enumerate(index.image_id):
        label = int(store.label[row])
        if name not in slides or label < 0:
            continue
        made_by = {_PARAMS: store.attributes.get(_PARAMS), "image": index.fingerprint[row]}
        member = Member(
            slide=slides[name],
            label=label,
            fingerprint=sha256_of(made_by),
            size=(int(index.image_size[row, 0]), int(index.image_size[row, 1])),
            groups={key: texts[row] for key, texts in index.group.items()},
        )
        found.append(_Found(number, row, member))
    return found


def _classes(stores: Sequence[TileStore]) -> tuple[str, ...]:
    """Names that packed stores give to their labels; tiles of slides are normal or tumour."""
    named = {tuple(s.attributes["classes"]) for s in stores if is_packed(s)}
    if len(named) > 1:
        msg = f"{stores[0].path.parent} holds stores of different classes: {sorted(named)}"
        raise StoreError(msg)
    return named.pop() if named else _TILE_CLASSES


def _stains(stores: Sequence[TileStore]) -> Any:  # noqa: ANN401 - a word or a description
    applied = [store.attributes.get(STAIN_APPLIED, "none") for store in stores]
    if any(one != applied[0] for one in applied):
        msg = (
            f"the stores in {stores[0].path.parent} differ in what was done to their stains; take "
            "slides that were tiled without stain normalisation"
        )
        raise StoreError(msg)
    return applied[0]
