"""Pixels into a store, by the way that was chosen."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan
from wsi_specdec.runner import advance_tiles
from wsi_specdec.slides import SlideReader
from wsi_specdec.store import TileStoreWriter
from wsi_specdec.tiling.extract import split_runs
from wsi_specdec.tiling.passthrough import copy_tiles
from wsi_specdec.tiling.paths import PixelPath, TileSource
from wsi_specdec.tiling.quality import MEASURES, measure_quality
from wsi_specdec.tiling.threads import in_order

Run = NDArray[np.int64]
_Part = tuple[list[bytes], NDArray[np.float32]]


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
    """Append the tiles at `coords`, and return their measures, (N,) each, where asked for.

    Threads each decode, measure and encode a run of tiles at a time, so that none waits for
    another but to hand over in order.

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
    source = path.source(slide, plan, coords)
    work = _worker(writer, source, plan.mpp_effective, copies=copies, quality=quality)
    measures = [np.empty((0, len(MEASURES)), np.float32)]
    for chunks, measured in in_order(work, split_runs(coords, plan), threads, waiting=threads):
        if chunks:
            writer.append_encoded(chunks)
            advance_tiles(len(chunks))
        measures.append(measured)
    if not quality:
        return {}
    columns = np.concatenate(measures).T
    return dict(zip(MEASURES, columns, strict=True))


def _worker(
    writer: TileStoreWriter, source: TileSource, mpp: float | None, *, copies: bool, quality: bool
) -> Callable[[Run], _Part]:
    """Return what a thread does with one run: its chunks, none of a copy, and its measures."""

    def work(run: Run) -> _Part:
        tiles = source.tiles(run)
        chunks = [] if copies else [chunk for tile in tiles for chunk in writer.encode(tile)]
        return chunks, measure_quality(tiles if quality else (), mpp)

    return work
