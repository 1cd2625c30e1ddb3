"""Brings batches to the device while the network computes."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.models import prefetched
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
        transfer = _Transfer(self.device)
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


class _Transfer:
    """Copies arrays to a device beside its work; on the CPU it hands them on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _new_stream(device) if device.type == "cuda" else None

    def send(
        self, *arrays: NDArray[np.uint8] | NDArray[np.int64]
    ) -> tuple[list[Tensor], torch.cuda.Event | None]:
        """Start copying; return the tensors to be, and what tells when they are there."""
        tensors = [torch.from_numpy(array) for array in arrays]
        if self._stream is None:
            return [tensor.to(self._device) for tensor in tensors], None
        with torch.cuda.stream(self._stream):
            # Pinned blocks come back to torch's own pool, and not before their copy is done.
            sent = [t.pin_memory().to(self._device, non_blocking=True) for t in tensors]
            return sent, self._stream.record_event()

    def wait(self, sent: torch.cuda.Event | None, *tensors: Tensor) -> None:
        """Let the network's stream, not the CPU, wait for a copy."""
        if sent is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(sent)
        for tensor in tensors:
            # They were allocated on the other stream, which must not take them back too early.
            tensor.record_stream(stream)


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
