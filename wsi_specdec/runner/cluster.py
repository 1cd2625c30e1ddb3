"""Spreads slides over a Dask cluster, each still in a warm process of its own.

Dask cannot stop a task that hangs, and blames neighbours for a crash; a process of the slide's
own can be stopped, and dies alone. A Dask worker that is lost has its slides run elsewhere.
"""

import math
import multiprocessing
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing.util import Finalize
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, get_worker
from distributed.client import ClosedClientError

from wsi_specdec.config import RunnerConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.runner.task import PayloadT, Report, Task, TaskResult, describe
from wsi_specdec.runner.worker import POLL_SECONDS, Worker

_CONNECT_SECONDS = 30
# Tasks handed to the scheduler ahead of their turn, for each thread of the cluster.
_AHEAD = 2
# States of tasks that a scheduler took with it.
_GONE = ("lost", "cancelled")

# Warm processes of this Dask worker that no thread of it is using.
_idle: dict[RunnerConfig, list[Worker]] = {}
_lock = threading.Lock()


def run_on_cluster(
    function: Callable[[PayloadT], TaskResult],
    tasks: Sequence[Task[PayloadT]],
    runner: RunnerConfig,
    address: str,
    pulse: Callable[[int], None],
) -> Generator[tuple[Task[PayloadT], Report], None, None]:
    """Yield each task with its report as it ends; leaving early takes back what has not begun.

    Meanwhile `pulse` is called with the number of tiles under way, about once a second.

    Raises
    ------
    ConfigError
        If no scheduler answers at `address`, or it is lost on the way.
    """
    with _connected(address) as client:
        queue = iter(tasks)
        running: dict[Future[Report], Task[PayloadT]] = {}
        ended: SimpleQueue[Future[Report]] = SimpleQueue()
        under_way: dict[str, int] = {}
        # Of this run alone: others may share the scheduler.
        topic = f"wsi_specdec-{client.id}"
        client.subscribe_topic(topic, partial(_note_tiles, under_way))
        wanted = _Wanted(client)
        try:
            while True:
                with _asking(address):
                    for task in islice(queue, max(0, wanted.tasks() - len(running))):
                        future: Future[Report] = client.submit(
                            run_in_process, function, task, runner, topic, pure=False
                        )
                        running[future] = task
                        future.add_done_callback(ended.put)  # type: ignore[no-untyped-call]
                if not running:
                    return
                done = _next(ended)
                if any(future.status in _GONE for future in running):
                    raise _lost(address)
                if done is not None:
                    with _asking(address):
                        report = _report(done)
                    yield running.pop(done), report
                pulse(sum(under_way.get(task.slide_id, 0) for task in running.values()))
        finally:
            with suppress(ClosedClientError):
                client.cancel(list(running))


class _Wanted:
    """How many tasks the scheduler should have, as workers come and go."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - Dask has no types
        self._client = client
        self._tasks = 0
        self._asked = -math.inf

    def tasks(self) -> int:
        """Return the number, from the scheduler's own count of threads not a second ago."""
        now = time.monotonic()
        if now - self._asked > POLL_SECONDS:
            self._asked = now
            threads = sum(self._client.nthreads().values())
            self._tasks = _AHEAD * max(1, threads)
        return self._tasks


def run_in_process(
    function: Callable[[Any], TaskResult], task: Task[Any], runner: RunnerConfig, topic: str
) -> Report:
    """Run one slide in a warm process of its own; called on the Dask worker.

    Its advance is told to whoever subscribed to `topic`.
    """
    with _lock:
        _allow_children()
        waiting = _idle.setdefault(runner, [])
        worker = waiting.pop() if waiting else Worker(runner)
    worker.submit(function, task)
    told = 0
    while not worker.wait(POLL_SECONDS):
        if worker.tiles != told:
            told = worker.tiles
            get_worker().log_event(topic, {"slide_id": task.slide_id, "tiles": told})
    report = worker.collect()
    with _lock:
        _idle[runner].append(worker)
    return report


def _next(ended: SimpleQueue[Future[Report]]) -> Future[Report] | None:
    """Next task that has ended, None if none does for a while."""
    try:
        return ended.get(timeout=POLL_SECONDS)
    except Empty:
        return None


def _note_tiles(under_way: dict[str, int], event: tuple[float, Any]) -> None:
    """Keep what a cluster's worker says about the slide that it is busy with."""
    _, message = event
    under_way[message["slide_id"]] = message["tiles"]


def _allow_children() -> None:
    """Let this Dask worker have processes, which multiprocessing denies to daemons.

    Dask's nannies start their workers as daemons. Ours end by themselves if it is killed.
    """
    process = multiprocessing.current_process()
    if process.daemon:
        process.daemon = False
        # Before multiprocessing waits for children to end, which warm ones do not unasked.
        Finalize(None, _stop_idle, exitpriority=100)


def _stop_idle() -> None:
    with _lock:
        for workers in _idle.values():
            while workers:
                workers.pop().stop()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address} (setting scheduler): {error}"
        raise ConfigError(msg) from error
    with client:
        yield client


@contextmanager
def _asking(address: str) -> Iterator[None]:
    """Tell of a scheduler that dies while it is asked."""
    try:
        yield
    except (OSError, CancelledError, ClosedClientError) as error:
        raise _lost(address) from error


def _lost(address: str) -> ConfigError:
    return ConfigError(f"lost the Dask scheduler at {address}; the same command resumes")


def _report(future: Future[Report]) -> Report:
    """Report of a task, also of one that the cluster lost for good."""
    error = future.exception()  # type: ignore[no-untyped-call]
    if error is not None:
        return Report("failed", f"lost by the Dask cluster: {describe(error)}")
    report: Report = future.result()
    return report
