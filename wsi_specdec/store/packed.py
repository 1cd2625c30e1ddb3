"""The packed image store: many images that are no slides in one store, each of one tile.

Its schema is the tile store's, with who an image is in place of where a tile lies. Whatever works
on slides works on each image as on a slide of one tile (`packed_images`); whatever works on tiles
works on the store as it is.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.keys import (
    FINGERPRINT,
    GROUP,
    IMAGE_ID,
    IMAGE_SIZE,
    PATIENT_ID,
    STAIN_APPLIED,
)
from wsi_specdec.store.lossless import ZSTD
from wsi_specdec.store.reader import TileStore, find_stores, open_store
from wsi_specdec.store.schema import MPP, PACKED, SLIDE_ID, TILE_SIZE_LEVEL0
from wsi_specdec.store.shards import Located
from wsi_specdec.store.writer import TileStoreWriter

_SLIDE_FINGERPRINT = "slide_fingerprint"


@dataclass(frozen=True, slots=True, eq=False)
class PackedIndex:
    """Who the images of a packed store are, in the order of its tiles.

    Attributes
    ----------
    image_id, patient_id
        Of each image, (N,).
    fingerprint
        Identity of each image's file, (N,).
    image_size
        Width and height of each image before it was packed, int64, (N, 2).
    group
        What else is known of each, by the name of what it is: (N,), empty where unknown.
    """

    image_id: Sequence[str]
    patient_id: Sequence[str]
    fingerprint: Sequence[str]
    image_size: NDArray[np.int64]
    group: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_id)


class PackedStoreWriter(TileStoreWriter):
    """Writes a packed store; as `TileStoreWriter`, but for what `finish_packed` takes."""

    lossless = ZSTD

    def finish_packed(self, index: PackedIndex, label: ArrayLike) -> None:
        """Write who the images are, and mark the store complete.

        Parameters
        ----------
        index
            Of all images, in the order of the tiles.
        label
            int16, (N,), -1 where unknown.

        Raises
        ------
        StoreError
            If tiles are missing, two images have one id, or an array has another length.
        """
        self._check_whole()
        n_tiles = self._layout.n_tiles
        if len(set(index.image_id)) != len(index.image_id):
            msg = f"two images of {self.path} have one id"
            raise StoreError(msg)
        names = {IMAGE_ID: index.image_id, PATIENT_ID: index.patient_id}
        for name, texts in (names | {FINGERPRINT: index.fingerprint}).items():
            self._texts(self._group, name, texts)
        self._array(self._group, IMAGE_SIZE, index.image_size, np.int64, (n_tiles, 2))
        group = self._group.create_group(GROUP)
        for name, texts in index.group.items():
            self._texts(group, name, texts)
        self._complete(np.ones(n_tiles, np.float32), label, {})

    def _texts(self, group: zarr.Group, name: str, texts: Sequence[str]) -> None:
        """Write texts as their UTF-8 bytes, padded with zeros: a type that all of zarr reads."""
        encoded = np.array([text.encode() for text in texts], np.bytes_)
        width = max(1, encoded.dtype.itemsize)
        cells = encoded.astype(f"S{width}").view(np.uint8).reshape(len(texts), width)
        self._array(group, name, cells, np.uint8, (self._layout.n_tiles, width))


@dataclass(frozen=True, eq=False)
class PackedImage(TileStore):
    """One image of a packed store, as the store of a slide that has one tile.

    Attributes
    ----------
    base
        The packed store.
    row
        Which of its images.
    """

    base: TileStore = field(kw_only=True)
    row: int = field(kw_only=True)

    def __reduce__(self) -> tuple[Callable[..., "PackedImage"], tuple[Any, ...]]:
        names = (str(self.attributes[SLIDE_ID]), str(self.attributes[_SLIDE_FINGERPRINT]))
        return _image, (self.base, self.row, *names)

    def __len__(self) -> int:
        return 1

    @property
    def n_tiles(self) -> int:
        """One."""
        return 1

    @cached_property
    def coords(self) -> NDArray[np.int64]:
        """The corner 0, 0: int64, (1, 2)."""
        return np.zeros((1, 2), np.int64)

    @property
    def tissue_fraction(self) -> NDArray[np.float32]:
        """The image counts as tissue: float32, (1,)."""
        return self.base.tissue_fraction[self._rows]

    @property
    def label(self) -> NDArray[np.int16]:
        """Label of the image, -1 where unknown: int16, (1,)."""
        return self.base.label[self._rows]

    @property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Quality measures by name: float32, (1,) each."""
        found = {name: values[self._rows] for name, values in self.base.quality.items()}
        return MappingProxyType(found)

    def locate(self, numbers: NDArray[np.int64]) -> list[Located]:
        """Find where the image lies; see `TileStore.locate`."""
        if len(numbers) and (numbers[0] or numbers[-1]):
            msg = f"the image {self.slide_id} of {self.path} has one tile, number 0"
            raise IndexError(msg)
        return self.base.locate(numbers + self.row)

    @property
    def _rows(self) -> slice:
        return slice(self.row, self.row + 1)


def packed_attributes(  # noqa: PLR0913 - what a packed store states
    name: str,
    *,
    size: int,
    classes: Sequence[str],
    params_sha256: str,
    mpp: float | None = None,
    jpeg_quality: int | None = None,
    fit: str | None = None,
    stain_applied: object = "none",
) -> dict[str, Any]:
    """Return the attributes that every packed store has, but for its provenance.

    Parameters
    ----------
    name
        Of the store.
    size
        Side of the tiles, pixels.
    classes
        Names of the labels 0, 1, ….
    params_sha256
        Hash of the settings that shape pixels.
    mpp
        µm per pixel of the tiles, None where unknown or different.
    jpeg_quality
        None where the store is lossless.
    fit
        How oblong images became square, None where all were.
    stain_applied
        What was done to the tiles' stains.
    """
    return {
        SLIDE_ID: name,
        PACKED: True,
        TILE_SIZE_LEVEL0: size,
        MPP: mpp,
        "classes": list(classes),
        "jpeg_quality": jpeg_quality,
        "fit": fit,
        STAIN_APPLIED: stain_applied,
        "params_sha256": params_sha256,
    }


def is_packed(store: TileStore) -> bool:
    """Whether a store's tiles are images of their own."""
    return store.attributes.get(PACKED) is True


def read_index(store: TileStore) -> PackedIndex:
    """Read who the images of a packed store are.

    Raises
    ------
    StoreError
        If it is not packed, or is damaged.
    """
    if not is_packed(store):
        msg = f"{store.path} holds the tiles of a slide, not packed images"
        raise StoreError(msg)
    groups = sorted(p.name for p in (store.path / GROUP).glob("*") if p.is_dir())
    return PackedIndex(
        image_id=_texts(store, IMAGE_ID),
        patient_id=_texts(store, PATIENT_ID),
        fingerprint=_texts(store, FINGERPRINT),
        image_size=store.array(IMAGE_SIZE).astype(np.int64, copy=False),
        group={name: _texts(store, f"{GROUP}/{name}") for name in groups},
    )


def packed_images(store: TileStore) -> dict[str, PackedImage]:
    """Return each image of a packed store as a store of its own, by its id.

    Raises
    ------
    StoreError
        If the store is not packed, or is damaged.
    """
    index = read_index(store)
    marks = zip(index.image_id, index.fingerprint, strict=True)
    return {name: _image(store, row, name, mark) for row, (name, mark) in enumerate(marks)}


def open_stores(folder: Path) -> dict[str, TileStore]:
    """Open the stores of a run directory, or of the folder of stores itself.

    Returns
    -------
    Slide id to store, and the id of each packed image to the store of that image.

    Raises
    ------
    StoreError
        If there is none, one cannot be opened, or two slides or images have one id.
    """
    stores: dict[str, TileStore] = {}
    for name, path in find_stores(folder).items():
        store = open_store(path)
        found: Mapping[str, TileStore] = packed_images(store) if is_packed(store) else {name: store}
        if twice := sorted(stores.keys() & found.keys()):
            msg = f"two stores in {folder} hold {twice[0]!r}: {stores[twice[0]].path} and {path}"
            raise StoreError(msg)
        stores |= found
    return stores


def encoded_tile(store: TileStore, number: int) -> list[bytes]:
    """Read the chunks of a tile as they are stored, for a store of the same codec.

    Raises
    ------
    IndexError, StoreError
        As `TileStore.read`.
    """
    (located,) = store.locate(np.array([number], np.int64))
    return [bytes(chunk) for chunk in located.shard.read(located)]


def _image(base: TileStore, row: int, name: str, mark: str) -> PackedImage:
    own: dict[str, Any] = {SLIDE_ID: name, _SLIDE_FINGERPRINT: mark}
    attributes = MappingProxyType(ChainMap(own, dict(base.attributes)))
    return PackedImage(base.path, attributes, base.layout, base.lossless, base=base, row=row)


def _texts(store: TileStore, name: str) -> list[str]:
    cells = np.ascontiguousarray(store.array(name))
    if cells.ndim != 2 or cells.dtype != np.uint8:
        msg = f"{name} of the store {store.path} holds no texts; pack the images again"
        raise StoreError(msg)
    return [bytes(row).rstrip(b"\0").decode() for row in cells]
