"""torchstain, by its numpy or its torch backend: a profile for every tile, or for every slide.

It fits and normalises an image in one go. So that it has one profile for all tiles of a slide, they
are one image to it; the first tile of a slide takes the time of them all.
"""

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.peers.stain_protocol import Normaliser, Prepared, StainJob, Tiles, run

CLASSES = {
    "macenko": "MacenkoNormalizer",
    "reinhard": "ReinhardNormalizer",
    "vahadane": "VahadaneNormalizer",
}


def prepare(job: StainJob) -> Prepared:
    """Fit the target; tiles, or slides, are fitted as they are normalised."""
    backend, _, how = job.how.partition(" ")
    normalizers: Any = import_module("torchstain").normalizers
    normalizer = getattr(normalizers, CLASSES[job.method])(backend=backend)
    if backend == "torch":
        one = _by_torch(normalizer, job, how or "cpu")
        # It takes one image at a time on a GPU as well.
        return (lambda tiles: np.stack([*map(one, tiles)])) if how else [one] * len(job.tiles)
    normalizer.fit(job.target)
    if job.method != "macenko":
        return [normalizer.normalize] * len(job.tiles)

    def normalise(tile: Tiles) -> Tiles:
        normalised: Tiles = normalizer.normalize(tile, stains=False)[0]
        return normalised

    return _by_slide(normalise, job) if how == "slide" else [normalise] * len(job.tiles)


def _by_slide(normalise: Normaliser, job: StainJob) -> list[Normaliser]:
    done: dict[int, Tiles] = {}

    def of(number: int) -> Normaliser:
        slide = int(job.centres[number])
        together = np.flatnonzero(job.centres == slide)
        place = int(np.searchsorted(together, number))

        def normalise_tile(tile: Tiles) -> Tiles:
            if place == 0:
                done.pop(slide, None)
                tiles = job.tiles[together]
                done[slide] = normalise(tiles.reshape(-1, *tile.shape[1:])).reshape(tiles.shape)
            normalised: Tiles = done[slide][place]
            return normalised

        return normalise_tile

    return [of(number) for number in range(len(job.tiles))]


def _by_torch(normalizer: Any, job: StainJob, device: str) -> Normaliser:  # noqa: ANN401 - its own class
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    normalizer.fit(torch.from_numpy(job.target).permute(2, 0, 1).to(device))

    def normalise(tile: Tiles) -> Tiles:
        planes = torch.from_numpy(tile).permute(2, 0, 1).to(device)
        normalised: Tiles = normalizer.normalize(planes, stains=False)[0].cpu().numpy()
        return normalised

    return normalise


if __name__ == "__main__":
    run(prepare, ["torchstain", "torch", "numpy"])
