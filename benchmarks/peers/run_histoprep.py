"""HistoPrep: tissue mask, tile coordinates, tiles saved as JPEG files.

As in its README; tiles are read by worker processes and saved by the main one. It cannot resample,
so for that its reader's documented `transform` shrinks each tile in the worker, and the main
process saves it as `save_regions` does.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.protocol import JPEG_QUALITY, OVERLAPPING, RESAMPLED, Job, run

cv2: Any = import_module("cv2")
histoprep: Any = import_module("histoprep")
pillow: Any = import_module("PIL.Image")


class Shrink:
    """Averages a tile by area to `side` pixels."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the smaller tile, (side, side, 3)."""
        smaller = cv2.resize(tile, (self.side, self.side), interpolation=cv2.INTER_AREA)
        return np.asarray(smaller, np.uint8)


def tile_slide(job: Job) -> dict[str, Any]:
    """Tile one slide into a folder of JPEG files."""
    reader = histoprep.SlideReader(job.slide)
    _, mask = reader.get_tissue_mask()
    overlap = job.overlap if job.variant == OVERLAPPING else 0.0
    coordinates = reader.get_tile_coordinates(mask, width=job.read_px, overlap=overlap)
    if job.variant == RESAMPLED:
        job.out.mkdir(parents=True)
        tiles = reader.yield_regions(
            coordinates, transform=Shrink(job.tile), num_workers=job.workers
        )
        for tile, (x, y, width, height) in tiles:
            path = job.out / f"x{x}_y{y}_w{width}_h{height}.jpeg"
            pillow.fromarray(tile).save(path, quality=JPEG_QUALITY)
    else:
        reader.save_regions(job.out, coordinates, num_workers=job.workers, verbose=False)
    return {"tiles": len(coordinates)}


if __name__ == "__main__":
    run(tile_slide, ["histoprep", "openslide-bin", "openslide-python", "pillow"])
