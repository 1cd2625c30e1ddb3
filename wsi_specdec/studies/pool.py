"""Independent pieces of work, some processes at a time, each with one thread."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Literal, TypeVar

from wsi_specdec.errors import WorkerError
from wsi_specdec.progress import progress, set_quiet

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count(asked: int | Literal["auto"]) -> int:
    """Return how many processes to start: one for each core, one alone where a GPU does the work.

    Parameters
    ----------
    asked
        A number, or "auto".
    """
    if asked != "auto":
        return asked
    import torch

    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """Apply a function to items in several processes.

    A process computes with one thread, so that what it computes is the same to the last bit
    however many there are.

    Parameters
    ----------
    function, items
        Picklable.
    workers
        Processes at a time.
    title
        Of the progress bar.

    Returns
    -------
    The results, in the order of the items.

    Raises
    ------
    WorkerError
        If a process is killed, as one is that takes too much memory.
    Exception
        The first that `function` raises; what has not begun by then is not begun.
    """
    if not items:
        return []
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(items))
    with (
        progress(title, len(items)) as tick,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_single_thread) as pool,
    ):
        futures = {pool.submit(function, item): row for row, item in enumerate(items)}
        results: dict[int, Result] = {}
        try:
            for future in as_completed(futures):
                results[futures[future]] = _result(future)
                tick()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[row] for row in range(len(items))]


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        msg = (
            "a process was killed, most likely for want of memory: take fewer --workers; the same "
            "command goes on from where it stopped"
        )
        raise WorkerError(msg) from error


def _single_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    set_quiet(quiet=True)
