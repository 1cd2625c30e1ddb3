"""stainx, by torch on the CPU or a GPU: a profile of its own for every tile."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.stain_protocol import BATCH, Prepared, StainJob, Tiles, run


def prepare(job: StainJob) -> Prepared:
    """Fit the target; every tile is fitted as it is normalised."""
    device = job.how or "cpu"
    torch: Any = import_module("torch")
    stainx: Any = import_module("stainx")
    torch.set_num_threads(1)
    normalizer = getattr(stainx, job.method.capitalize())(device=device)
    normalizer.fit(_planes(torch, job.target[None]).to(device))

    def normalise(tiles: Tiles) -> Tiles:
        planes = _planes(torch, tiles).to(device)
        changed: NDArray[np.float32] = normalizer.transform(planes).cpu().numpy()
        return np.clip(np.rint(changed), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def normalise_all(tiles: Tiles) -> Tiles:
        starts = range(0, len(tiles), BATCH)
        return np.concatenate([normalise(tiles[start : start + BATCH]) for start in starts])

    if device != "cpu":
        return normalise_all
    return [lambda tile: normalise(tile[None])[0]] * len(job.tiles)


def _planes(torch: Any, images: Tiles) -> Any:  # noqa: ANN401 - its own classes
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    run(prepare, ["stainx", "torch"])
