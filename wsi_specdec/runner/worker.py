"""A warm worker process, replaced when it dies, hangs or outgrows its memory."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from pebble import ProcessExpired, ProcessPool

from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner.memory import EXIT_OUTGREW_MEMORY
from wsi_specdec.runner.task import Report, Task, TaskResult, describe, run_task

POLL_SECONDS = 1.0

# A worker that has not taken its task by then did not start, or was lost in taking it.
_START_SECONDS = 300.0
_GRACE_SECONDS = 30.0
# Memory that a worker keeps between slides; above this share of its limit it is replaced.
_KEPT_SHARE = 0.5


class Worker:
    """One process that takes one task at a time.

    It is a pool of its own, so that whatever happens to it is known to be its own task's doing,
    and a lock that it dies with is no one else's.

    Parameters
    ----------
    config
        Time and memory limits.
    """

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._pool: ProcessPool | None = None
        self._future: Future[Report] | None = None
        self._submitted = 0.0

    def submit(self, function: Callable[[Any], TaskResult], task: Task[Any]) -> Future[Report]:
        """Start a task; call `collect` when the future returned is done, or `overdue`."""
        if self._pool is None:
            self._pool = ProcessPool(1, context=multiprocessing.get_context("spawn"))
        self._submitted = time.monotonic()
        future: Future[Report] = self._pool.schedule(
            run_task,
            args=(function, task.payload, self._config.memory_limit_mb),
            timeout=self._config.timeout_s,
        )
        self._future = future
        return future

    def overdue(self) -> bool:
        """Whether the task can no longer be expected to end by itself."""
        if self._future is None or self._future.done():
            return False
        allowed = _START_SECONDS
        if self._future.running():
            allowed += self._config.timeout_s + _GRACE_SECONDS
        return time.monotonic() - self._submitted > allowed

    def wait(self) -> Report:
        """Wait for the task to end, and return what became of it."""
        assert self._future is not None
        while not (self._future.done() or self.overdue()):
            wait([self._future], timeout=POLL_SECONDS)
        return self.collect()

    def collect(self) -> Report:
        """Return what became of the task, replacing the process where that is needed."""
        report = self._report()
        limit = self._config.memory_limit_mb
        if limit is not None and report.resident_mb > _KEPT_SHARE * limit:
            self.stop()
        return report

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it bare
            self._pool.join()
            self._pool = None

    def _report(self) -> Report:
        assert self._future is not None
        seconds = time.monotonic() - self._submitted
        if not self._future.done():
            self.stop()
            return Report(
                "failed", "its worker process did not start, or was lost", seconds=seconds
            )
        error = self._future.exception()
        if error is None:
            return self._future.result()
        self.stop()
        return Report("failed", self._reason(error), seconds=seconds)

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, ProcessExpired):
            return self._death(int(error.exitcode))
        if isinstance(error, TimeoutError):
            return (
                f"took longer than {self._config.timeout_s:g} s and was stopped "
                "(runner setting timeout_s)"
            )
        return describe(error)

    def _death(self, code: int) -> str:
        if code == EXIT_OUTGREW_MEMORY:
            return (
                f"outgrew its {self._config.memory_limit_mb:g} MB of memory and was stopped "
                "(runner setting memory_limit_mb)"
            )
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = ", as the system does when it runs out of memory" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
