"""stainx: batches of tiles on torch's CPU; a profile of its own for every tile."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.stain_protocol import Normaliser, StainJob, Tiles, run


def prepare(job: StainJob) -> list[Normaliser]:
    """Fit the target; every tile is fitted as it is normalised."""
    torch: Any = import_module("torch")
    stainx: Any = import_module("stainx")
    torch.set_num_threads(1)
    normalizer = getattr(stainx, job.method.capitalize())(device="cpu")
    normalizer.fit(_planes(torch, job.target))

    def normalise(tile: Tiles) -> Tiles:
        planes: NDArray[np.float32] = normalizer.transform(_planes(torch, tile))[0].numpy()
        return np.clip(np.rint(planes), 0, 255).astype(np.uint8).transpose(1, 2, 0)

    return [normalise] * len(job.tiles)


def _planes(torch: Any, image: Tiles) -> Any:  # noqa: ANN401 - its own classes
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    run(prepare, ["stainx", "torch"])
