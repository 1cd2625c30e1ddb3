"""Spreads slides over worker processes, of this machine or of a Dask cluster."""

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import closing
from typing import Any

from wsi_specdec.config import RunnerConfig
from wsi_specdec.progress import console, progress
from wsi_specdec.runner.ledger import Ledger, LedgerSummary, Outcome
from wsi_specdec.runner.memory import machine_mb
from wsi_specdec.runner.task import PayloadT, Report, Task, TaskResult
from wsi_specdec.runner.worker import POLL_SECONDS, Worker, stop_all


def run_over_slides(
    function: Callable[[PayloadT], TaskResult],
    tasks: Sequence[Task[PayloadT]],
    *,
    ledger: Ledger,
    runner: RunnerConfig,
    title: str,
) -> LedgerSummary:
    """Run a function over many slides, each in a worker process, and write the ledger.

    A slide whose process crashes, is killed, hangs past `runner.timeout_s` or outgrows
    `runner.memory_limit_mb` is recorded as failed, and so is one whose function raises (with the
    traceback in `log.jsonl`); `UnsupportedSlideError` makes it skipped. No other slide is
    affected. On KeyboardInterrupt the workers are stopped and what is finished stays recorded;
    under Dask, slides that a cluster's workers are busy with are left to end by themselves.

    Parameters
    ----------
    function
        Called with a task's payload. It is imported by name in freshly spawned processes, so it
        must stand at the top of a module.
    tasks
        The slides, with unique ids. They start in this order.
    ledger
        Where outcomes go.
    runner
        Number of processes, time and memory limits; or the Dask scheduler whose workers take one
        slide a thread, each in a process of its own all the same.
    title
        What the progress bar is headed.

    Returns
    -------
    LedgerSummary
        Of these tasks, in their order, whichever ended first.
    """
    outcomes: dict[str, Outcome] = {}
    tiles = 0
    with progress(title, len(tasks)) as tick:

        def pulse(under_way: int) -> None:
            tick(0, f"{tiles + under_way:,} tiles")
            ledger.refresh()

        with closing(_reports(function, tasks, runner, pulse)) as reports:
            for task, report in reports:
                outcomes[task.slide_id] = _record(ledger, task, report)
                tiles += report.tiles
                tick(1, f"{tiles:,} tiles")
    return LedgerSummary.of((outcomes[task.slide_id] for task in tasks), ledger.path)


def _reports(
    function: Callable[[PayloadT], TaskResult],
    tasks: Sequence[Task[PayloadT]],
    runner: RunnerConfig,
    pulse: Callable[[int], None],
) -> Generator[tuple[Task[PayloadT], Report], None, None]:
    if runner.scheduler is not None:
        # Imported only where asked for: it is slow to load.
        from wsi_specdec.runner.cluster import run_on_cluster

        return run_on_cluster(function, tasks, runner, runner.scheduler, pulse)
    workers = [Worker(runner) for _ in range(min(runner.workers, len(tasks)))]
    _warn_of_memory(len(workers), runner.memory_limit_mb)
    return _run(function, tasks, workers, pulse)


def _warn_of_memory(workers: int, limit_mb: float | None) -> None:
    available = machine_mb()
    if limit_mb is not None and workers * limit_mb > available:
        console().print(
            f"note: {workers} workers of up to {limit_mb:g} MB each may need more than the "
            f"{available:,.0f} MB of this machine (settings workers, memory_limit_mb of runner)",
            highlight=False,
        )


def _run(
    function: Callable[[PayloadT], TaskResult],
    tasks: Iterable[Task[PayloadT]],
    workers: Sequence[Worker],
    pulse: Callable[[int], None],
) -> Generator[tuple[Task[PayloadT], Report], None, None]:
    """Yield each task with its report as it ends; leaving early stops the workers.

    Meanwhile `pulse` is called with the number of tiles under way, about once a second.
    """
    queue = iter(tasks)
    free = list(workers)
    busy: dict[Worker, Task[PayloadT]] = {}
    try:
        while True:
            while free and (task := next(queue, None)) is not None:
                worker = free.pop()
                worker.submit(function, task)
                busy[worker] = task
            if not busy:
                return
            wait([w.future for w in busy], timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for worker in [w for w in busy if w.ended()]:
                free.append(worker)
                yield busy.pop(worker), worker.collect()
            pulse(sum(worker.tiles for worker in busy))
    finally:
        stop_all(workers)


def _record(ledger: Ledger, task: Task[Any], report: Report) -> Outcome:
    """Write the outcome, or keep the former one where the result was there already."""
    former = ledger.get(task.slide_id)
    if (
        report.reused
        and former is not None
        and (former.state, former.tiles, former.params_sha256)
        == (report.state, report.tiles, task.params_sha256)
    ):
        return former
    outcome = Outcome(
        slide_id=task.slide_id,
        state=report.state,
        reason=report.reason,
        tiles=report.tiles,
        seconds=report.seconds,
        peak_rss_mb=report.peak_rss_mb,
        params_sha256=task.params_sha256,
    )
    ledger.append(outcome, report.traceback)
    return outcome
