"""What a tile store must hold: its attributes, and how its tiles lie in shards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_specdec.errors import StoreError
from wsi_specdec.keys import SCHEMA_VERSION

SCHEMA_VERSION_KEY: Final = "schema_version"
COMPLETE: Final = "complete"
SLIDE_ID: Final = "slide_id"
MPP: Final = "mpp"
MPP_EFFECTIVE: Final = "mpp_effective"
TILE_SIZE: Final = "tile_size_px"
TILE_SIZE_LEVEL0: Final = "tile_size_level0_px"
# True where tiles are images of their own, not parts of one slide.
PACKED: Final = "packed"
REQUIRED: Final = (SLIDE_ID, TILE_SIZE, TILE_SIZE_LEVEL0)

# Written into the store by the writer alone.
_RESERVED = (SCHEMA_VERSION_KEY, COMPLETE)
# Bounds on a shard: it is read and written whole by other tools, so it must fit in memory.
_SHARD_BYTES = 1 << 27
_SHARD_TILES = 4096


@dataclass(frozen=True, slots=True)
class TileLayout:
    """Shape of the array `tiles` and of its shards.

    Attributes
    ----------
    n_tiles, tile_size
        The array is (n_tiles, tile_size, tile_size, 3) of uint8.
    chunk_size
        Side of a chunk (1, chunk_size, chunk_size, 3); divides `tile_size`.
    tiles_per_shard
        Tiles in a shard; the last shard may be part empty.
    """

    n_tiles: int
    tile_size: int
    chunk_size: int
    tiles_per_shard: int

    @property
    def chunks_per_side(self) -> int:
        """Chunks along one side of a tile."""
        return self.tile_size // self.chunk_size

    @property
    def chunks_per_tile(self) -> int:
        """Chunks in a tile, in row-major order."""
        return self.chunks_per_side**2

    @property
    def chunks_per_shard(self) -> int:
        """Entries in a shard's index."""
        return self.tiles_per_shard * self.chunks_per_tile

    @property
    def n_shards(self) -> int:
        """Number of shard files."""
        return -(-self.n_tiles // self.tiles_per_shard)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array."""
        return self.n_tiles, self.tile_size, self.tile_size, 3


def plan_layout(n_tiles: int, tile_size: int, chunk_size: int | None = None) -> TileLayout:
    """Lay `n_tiles` out in shards of at most 128 MiB of pixels.

    Raises
    ------
    StoreError
        If a number is out of range, or `chunk_size` does not divide `tile_size`.
    """
    chunk_size = tile_size if chunk_size is None else chunk_size
    if n_tiles < 0 or tile_size < 1 or chunk_size < 1 or tile_size % chunk_size:
        msg = (
            f"a store of {n_tiles} tiles of {tile_size} px in chunks of {chunk_size} px cannot be: "
            "sizes must be positive, and the chunk's must divide the tile's"
        )
        raise StoreError(msg)
    fitting = min(_SHARD_BYTES // (3 * tile_size**2), _SHARD_TILES, max(n_tiles, 1))
    return TileLayout(n_tiles, tile_size, chunk_size, max(fitting, 1))


def shard_name(index: int) -> str:
    """Path of a shard file below the array's folder (zarr v3's default chunk keys)."""
    return f"c/{index}/0/0/0"


def shard_number(path: Path) -> int:
    """Return which shard a file is."""
    return int(path.parts[-4])


def check_attributes(attributes: Mapping[str, Any], tile_size: int) -> dict[str, Any]:
    """Return the attributes to write: those given, `tile_size_px` and the schema's version.

    Raises
    ------
    StoreError
        If a required one is missing, a reserved one is given, `tile_size_px` contradicts
        `tile_size`, or a value is not JSON.
    """
    values = {TILE_SIZE: tile_size, **attributes}
    missing = [name for name in REQUIRED if values.get(name) is None]
    reserved = [name for name in _RESERVED if name in values]
    if missing or reserved or values[TILE_SIZE] != tile_size:
        msg = (
            f"attributes of a tile store need {', '.join(REQUIRED)} (missing: {missing}), "
            f"must not hold {', '.join(_RESERVED)} (found: {reserved}), and {TILE_SIZE} must be "
            f"{tile_size} (is {values[TILE_SIZE]})"
        )
        raise StoreError(msg)
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = f"attributes of the store of {values[SLIDE_ID]} are not plain JSON: {error}"
        raise StoreError(msg) from error
    return {SCHEMA_VERSION_KEY: SCHEMA_VERSION, **values}
