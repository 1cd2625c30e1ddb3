"""Which tiles are learned from and with which labels."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, check_leaks, check_unique, cohort_slides
from wsi_specdec.errors import ManifestError, NotEnoughDataError, StoreError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import TRAIN, UNKNOWN_LABEL, VALIDATION
from wsi_specdec.store import TileStore

LabelSource = Literal["tile", "slide"]
# Tells which tiles of a store to use: bool, (N,).
Good = Callable[[TileStore], NDArray[np.bool_]]
_MADE_FROM = ("slide_id", "params_sha256", "slide_fingerprint")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TileSet:
    """Labelled tiles of several stores.

    Attributes
    ----------
    stores
        The stores, sorted by slide id.
    store_index, tile_index
        Position in `stores` and tile number within it: int64, (n,).
    label
        Class of each tile: int64, (n,).
    patients
        Patient of each store.
    """

    stores: tuple[TileStore, ...]
    store_index: NDArray[np.int64]
    tile_index: NDArray[np.int64]
    label: NDArray[np.int64]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def digest(self) -> str:
        """SHA-256 of which tiles of which stores have which labels."""
        hashed = hashlib.sha256()
        for store in self.stores:
            made_from = {name: store.attributes.get(name) for name in _MADE_FROM}
            hashed.update(sha256_of(made_from | {"n_tiles": store.n_tiles}).encode())
        for array in (self.store_index, self.tile_index, self.label):
            hashed.update(np.ascontiguousarray(array, "<i8").tobytes())
        return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Tiles of both splits, and whether their labels are the tiles' own or their slides'."""

    train: TileSet
    validation: TileSet
    label_source: LabelSource
    classes: tuple[str, ...]

    def counts(self) -> dict[str, dict[str, int | list[int]]]:
        """Patients, slides and tiles of each split, and the tiles of each class."""
        return {
            name: {
                "patients": len(set(tiles.patients)),
                "slides": len(tiles.stores),
                "tiles": len(tiles),
                "tiles_of_class": np.bincount(tiles.label, minlength=len(self.classes)).tolist(),
            }
            for name, tiles in ((TRAIN, self.train), (VALIDATION, self.validation))
        }


def choose_tiles(
    stores: Mapping[str, TileStore],
    slides: Sequence[Slide],
    labels: Literal["auto", "tile", "slide"],
    classes: Sequence[str] = ("normal", "tumour"),
    good: Good | None = None,
) -> TrainingData:
    """Choose the tiles to learn from and to validate on.

    Slides without a store are passed over. With `tile` labels a tile counts as its store says;
    one of unknown label counts as normal where the manifest calls its slide normal, and is left
    out elsewhere. With `slide` labels every tile has its slide's. `auto` takes tile labels where
    any training store has one.

    Parameters
    ----------
    stores
        Slide id to tile store.
    slides
        The manifest; splits `train` and `validation` are used.
    classes
        Names of the labels 0, 1, …; the first is that of a slide without findings.
    good
        Tells which tiles of a store to use, in both splits; none uses all.

    Raises
    ------
    LeakError
        If a patient stands in two splits.
    ManifestError
        If a training slide has no label of either kind, or contradicts its tiles' labels.
    NotEnoughDataError
        If there is no training slide, or no training tile of a class.
    StoreError
        If a tile's label is none of the classes, or a store lacks a measure that `good` needs.
    """
    check_unique(slides)
    check_leaks(slides)
    split = {name: _with_store(slides, stores, name) for name in (TRAIN, VALIDATION)}
    if not split[TRAIN]:
        msg = (
            f"none of {len(stores)} tile stores is of a training slide: "
            "set the manifest's column 'split' to 'train' for some slides"
        )
        raise NotEnoughDataError(msg)
    annotated = any(bool((stores[s.slide_id].label >= 0).any()) for s in split[TRAIN])
    source: LabelSource = ("tile" if annotated else "slide") if labels == "auto" else labels
    _check_labelled(split[TRAIN], stores, source)
    train, validation = (
        _tile_set(split[name], stores, source, len(classes), good) for name in (TRAIN, VALIDATION)
    )
    offered = [stores[slide.slide_id] for slide in split[TRAIN]]
    _check_classes(train, source, classes, _bad_ones(offered, good))
    return TrainingData(train, validation, source, tuple(classes))


def _with_store(
    slides: Sequence[Slide], stores: Mapping[str, TileStore], split: str
) -> list[Slide]:
    found = [s for s in cohort_slides(slides, split) if s.slide_id in stores]
    return sorted(found, key=lambda slide: slide.slide_id)


def _tile_set(
    slides: Sequence[Slide],
    stores: Mapping[str, TileStore],
    source: LabelSource,
    classes: int,
    good: Good | None,
) -> TileSet:
    used: list[TileStore] = []
    patients: list[str] = []
    columns: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
    for slide in slides:
        store = stores[slide.slide_id]
        label = _labels(slide, store, source, classes)
        used_ones = label != UNKNOWN_LABEL
        if good is not None:
            used_ones &= good(store)
        known = np.flatnonzero(used_ones)
        if len(known):
            number = np.full(len(known), len(used), np.int64)
            columns.append(np.stack([number, known, label[known]]))
            used.append(store)
            patients.append(slide.patient_id)
    store_index, tile_index, label = np.concatenate(columns, axis=1)
    return TileSet(tuple(used), store_index, tile_index, label, tuple(patients))


def _labels(slide: Slide, store: TileStore, source: LabelSource, classes: int) -> NDArray[np.int64]:
    """Label of every tile, int64 (N,)."""
    of_slide = UNKNOWN_LABEL if slide.label is None else slide.label
    if of_slide >= classes:
        msg = f"slide {slide.slide_id} has the label {of_slide}, and there are {classes} `classes`"
        raise ManifestError(msg)
    if source == "slide":
        return np.full(store.n_tiles, of_slide, np.int64)
    label = store.label.astype(np.int64)
    if len(label) and label.max() >= classes:
        msg = (
            f"{store.path} has the tile label {label.max()}, and there are {classes} `classes`; "
            "name them all in the setting of that name"
        )
        raise StoreError(msg)
    if of_slide == 0:
        if (label > 0).any():
            msg = (
                f"the manifest calls the slide {slide.slide_id} normal, but {store.path} has "
                f"{int((label > 0).sum())} tiles that are not; correct its label or its annotation"
            )
            raise ManifestError(msg)
        return np.zeros(store.n_tiles, np.int64)
    return np.maximum(label, UNKNOWN_LABEL)


def _check_labelled(
    slides: Sequence[Slide], stores: Mapping[str, TileStore], source: LabelSource
) -> None:
    bare = [
        slide.slide_id
        for slide in slides
        if slide.label is None
        and (source == "slide" or not (stores[slide.slide_id].label >= 0).any())
        and stores[slide.slide_id].n_tiles
    ]
    if bare:
        shown = ", ".join(bare[:_SHOWN]) + (
            f" and {len(bare) - _SHOWN} more" if len(bare) > _SHOWN else ""
        )
        msg = (
            f"training slides without a label: {shown}; fill the manifest's column 'label', "
            "or give annotations and tile again"
        )
        raise ManifestError(msg)


def _bad_ones(stores: Sequence[TileStore], good: Good | None) -> int:
    """Count the tiles that were left out for their quality."""
    return 0 if good is None else sum(int((~good(store)).sum()) for store in stores)


def _check_classes(tiles: TileSet, source: LabelSource, classes: Sequence[str], bad: int) -> None:
    counts = np.bincount(tiles.label, minlength=len(classes))
    if (counts == 0).any():
        found = ", ".join(f"{n} {name}" for n, name in zip(counts, classes, strict=True))
        left = f"; min_tissue and quality left out {bad}" if bad else ""
        msg = (
            f"training needs tiles of every class; by {source} labels there are {found} tiles{left}"
        )
        raise NotEnoughDataError(msg)
