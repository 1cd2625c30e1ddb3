"""Spreads slides over a Dask cluster, each still in a warm process of its own.

Dask cannot stop a task that hangs, and blames neighbours for a crash; a process of the slide's
own can be stopped, and dies alone. A Dask worker that is lost has its slides run elsewhere.
"""

import multiprocessing
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing.util import Finalize
from typing import Any

from distributed import Client, Future, as_completed

from wsi_specdec.config import RunnerConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.runner.task import PayloadT, Report, Task, TaskResult, describe
from wsi_specdec.runner.worker import Worker

_CONNECT_SECONDS = 30
# Tasks handed to the scheduler ahead of their turn, for each thread of the cluster.
_AHEAD = 2

# Warm processes of this Dask worker that no thread of it is using.
_idle: dict[RunnerConfig, list[Worker]] = {}
_lock = threading.Lock()


def run_on_cluster(
    function: Callable[[PayloadT], TaskResult],
    tasks: Sequence[Task[PayloadT]],
    runner: RunnerConfig,
    address: str,
) -> Generator[tuple[Task[PayloadT], Report], None, None]:
    """Yield each task with its report as it ends; leaving early takes back what has not begun.

    Raises
    ------
    ConfigError
        If no scheduler answers at `address`.
    """
    with _connected(address) as client:
        threads = max(1, sum(client.nthreads().values()))
        queue = iter(tasks)
        running: dict[Future[Report], Task[PayloadT]] = {}

        def submit(task: Task[PayloadT]) -> Future[Report]:
            future: Future[Report] = client.submit(
                run_in_process, function, task, runner, pure=False
            )
            running[future] = task
            return future

        first = [submit(task) for task in islice(queue, _AHEAD * threads)]
        ended: Any = as_completed(first, loop=client.loop)  # type: ignore[no-untyped-call]
        try:
            for future in ended:
                if (following := next(queue, None)) is not None:
                    ended.add(submit(following))
                yield running.pop(future), _report(future)
        finally:
            client.cancel(list(running))


def run_in_process(
    function: Callable[[Any], TaskResult], task: Task[Any], runner: RunnerConfig
) -> Report:
    """Run one slide in a warm process of its own; called on the Dask worker."""
    with _lock:
        _allow_children()
        waiting = _idle.setdefault(runner, [])
        worker = waiting.pop() if waiting else Worker(runner)
    worker.submit(function, task)
    report = worker.wait()
    with _lock:
        _idle[runner].append(worker)
    return report


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


def _report(future: Future[Report]) -> Report:
    """Report of a task, also of one that the cluster lost for good."""
    error = future.exception()  # type: ignore[no-untyped-call]
    if error is not None:
        return Report("failed", f"lost by the Dask cluster: {describe(error)}")
    report: Report = future.result()
    return report
