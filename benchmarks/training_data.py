"""What benchmarks/training.py trains on: real tissue in tile stores, and as JPEG files."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.reading_data import OWN, TILE, Tiles, cut_tiles, encoded
from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.store import TileStore, TileStoreWriter, open_store
from wsi_specdec.training import TrainingData, choose_tiles
from wsi_specdec.training.feed import Feed
from wsi_specdec.training.ranks import Ranks
from wsi_specdec.training.setup import make_spec, make_task, open_sources
from wsi_specdec.training.task import Batch, Task

STORES = 4
_BLOCK = 256


@dataclass(frozen=True)
class Work:
    """What is measured: a network on a device, in batches of tiles.

    Attributes
    ----------
    model
        timm's name.
    tile, batch
        Side of a tile in pixels, and tiles in a step.
    steps
        Steps in a measured epoch.
    """

    model: str
    tile: int
    batch: int
    precision: str
    steps: int

    @property
    def n_tiles(self) -> int:
        """Tiles of an epoch, as many in each store."""
        return -(-self.batch * self.steps // STORES) * STORES

    def config(self, device: torch.device, *, cache_mb: float = 0.0) -> TrainConfig:
        """Return the settings of the training, λ among them; all others are the defaults."""
        return TrainConfig.model_validate(
            {
                "model": self.model,
                "batch_size": self.batch,
                "precision": self.precision,
                "sd_coef": 0.01,
                "device": str(device),
                "cache_mb": cache_mb,
            }
        )


def build(folder: Path, work: Work, seed: int = 0) -> TrainingData:
    """Write stores and the same JPEGs as files, by class, unless they are there."""
    place = folder / f"{work.tile}px-{work.n_tiles}-{seed}"
    if not (place / "complete").is_file():
        shutil.rmtree(place, ignore_errors=True)
        for number in range(STORES):
            store = _write_store(place / "tiles" / f"{number}.zarr", work, seed + number)
            _write_files(place / "files" / str(number % 2), store)
        (place / "complete").touch()
    paths = [place / "tiles" / f"{number}.zarr" for number in range(STORES)]
    slides = [
        Slide(path.stem, path, path.stem, number % 2, "train") for number, path in enumerate(paths)
    ]
    stores = {path.stem: open_store(path) for path in paths}
    return choose_tiles(stores, slides, "slide")


def files_of(data: TrainingData) -> Path:
    """Folder of the JPEG files, one below it for each class."""
    return data.train.stores[0].path.parents[1] / "files"


def task_for(work: Work, data: TrainingData, device: torch.device) -> Task:
    """Make what training makes of the settings; the random weights are always the same."""
    config = work.config(device)
    spec = make_spec(data, config, files_of(data).parent / "stain")
    return make_task(spec, config, data, device, Ranks())


@contextmanager
def feed_for(task: Task, data: TrainingData, *, cached: bool) -> Iterator[Feed]:
    """Open the reader that training opens, with all tiles in memory or with none."""
    stain_dir = files_of(data).parent / "stain"
    room = task.config.model_copy(update={"cache_mb": float("inf") if cached else 0.0})
    with open_sources(data, task.spec, room, stain_dir, task) as (source, _):
        yield Feed(source, task.device, task.ranks, task.config.prefetch)


def constant_batch(work: Work, data: TrainingData, device: torch.device) -> Batch:
    """Return one batch of both classes that stays on the device."""
    tiles = data.train
    rows = np.random.default_rng(0).permutation(len(tiles))[: work.batch]
    pixels = np.stack(
        [tiles.stores[tiles.store_index[r]].read([tiles.tile_index[r]])[0] for r in rows.tolist()]
    )
    label = tiles.label[rows]
    return Batch(
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(label).to(device),
        torch.arange(work.batch),
        slice(0, work.batch),
        label,
    )


def _write_store(path: Path, work: Work, seed: int) -> TileStore:
    n = work.n_tiles // STORES
    with TileStoreWriter(
        path,
        n_tiles=n,
        tile_size=work.tile,
        codec="jpeg",
        jpeg_quality=OWN,
        attributes={"slide_id": path.stem, "tile_size_level0_px": work.tile},
    ) as writer:
        for block in _blocks(cut_tiles(n, seed), work.tile):
            writer.append(block)
        zeros = np.zeros(n)
        writer.finish(np.zeros((n, 2)), zeros, zeros, {})
    return open_store(path)


def _blocks(crops: Iterator[Tiles], tile: int) -> Iterator[Tiles]:
    """Cut the crops to the tile's size, many at a time but never all."""
    if tile > TILE:
        msg = f"tiles have at most {TILE} px here, not {tile}"
        raise ValueError(msg)
    while block := [crop[:tile, :tile] for crop in islice(crops, _BLOCK)]:
        yield np.stack(block)


def _write_files(folder: Path, store: TileStore) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chunks: Sequence[bytes] = encoded(store)
    for number, chunk in enumerate(chunks):
        (folder / f"{store.path.stem}-{number:06d}.jpg").write_bytes(chunk)
