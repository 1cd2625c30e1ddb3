"""Pixels into a store, by the way that was chosen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan
from wsi_specdec.keys import STAIN_STATUS
from wsi_specdec.runner import advance_tiles
from wsi_specdec.slides import SlideReader
from wsi_specdec.store import TileStoreWriter
from wsi_specdec.threads import in_order
from wsi_specdec.tiling.extract import split_runs, visit_order
from wsi_specdec.tiling.passthrough import copy_tiles
from wsi_specdec.tiling.paths import PixelPath, TileSource
from wsi_specdec.tiling.quality import MEASURES, measure_quality

# Between them, tiles that overlap are decoded again; more would need more kept.
_SHARDS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbours in a row, (n,) numbers of tiles and (n, 2) corners, and what reads them."""

    source: TileSource
    tiles: NDArray[np.int64]
    coords: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Part:
    """What became of a run: chunks, none of a copy, and measures, (n, k), where there are any."""

    tiles: NDArray[np.int64]
    chunks: list[bytes]
    measured: NDArray[np.float32]


def write_tiles(
    writer: TileStoreWriter,
    path: PixelPath,
    slide: SlideReader,
    plan: ReadPlan,
    coords: NDArray[np.int64],
    *,
    quality: bool,
    threads: int,
) -> dict[str, NDArray[np.float32]]:
    """Write the tiles at `coords`, and return their measures, (N,) each, where asked for.

    Quality is that of tiles as they are in the slide, whether stains are normalised or not.
    Threads each decode, measure, normalise and encode a run of tiles at a time, so that none waits
    for another but to hand over in order: that of `visit_order`, a few of the store's shards at a
    time.

    Raises
    ------
    SlideReadError
        If the file turns out to be corrupt or truncated.
    """
    copies = path.name == "passthrough"
    if copies:
        assert path.level is not None
        copy_tiles(path.level, plan, coords, writer, threads)
        if not quality:
            return {}
    runs = _runs(path, slide, plan, coords, _SHARDS_AT_ONCE * writer.tiles_per_shard)
    work = _worker(writer, path, plan.mpp_effective, quality=quality)
    names = (*(MEASURES if quality else ()), *((STAIN_STATUS,) if path.stained else ()))
    measures = np.empty((len(coords), len(names)), np.float32)
    for part in in_order(work, runs, threads, waiting=2 * threads):
        if not copies:
            writer.put_encoded(part.tiles, part.chunks)
            advance_tiles(len(part.tiles))
        measures[part.tiles] = part.measured
    return dict(zip(names, measures.T, strict=True))


def _runs(
    path: PixelPath,
    slide: SlideReader,
    plan: ReadPlan,
    coords: NDArray[np.int64],
    at_once: int,
) -> Iterator[_Run]:
    """Split tiles into runs, so many tiles at once; what is decoded is kept within those."""
    for first in range(0, len(coords), at_once):
        tiles = first + visit_order(coords[first : first + at_once], plan)
        source = path.source(slide, plan, coords[tiles])
        for run in split_runs(coords[tiles], plan):
            yield _Run(source, tiles[: len(run)], run)
            tiles = tiles[len(run) :]


def _worker(
    writer: TileStoreWriter, path: PixelPath, mpp: float | None, *, quality: bool
) -> Callable[[_Run], _Part]:
    """Return what a thread does with one run."""
    copies = path.name == "passthrough"

    def work(run: _Run) -> _Part:
        tiles = run.source.tiles(run.coords)
        measured = [np.empty((len(tiles), 0), np.float32)]
        if quality:
            measured.append(measure_quality(tiles, mpp))
        if path.stained is not None:
            tiles, statuses = path.stained(tiles)
            measured.append(statuses[:, np.newaxis])
        chunks = [] if copies else [chunk for tile in tiles for chunk in writer.encode(tile)]
        return _Part(run.tiles, chunks, np.concatenate(measured, axis=1))

    return work
