"""wsi_specdec: one slide to a complete store, with mask and previews, by one of its pixel paths.

What a worker process of `wsi-specdec tile` does, called here in a process that has imported it.
"""

from typing import Any

from benchmarks.peers.protocol import OVERLAPPING, RESAMPLED, Job, run
from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.provenance import provenance
from wsi_specdec.store import open_store
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

# HistoPrep keeps tiles of at most 95 % background.
MIN_TISSUE = 0.05


def settings(job: Job) -> TileConfig:
    """Turn the job into our settings; `job.how` is a pixel path and a codec: `decode jpeg`."""
    path, codec = job.how.split()
    return TileConfig.model_validate(
        {
            "mpp": job.mpp if job.variant == RESAMPLED else None,
            "tile_size": job.tile,
            "overlap": round(job.tile * job.overlap) if job.variant == OVERLAPPING else 0,
            "min_tissue": MIN_TISSUE,
            "pixel_path": path,
            "codec": codec,
        }
    )


def tile(job: Job) -> dict[str, Any]:
    """Tile one slide into a store; the path that was taken comes from the store."""
    config = settings(job)
    slide = Slide(job.slide.stem, job.slide, job.slide.stem)
    made_with = provenance()
    done = tile_slide(
        TileJob(slide, job.out, config, params_of(slide, config), made_with, threads=job.workers)
    )
    store = open_store(job.out / "tiles" / f"{slide.slide_id}.zarr")
    return {"tiles": done.tiles, "pixel_path": store.attributes["pixel_path"]}


if __name__ == "__main__":
    run(tile, ["wsi-specdec", "imagecodecs", "openslide-bin", "openslide-python", "zarr"])
