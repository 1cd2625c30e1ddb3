"""What bounds tiling: decoding and copying from memory, and OpenSlide's plain reading.

All on the tiles of a store made before, the first of them: decoding complete JPEGs that lie in
memory, in threads (the limit); our reader decoding the same tiles from the file; OpenSlide's
`read_region` in one thread; writing the compressed bytes into one file.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
from numpy.typing import NDArray

from benchmarks.peers.protocol import Job, run
from wsi_specdec.config import TileConfig
from wsi_specdec.geometry import plan_reading
from wsi_specdec.slides import SlideReader, locate_encoded, open_slide
from wsi_specdec.threads import in_order
from wsi_specdec.tiling import choose_path
from wsi_specdec.tiling.extract import split_runs

# Bounds the memory, and the time of the slow one.
TILES = 4096
REGIONS = 1500
_TILES_A_CALL = 16
_TURNS = 4


def measure(job: Job) -> dict[str, Any]:
    """Time the four of them, several times in turn; the fastest counts.

    `job.how` names a file of the tiles' corners, (N, 2) int64, as NumPy writes it.
    """
    coords = np.load(job.how)[:TILES]
    with open_slide(job.slide) as slide:
        encoded = _encoded(slide, coords, job.tile)
        stages: dict[str, tuple[int, Callable[[], None]]] = {
            "decode limit": (len(coords), lambda: decode(encoded, job.tile, job.workers)),
            "our decoding": (len(coords), lambda: _ours(slide, coords, job)),
            "copy limit": (len(coords), lambda: copy(encoded, job.out)),
            "OpenSlide read_region": (
                len(coords[:REGIONS]),
                lambda: read_regions(job.slide, coords[:REGIONS], job.tile),
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in stages}
        for _ in range(_TURNS):
            for name, (_, stage) in stages.items():
                started = time.perf_counter()
                stage()
                times[name].append(time.perf_counter() - started)
    speeds = {name: count / min(times[name]) for name, (count, _) in stages.items()}
    return {"tiles": len(coords), "tiles_per_s": speeds}


def decode(encoded: list[bytes], side: int, threads: int) -> None:
    """Decode JPEGs into buffers that are used again."""

    def decode_some(start: int) -> None:
        pixels = np.empty((side, side, 3), np.uint8)
        for data in encoded[start : start + _TILES_A_CALL]:
            imagecodecs.jpeg8_decode(data, outcolorspace="RGB", out=pixels)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode_some, range(0, len(encoded), _TILES_A_CALL)):
            pass


def copy(encoded: list[bytes], folder: Path) -> None:
    """Write the bytes into one file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "copied.bin").open("wb") as file:
        file.writelines(encoded)


def read_regions(path: Path, coords: NDArray[np.int64], side: int) -> None:
    """Read regions of level 0 as OpenSlide's users do, to RGB arrays."""
    with openslide.OpenSlide(path) as slide:
        for x, y in coords.tolist():
            np.asarray(slide.read_region((x, y), 0, (side, side)).convert("RGB"))


def _encoded(slide: SlideReader, coords: NDArray[np.int64], side: int) -> list[bytes]:
    level, obstacle = locate_encoded(slide, 0)
    if level is None:
        raise ValueError(obstacle)
    return level.read_jpegs(coords[:, 1] // side * level.columns + coords[:, 0] // side)


def _ours(slide: SlideReader, coords: NDArray[np.int64], job: Job) -> None:
    """Decode as a store's tiles are, in the same threads, and let them go."""
    plan = plan_reading(
        mpp_level0=slide.info.mpp,
        level_downsamples=slide.info.level_downsamples,
        mpp=None,
        tile_size_px=job.tile,
        overlap_px=0,
        tolerance=0.02,
    )
    path = choose_path(slide, plan, coords, TileConfig(pixel_path="decode"))
    source = path.source(slide, plan, coords)
    runs = split_runs(coords, plan)
    for _ in in_order(source.tiles, runs, job.workers, waiting=job.workers):
        pass


if __name__ == "__main__":
    run(measure, ["imagecodecs", "openslide-bin", "openslide-python"])
