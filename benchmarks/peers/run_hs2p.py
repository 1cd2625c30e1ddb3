"""hs2p: tissue by its default method, coordinates, tiles saved as JPEGs in a TAR file.

As in its README, with `save_tiles`; its OpenSlide reader cuts one slide in one process, whatever
the number of workers.
"""

from importlib import import_module
from typing import Any

from benchmarks.peers.protocol import OVERLAPPING, RESAMPLED, Job, run

hs2p: Any = import_module("hs2p")
# These it would import as it works.
import_module("openslide")
import_module("cv2")


def tile_slide(job: Job) -> dict[str, Any]:
    """Tile one slide into a TAR file of JPEGs."""
    tiling = hs2p.TilingConfig(
        backend="openslide",
        requested_spacing_um=job.mpp if job.variant == RESAMPLED else job.mpp_level0,
        requested_tile_size_px=job.tile,
        tolerance=0.05,
        overlap=job.overlap if job.variant == OVERLAPPING else 0.0,
    )
    artifacts = hs2p.tile_slides(
        [hs2p.SlideSpec(sample_id="slide", image_path=job.slide)],
        tiling=tiling,
        segmentation=hs2p.SegmentationConfig(method="hsv", downsample=64),
        output_dir=job.out,
        num_workers=job.workers,
        save_tiles=True,
    )
    return {"tiles": artifacts[0].num_tiles}


if __name__ == "__main__":
    run(tile_slide, ["hs2p", "openslide-bin", "openslide-python", "pillow"])
