"""Brings batches to the device while the network computes."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.models import Transfer, prefetched
from wsi_specdec.training.ranks import Ranks
from wsi_specdec.training.seeds import sample_keys
from wsi_specdec.training.source import TileSource
from wsi_specdec.training.task import Batch


@dataclass(frozen=True, slots=True)
class Feed:
    """Where batches come from and go to.

    Attributes
    ----------
    source
        Reads the tiles.
    device
        Where the network is.
    ranks
        This process reads its own share of each batch alone.
    depth
        Batches made ready ahead.
    """

    source: TileSource
    device: torch.device
    ranks: Ranks
    depth: int

    def batches(
        self, order: Sequence[NDArray[np.int64]], first: int, *, seed: int, epoch: int
    ) -> Generator[Batch, None, None]:
        """Yield this process's share of the batches of an epoch, from number `first` on.

        A thread decodes ahead into pinned memory and copies on a stream of its own.
        """
        keys = sample_keys(np.concatenate(order), seed=seed, epoch=epoch)
        starts = np.cumsum([0, *map(len, order)])
        transfer = Transfer(self.device)
        label = self.source.tiles.label

        def prepare(step: int) -> tuple[Batch, torch.cuda.Event | None]:
            rows = order[step]
            own = self.ranks.share(rows)
            arrays = (self.source.read(rows[own]), label[rows[own]])
            (tiles, truth), sent = transfer.send(*arrays)
            of_step = keys[starts[step] : starts[step + 1]]
            stains = self.source.stains(rows[own])
            return Batch(tiles, truth, of_step[own], own, label[rows], stains), sent

        with closing(prefetched(prepare, range(first, len(order)), self.depth)) as ready:
            for batch, sent in ready:
                transfer.wait(sent, batch.tiles, batch.label)
                yield batch
