"""torchstain: a profile of its own for every tile, by its numpy or its torch backend."""

from importlib import import_module
from typing import Any

from benchmarks.peers.stain_protocol import Normaliser, StainJob, Tiles, run

CLASSES = {
    "macenko": "MacenkoNormalizer",
    "reinhard": "ReinhardNormalizer",
    "vahadane": "VahadaneNormalizer",
}


def prepare(job: StainJob) -> list[Normaliser]:
    """Fit the target; every tile is fitted as it is normalised."""
    normalizers: Any = import_module("torchstain").normalizers
    normalizer = getattr(normalizers, CLASSES[job.method])(backend=job.how)
    if job.how == "torch":
        return [_by_torch(normalizer, job)] * len(job.tiles)
    normalizer.fit(job.target)
    if job.method != "macenko":
        return [normalizer.normalize] * len(job.tiles)
    return [lambda tile: normalizer.normalize(tile, stains=False)[0]] * len(job.tiles)


def _by_torch(normalizer: Any, job: StainJob) -> Normaliser:  # noqa: ANN401 - its own class
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    normalizer.fit(torch.from_numpy(job.target).permute(2, 0, 1))

    def normalise(tile: Tiles) -> Tiles:
        planes = torch.from_numpy(tile).permute(2, 0, 1)
        normalised: Tiles = normalizer.normalize(planes, stains=False)[0].numpy()
        return normalised

    return normalise


if __name__ == "__main__":
    run(prepare, ["torchstain", "torch", "numpy"])
