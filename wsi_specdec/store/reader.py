"""Reads a tile store: shard indexes and byte ranges by itself, the small arrays by zarr."""

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.keys import (
    COORDS,
    LABEL,
    QUALITY,
    SCHEMA_VERSION,
    STORE_SUFFIX,
    TILES,
    TILES_DIR,
    TISSUE_FRACTION,
)
from wsi_specdec.store.codec import JPEG_CODEC
from wsi_specdec.store.jpeg import decode_jpeg
from wsi_specdec.store.lossless import BY_NAME, Lossless
from wsi_specdec.store.schema import (
    COMPLETE,
    MPP,
    MPP_EFFECTIVE,
    PACKED,
    REQUIRED,
    SCHEMA_VERSION_KEY,
    SLIDE_ID,
    TILE_SIZE_LEVEL0,
    TileLayout,
    shard_number,
)
from wsi_specdec.store.shards import MAX_OPEN, Located, open_shard


class _Scratch(threading.local):
    """Memory of a thread for the chunks of one tile; made anew for each, it costs a tenth."""

    memory = np.empty(0, np.uint8)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        if self.memory.shape != shape:
            self.memory = np.empty(shape, np.uint8)
        return self.memory


_scratch = _Scratch()
_owners = itertools.count()
_METADATA = "zarr.json"


@dataclass(frozen=True, eq=False)
class TileStore:
    """An opened tile store. Safe to share between threads, to fork, and to pickle.

    Attributes
    ----------
    path
        The store's folder.
    attributes
        Its attributes, as the schema names them.
    layout
        Shape of the tiles and their shards.
    lossless
        How tiles are kept without loss; None where they are JPEGs.
    """

    path: Path
    attributes: Mapping[str, Any]
    layout: TileLayout
    lossless: Lossless | None = field(repr=False)
    _owner: int = field(default_factory=lambda: next(_owners), repr=False)

    def __reduce__(self) -> tuple[Callable[..., "TileStore"], tuple[Any, ...]]:
        return open_store, (self.path,)

    def __len__(self) -> int:
        return self.layout.n_tiles

    @property
    def codec(self) -> Literal["jpeg", "lossless"]:
        """How tiles are stored."""
        return "jpeg" if self.lossless is None else "lossless"

    @property
    def slide_id(self) -> str:
        """Id of the slide."""
        return str(self.attributes[SLIDE_ID])

    @property
    def n_tiles(self) -> int:
        """Number of tiles; may be 0."""
        return self.layout.n_tiles

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        return self.layout.tile_size

    @property
    def tile_size_level0(self) -> int:
        """Side of a tile in level-0 pixels."""
        return int(self.attributes[TILE_SIZE_LEVEL0])

    @property
    def mpp(self) -> float | None:
        """µm per pixel of the tiles: the one asked for, else level 0's; None if unknown."""
        value = self.attributes.get(MPP)
        value = self.attributes.get(MPP_EFFECTIVE) if value is None else value
        return None if value is None else float(value)

    @cached_property
    def coords(self) -> NDArray[np.int64]:
        """Top-left corners x, y in level-0 pixels: int64, (N, 2).

        In a packed store, whose tiles lie nowhere, x is the tile's number and y is 0.
        """
        if self.attributes.get(PACKED) is True:
            numbers = np.arange(self.n_tiles, dtype=np.int64)
            return np.stack([numbers, np.zeros_like(numbers)], axis=1)
        return self.array(COORDS).astype(np.int64, copy=False)

    @cached_property
    def tissue_fraction(self) -> NDArray[np.float32]:
        """Share of tissue in each tile: float32, (N,)."""
        return self.array(TISSUE_FRACTION).astype(np.float32, copy=False)

    @cached_property
    def label(self) -> NDArray[np.int16]:
        """Label of each tile, -1 where unknown: int16, (N,)."""
        return self.array(LABEL).astype(np.int16, copy=False)

    @cached_property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Quality measures by name: float32, (N,) each."""
        names = sorted(p.name for p in (self.path / QUALITY).glob("*") if p.is_dir())
        arrays = {n: self.array(f"{QUALITY}/{n}").astype(np.float32, copy=False) for n in names}
        return MappingProxyType(arrays)

    def read(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Decode tiles.

        Parameters
        ----------
        indices
            Tile numbers, (n,), in any order, repeats allowed.

        Returns
        -------
        uint8, (n, tile_size, tile_size, 3), in the order asked for.

        Raises
        ------
        IndexError
            If a number is negative or beyond the last tile.
        StoreError
            If a shard is missing, truncated or damaged; the message names it.
        """
        numbers = np.asarray(indices, dtype=np.int64).reshape(-1)
        out = np.empty((len(numbers), *self.layout.shape[1:]), np.uint8)
        # In the order of the file, so that a spinning or remote disk reads forwards.
        order = np.argsort(numbers, kind="stable")
        for start in range(0, len(order), MAX_OPEN):
            part = order[start : start + MAX_OPEN]
            for position, located in zip(part.tolist(), self.locate(numbers[part]), strict=True):
                self.decode(located, out[position])
        return out

    def locate(self, numbers: NDArray[np.int64]) -> list[Located]:
        """Find where tiles lie; each holds its shard open, so locate few more than `MAX_OPEN`.

        Parameters
        ----------
        numbers
            Tile numbers, (n,), sorted.

        Raises
        ------
        IndexError, StoreError
            As `read`.
        """
        layout = self.layout
        if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < layout.n_tiles:
            missing = numbers[0] if numbers[0] < 0 else numbers[-1]
            msg = f"tile {missing} does not exist: {self.path} holds {layout.n_tiles}"
            raise IndexError(msg)
        shards, within = np.divmod(numbers, layout.tiles_per_shard)
        first = within * layout.chunks_per_tile
        found: list[Located] = []
        for number in np.unique(shards).tolist():
            shard = open_shard(self._owner, self._tiles, number, layout.chunks_per_shard)
            found += shard.locate(first[shards == number], layout.chunks_per_tile)
        return found

    def decode(
        self, located: Located, out: NDArray[np.uint8], chunks: Sequence[bytes] | None = None
    ) -> None:
        """Decode one tile into `out`: uint8, (tile_size, tile_size, 3), contiguous.

        Parameters
        ----------
        located
            Where it lies.
        out
            Its pixels.
        chunks
            Its bytes, as the shard gave them; read now where None.

        Raises
        ------
        StoreError
            As `read`.
        """
        chunks = located.shard.read(located) if chunks is None else chunks
        try:
            self._decode_tile(chunks, out)
        except ValueError as error:
            path, layout = located.shard.path, self.layout
            within = located.first // layout.chunks_per_tile
            tile = shard_number(path) * layout.tiles_per_shard + within
            msg = f"tile {tile} in {path} is damaged ({error}); tile the slide again"
            raise StoreError(msg) from error

    @cached_property
    def _tiles(self) -> str:
        """Folder of the shards: text, which is hashed once, a path anew at each look-up."""
        return str(self.path / TILES)

    def _decode_tile(self, chunks: Sequence[bytes], out: NDArray[np.uint8]) -> None:
        decode = decode_jpeg if self.lossless is None else self.lossless.decode
        side, size = self.layout.chunks_per_side, self.layout.chunk_size
        if side == 1:
            decode(chunks[0], out)
            return
        parts = _scratch.take((len(chunks), size, size, 3))
        for chunk, part in zip(chunks, parts, strict=True):
            decode(chunk, part)
        grid = parts.reshape(side, side, size, size, 3)
        out.reshape(side, size, side, size, 3)[...] = grid.swapaxes(1, 2)

    def array(self, name: str) -> NDArray[Any]:
        """Read an array that has a row for every tile, (N, …).

        Raises
        ------
        StoreError
            If it is missing or damaged, or has another number of rows.
        """
        try:
            values = np.asarray(zarr.open_array(self.path / name, mode="r")[...])
        except (OSError, ValueError, KeyError) as error:
            msg = f"{name} of the store {self.path} cannot be read ({error}); tile the slide again"
            raise StoreError(msg) from error
        if len(values) != self.n_tiles:
            msg = f"{name} of the store {self.path} has {len(values)} rows for {self.n_tiles} tiles"
            raise StoreError(msg)
        values.flags.writeable = False
        return values


def open_store(path: Path) -> TileStore:
    """Open a tile store.

    Raises
    ------
    StoreError
        If it is missing, incomplete, or of another schema.
    """
    attributes = _attributes(path)
    version = attributes.get(SCHEMA_VERSION_KEY)
    if version != SCHEMA_VERSION:
        msg = (
            f"{path} has the schema version {version}, and this version reads {SCHEMA_VERSION}; "
            "tile the slide again"
        )
        raise StoreError(msg)
    missing = [name for name in REQUIRED if attributes.get(name) is None]
    if attributes.get(COMPLETE) is not True or missing:
        lacking = f"it lacks {', '.join(missing)}" if missing else "its writing was cut off"
        msg = f"the store {path} is incomplete: {lacking}; tile the slide again"
        raise StoreError(msg)
    layout, lossless = _tiles_metadata(path / TILES)
    return TileStore(path, MappingProxyType(attributes), layout, lossless)


def store_path(out: Path, slide_id: str) -> Path:
    """Path of a slide's store in the run directory `out`."""
    return out / TILES_DIR / f"{slide_id}{STORE_SUFFIX}"


def find_stores(folder: Path) -> dict[str, Path]:
    """Find the stores of a run directory, or of the folder of stores itself.

    Returns
    -------
    Slide id to path, sorted by slide id.

    Raises
    ------
    StoreError
        If there is none.
    """
    inside = folder / TILES_DIR
    places = [inside, folder] if inside.is_dir() else [folder]
    for place in places:
        found = {
            p.name.removesuffix(STORE_SUFFIX): p
            for p in place.glob(f"*{STORE_SUFFIX}")
            if p.is_dir() and not p.name.startswith(".")
        }
        if found:
            return dict(sorted(found.items()))
    msg = f"no tile stores (*{STORE_SUFFIX}) in {folder} or {inside}; run `wsi-specdec tile` first"
    raise StoreError(msg)


def _read_metadata(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / _METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"no readable tile store at {folder}: {error}"
        raise StoreError(msg) from error
    if not isinstance(values, dict):
        msg = f"no readable tile store at {folder}: its {_METADATA} is not an object"
        raise StoreError(msg)
    return values


def _attributes(path: Path) -> dict[str, Any]:
    return dict(_read_metadata(path).get("attributes") or {})


def _tiles_metadata(folder: Path) -> tuple[TileLayout, Lossless | None]:
    metadata = _read_metadata(folder)
    try:
        n_tiles, tile_size = metadata["shape"][:2]
        shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        (sharding,) = metadata["codecs"]
        inner = sharding["configuration"]
        names = tuple(codec["name"] for codec in inner["codecs"])
        layout = TileLayout(n_tiles, tile_size, inner["chunk_shape"][1], shard[0])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        msg = f"the tiles of {folder.parent} are not laid out as this version writes them"
        raise StoreError(msg) from error
    if names == (JPEG_CODEC,):
        return layout, None
    if names[:-1] == ("bytes",) and names[-1] in BY_NAME:
        return layout, BY_NAME[names[-1]]
    msg = f"the tiles of {folder.parent} are encoded by {names}, which this version cannot read"
    raise StoreError(msg)
