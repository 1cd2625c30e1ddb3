"""Ours: the slide's profile applied, by torch too, or a profile for every tile."""

import numpy as np
import torch

from benchmarks.peers.stain_protocol import BATCH, Normaliser, Prepared, StainJob, Tiles, run
from wsi_specdec.config import StainConfig
from wsi_specdec.models.stain_torch import BatchNormaliser
from wsi_specdec.stain import StainProfile, fit_pixels, normalise, normalise_each, sample_pixels

SLIDE, TILE, TORCH, CUDA = "slide", "tile", "torch", "cuda"


def prepare(job: StainJob) -> Prepared:
    """Fit the target and, unless every tile is fitted by itself, the slides."""
    config = StainConfig.model_validate({"method": job.method})
    target = fit_pixels(job.target.reshape(-1, 3), config)
    if job.how == TILE:
        return [lambda tile: normalise_each(tile[None], target, config)[0][0]] * len(job.tiles)
    slides = sorted(set(job.centres.tolist()))
    profiles = {slide: fit_slide(job.tiles[job.centres == slide], config) for slide in slides}
    sources = [profiles[slide] for slide in job.centres.tolist()]
    if job.how == CUDA:
        return by_batches(sources, target, torch.device(CUDA))
    if job.how == TORCH:
        return _by_torch(sources, target)
    return [_by_profile(source, target) for source in sources]


def fit_slide(tiles: Tiles, config: StainConfig) -> StainProfile:
    """Fit a slide's profile as a store's is: to pixels sampled over its tiles."""
    return fit_pixels(sample_pixels(tiles.__getitem__, len(tiles), tiles.shape[1], config), config)


def _by_profile(source: StainProfile, target: StainProfile) -> Normaliser:
    return lambda tile: normalise(tile, source, target)


def _by_torch(sources: list[StainProfile], target: StainProfile) -> list[Normaliser]:
    torch.set_num_threads(1)
    mover = BatchNormaliser.of(sources, target, torch.device("cpu"))

    def of(number: int) -> Normaliser:
        index = torch.tensor([number])

        def normalise_tile(tile: Tiles) -> Tiles:
            moved: Tiles = mover(torch.from_numpy(tile)[None], index)[0].numpy()
            return moved

        return normalise_tile

    return [of(number) for number in range(len(sources))]


def by_batches(
    sources: list[StainProfile], target: StainProfile, device: torch.device
) -> Normaliser:
    """Return what normalises tiles by the batch on a device, to it and back included.

    `sources` are the profiles of each tile's slide.
    """
    mover = BatchNormaliser.of(sources, target, device)

    def normalise_all(tiles: Tiles) -> Tiles:
        out = np.empty_like(tiles)
        for start in range(0, len(tiles), BATCH):
            part = torch.from_numpy(tiles[start : start + BATCH]).to(device)
            index = torch.arange(start, start + len(part), device=device)
            out[start : start + BATCH] = mover(part, index).cpu().numpy()
        return out

    return normalise_all


if __name__ == "__main__":
    run(prepare, ["wsi-specdec", "numba", "numpy", "torch"])
