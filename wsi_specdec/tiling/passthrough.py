"""Tiles copied from the file as they are compressed there."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan
from wsi_specdec.runner import advance_tiles
from wsi_specdec.slides import EncodedLevel
from wsi_specdec.store import TileStoreWriter
from wsi_specdec.threads import in_order
from wsi_specdec.tiling.grid import level_corners

# Read and written at a time, by each thread.
_BATCH_BYTES = 1 << 20


def why_not_copied(level: EncodedLevel, plan: ReadPlan, coords: NDArray[np.int64]) -> str:
    """Return why tiles at `coords` are not whole tiles of the file's, or an empty text."""
    side, tile = plan.tile_size_px, level.tile
    if level.compression != "jpeg":
        return f"the file's tiles are {level.compression}, not JPEG"
    if plan.is_resampled:
        return f"tiles are averaged from {plan.read_size_px} to {side} px"
    if tile.width != tile.height or side % tile.width:
        return f"tiles of {side} px are not made up of the file's, {tile.width} x {tile.height} px"
    corners = level_corners(coords, plan.downsample)
    if (corners % tile.width).any():
        return f"tiles do not begin where the file's, of {tile.width} px, do"
    outside = corners + side > (level.size.width, level.size.height)
    if outside.any() or (corners < 0).any():
        return "tiles reach past the slide"
    return ""


def copy_tiles(
    level: EncodedLevel,
    plan: ReadPlan,
    coords: NDArray[np.int64],
    writer: TileStoreWriter,
    threads: int,
) -> None:
    """Append tiles to a store whose chunks are the file's tiles, without decoding them.

    Raises
    ------
    SlideReadError
        If a tile lies outside the file, or is damaged so that it could not be decoded. Damage that
        decoders show as wrong pixels goes unnoticed, as it would in a copy of the slide.
    """
    indices = _indices(level, plan, coords)
    prefix = level.jpeg_form.prefix
    a_shard, a_tile = writer.chunks_per_shard, (plan.tile_size_px // level.tile.width) ** 2

    def copy(first: int) -> int:
        """Copy one shard, and return its number of tiles."""
        ours = indices[first : first + a_shard]
        for batch in _batches(level, ours):
            writer.put_chunks(first, level.read_streams(batch), prefix)
            first += len(batch)
        return len(ours) // a_tile

    shards = range(0, len(indices), a_shard)
    # The disk, or the page cache, keeps no more of them busy.
    for tiles in in_order(copy, shards, min(threads, 2), waiting=1):
        advance_tiles(tiles)


def _indices(level: EncodedLevel, plan: ReadPlan, coords: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the file's tiles in the order of the store's chunks: row-major within a tile."""
    first = level_corners(coords, plan.downsample) // level.tile.width
    along = np.arange(plan.tile_size_px // level.tile.width)
    rows = first[:, 1, np.newaxis, np.newaxis] + along[:, np.newaxis]
    columns = first[:, 0, np.newaxis, np.newaxis] + along
    return (rows * level.columns + columns).ravel()


def _batches(level: EncodedLevel, indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut into parts of about as many bytes."""
    if not len(indices):
        return
    # Damaged counts may be anything; reading them is refused later.
    counts = np.minimum(level.counts.ravel()[indices], _BATCH_BYTES).astype(np.int64)
    batch = np.cumsum(counts) // _BATCH_BYTES
    yield from np.split(indices, np.flatnonzero(np.diff(batch)) + 1)
