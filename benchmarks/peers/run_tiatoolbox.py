"""TIAToolbox: Otsu's tissue mask and its sliding-window extractor; patches saved as JPEG files.

Its extractor works in one process; here each worker process has a reader and an extractor of its
own, and reads and saves its share of the patches with the toolbox's own `imwrite`.
"""

import multiprocessing
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import OVERLAPPING, RESAMPLED, Job, run

extraction: Any = import_module("tiatoolbox.tools.patchextraction")
readers: Any = import_module("tiatoolbox.wsicore.wsireader")
misc: Any = import_module("tiatoolbox.utils.misc")

MIN_MASK_RATIO = 0.05
PATCHES_A_CALL = 64


def tile_slide(job: Job) -> dict[str, Any]:
    """Tile one slide into a folder of JPEG files."""
    job.out.mkdir(parents=True)
    reader = readers.WSIReader.open(job.slide)
    mask = reader.tissue_mask(method="otsu", resolution=1.25, units="power")
    count = len(_extractor(job, reader, mask))
    with multiprocessing.get_context("fork").Pool(job.workers, _start, (job, mask)) as pool:
        saved = sum(pool.imap_unordered(_save, range(count), chunksize=PATCHES_A_CALL))
    return {"tiles": saved}


def _extractor(job: Job, reader: Any, mask: Any) -> Any:  # noqa: ANN401 - its own classes
    resolution = (job.mpp, "mpp") if job.variant == RESAMPLED else (0, "level")
    stride = round(job.tile * (1 - job.overlap)) if job.variant == OVERLAPPING else job.tile
    return extraction.SlidingWindowPatchExtractor(
        input_img=reader,
        input_mask=mask,
        patch_size=(job.tile, job.tile),
        stride=(stride, stride),
        resolution=resolution[0],
        units=resolution[1],
        min_mask_ratio=MIN_MASK_RATIO,
    )


class _Worker:
    """What a worker process has: the extractor, and where patches go."""

    extractor: Any
    out: Path


def _start(job: Job, mask: Any) -> None:  # noqa: ANN401 - its own class
    _Worker.extractor = _extractor(job, readers.WSIReader.open(job.slide), mask)
    _Worker.out = job.out


def _save(index: int) -> int:
    misc.imwrite(_Worker.out / f"{index}.jpg", _Worker.extractor[index])
    return 1


if __name__ == "__main__":
    run(tile_slide, ["tiatoolbox", "openslide-bin", "openslide-python", "opencv-python", "torch"])
