"""A warm worker process, replaced when it dies, hangs or outgrows its memory."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessPool

from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner.gauge import Gauge, attach
from wsi_specdec.runner.memory import EXIT_OUTGREW_MEMORY
from wsi_specdec.runner.task import Report, Task, TaskResult, describe, run_task

POLL_SECONDS = 1.0

# A process that has not taken its task by then hangs in starting, or was lost in taking it.
_START_SECONDS = 120.0
_GRACE_SECONDS = 30.0
# A process that dies before it takes its task is replaced: that death is not the slide's doing.
_STARTS = 2
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

    Attributes
    ----------
    future
        Done when there is news of the task; `ended` tells whether it has ended.
    """

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._gauge = Gauge()
        self._pool: ProcessPool | None = None
        self._call: tuple[Callable[[Any], TaskResult], Any] | None = None
        self._starts = 0
        self._submitted = self._scheduled = 0.0
        self.future: Future[Report] = Future()

    def submit(self, function: Callable[[Any], TaskResult], task: Task[Any]) -> None:
        """Start a task; call `collect` once it has `ended`."""
        self._call = function, task.payload
        self._submitted = time.monotonic()
        self._starts = 0
        self._schedule()

    @property
    def tiles(self) -> int:
        """Tiles of the task under way that are written."""
        return self._gauge.tiles

    def ended(self) -> bool:
        """Whether the task has ended, or can no longer be expected to.

        Where the process died before it took the task, another one is started for it.
        """
        if not (self.future.done() or self._overdue()):
            return False
        if not self._died_before_it_began() or self._starts == _STARTS:
            return True
        self.stop()
        self._schedule()
        return False

    def wait(self, seconds: float) -> bool:
        """Wait for the task to end, for some seconds at most; return whether it has."""
        wait([self.future], timeout=seconds)
        return self.ended()

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

    def _schedule(self) -> None:
        assert self._call is not None
        self._gauge.reset()
        self._starts += 1
        self._scheduled = time.monotonic()
        if self._pool is None:
            self._pool = ProcessPool(
                1,
                initializer=attach,
                initargs=(self._gauge.shared,),
                context=multiprocessing.get_context("spawn"),
            )
        try:
            self.future = self._pool.schedule(
                run_task,
                args=(*self._call, self._config.memory_limit_mb),
                timeout=self._config.timeout_s,
            )
        except (RuntimeError, OSError) as error:
            # Its process died while it was idle, or the system refuses a new one.
            self.future = Future()
            self.future.set_exception(BrokenProcessPool(str(error)))

    def _overdue(self) -> bool:
        if self._pool is None or not self._pool.active:
            return True
        allowed = _START_SECONDS
        if self.future.running():
            allowed += self._config.timeout_s + _GRACE_SECONDS
        return time.monotonic() - self._scheduled > allowed

    def _died_before_it_began(self) -> bool:
        if self._gauge.begun:
            return False
        return not self.future.done() or isinstance(
            self.future.exception(), BrokenProcessPool | ProcessExpired
        )

    def _report(self) -> Report:
        seconds = time.monotonic() - self._submitted
        if self._died_before_it_began():
            reason = (
                f"no worker process could start, in {_STARTS} attempts: each ended or hung before "
                "it took the slide (its last words are on standard error)"
            )
        elif not self.future.done():
            reason = "its worker process was lost"
        elif (error := self.future.exception()) is not None:
            reason = self._reason(error)
        else:
            return self.future.result()
        self.stop()
        return Report("failed", reason, seconds=seconds)

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


def stop_all(workers: Iterable[Worker]) -> None:
    """End many workers at once: one that is deep in a C library takes seconds to end."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(Worker.stop, workers))
