"""Prepares the next batches while the model computes, and moves them to its device and back."""

import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.threads import in_order

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    prepare: Callable[[Item], Result], items: Iterable[Item], depth: int = 2
) -> Generator[Result, None, None]:
    """Yield `prepare(item)` for each item in order, up to `depth` of them made ahead in a thread.

    An error of `prepare` is raised where its result would have come.
    """
    return in_order(prepare, items, threads=1, waiting=depth - 1)


def decode_threads(device: torch.device, processes: int = 1) -> int:
    """Threads to decode with: beside a network on the CPU half the cores, else all of them.

    Parameters
    ----------
    processes
        How many of them share the cores.
    """
    cores = len(os.sched_getaffinity(0)) // processes
    return max(1, cores // 2) if device.type == "cpu" else cores


class Transfer:
    """Copies arrays to a device and back beside its work; on the CPU it hands them on.

    Parameters
    ----------
    device
        Where the network is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _new_stream(device) if device.type == "cuda" else None

    def send(self, *arrays: NDArray[Any]) -> tuple[list[Tensor], torch.cuda.Event | None]:
        """Start copying; return the tensors to be, and what tells when they are there.

        May be called from a thread of its own.
        """
        tensors = [torch.from_numpy(array) for array in arrays]
        if self._stream is None:
            return [tensor.to(self._device) for tensor in tensors], None
        with torch.cuda.stream(self._stream):
            # Pinned blocks come back to torch's own pool, and not before their copy is done.
            sent = [t.pin_memory().to(self._device, non_blocking=True) for t in tensors]
            return sent, self._stream.record_event()

    def wait(self, sent: torch.cuda.Event | None, *tensors: Tensor) -> None:
        """Let the network's stream, not the CPU, wait for what was sent."""
        if sent is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(sent)
        for tensor in tensors:
            # They were allocated on the other stream, which must not take them back too early.
            tensor.record_stream(stream)

    def fetch(self, *tensors: Tensor) -> Callable[[], list[NDArray[Any]]]:
        """Start copying results back; return what waits for them, so that work goes on meanwhile.

        Waiting for the device itself would also wait for the batches behind this one.
        """
        if self._stream is None:
            arrays = [tensor.cpu().numpy() for tensor in tensors]
            return lambda: arrays
        hosts = [
            torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                tensor, non_blocking=True
            )
            for tensor in tensors
        ]
        done = torch.cuda.current_stream(self._device).record_event()

        def arrived() -> list[NDArray[Any]]:
            done.synchronize()
            # Pinned memory is scarce: it goes back as soon as its content is copied.
            return [host.numpy().copy() for host in hosts]

        return arrived


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
