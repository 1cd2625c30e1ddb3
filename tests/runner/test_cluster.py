import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from distributed import Client, LocalCluster
from programs import scheduler_in

from wsi_specdec.config import RunnerConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.runner import Ledger, Task, cluster, read_ledger, run_over_slides
from wsi_specdec.runner.worker import POLL_SECONDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(task_module: ModuleType) -> Iterator[str]:
    """A cluster of two workers, whose processes find the task functions."""
    folder = str(Path(str(task_module.__file__)).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", folder)
        with LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local:
            yield local.scheduler_address


def test_crashes_and_hangs_cost_themselves_alone_on_a_cluster_too(
    tmp_path: Path, task_module: ModuleType, address: str
) -> None:
    payloads = [("tiles", 1), ("kill", None), ("hang", 60), ("unsupported", None), ("tiles", 2)]
    tasks = [Task(f"s{i}", payload) for i, payload in enumerate(payloads)]
    runner = RunnerConfig(scheduler=address, timeout_s=2.0)
    with Ledger(tmp_path) as ledger:
        summary = run_over_slides(
            task_module.run, tasks, ledger=ledger, runner=runner, title="test"
        )
    assert summary.counts == {"done": 2, "empty": 0, "failed": 2, "skipped": 1}
    rows = {row.slide_id: row for row in read_ledger(tmp_path)}
    assert "SIGKILL" in rows["s1"].reason
    assert "took longer than 2 s" in rows["s2"].reason


def test_a_cluster_worker_killed_midway_loses_no_slide(
    tmp_path: Path, task_module: ModuleType, address: str
) -> None:
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        pids = list(client.run(os.getpid).values())

    def kill_one_once_recorded() -> None:
        journal = tmp_path / "ledger.jsonl"
        while not (journal.exists() and journal.stat().st_size):
            time.sleep(0.05)
        os.kill(pids[0], signal.SIGKILL)

    threading.Thread(target=kill_one_once_recorded, daemon=True).start()
    tasks = [Task(f"s{i}", ("slow", 0.5)) for i in range(8)]
    with Ledger(tmp_path) as ledger:
        summary = run_over_slides(
            task_module.run,
            tasks,
            ledger=ledger,
            runner=RunnerConfig(scheduler=address),
            title="test",
        )
    assert summary.counts["done"] == 8


def test_tiles_of_slides_under_way_on_the_cluster_are_told(
    task_module: ModuleType, address: str
) -> None:
    tasks = [Task(f"s{i}", ("advance", 40)) for i in range(2)]
    under_way: list[int] = []
    reports = cluster.run_on_cluster(
        task_module.run, tasks, RunnerConfig(), address, under_way.append
    )
    assert [report.state for _, report in reports] == ["done"] * 2
    assert 0 < max(under_way) <= 800
    assert len(set(under_way)) > 2
    assert under_way[-1] == 0


# A machine without a network has no address but its own.
@pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP")
def test_workers_that_come_late_are_given_slides_too() -> None:
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=0, threads_per_worker=3, processes=False, dashboard_address=":0"
        ) as local,
        Client(local, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        wanted = cluster._Wanted(client)
        # Without any worker the scheduler has something to give to the first.
        assert wanted.tasks() == cluster._AHEAD
        local.scale(2)
        client.wait_for_workers(2)
        deadline = time.monotonic() + 10
        while wanted.tasks() == cluster._AHEAD and time.monotonic() < deadline:
            time.sleep(0.1)
        assert wanted.tasks() == cluster._AHEAD * 6


def test_a_scheduler_that_dies_while_it_is_asked_is_told_of(
    tmp_path: Path, task_module: ModuleType
) -> None:
    with scheduler_in(tmp_path) as (address, scheduler):

        def stop_and_kill() -> None:
            scheduler.send_signal(signal.SIGSTOP)
            # By then it has been asked for its threads, and owes the answer.
            time.sleep(3 * POLL_SECONDS)
            scheduler.kill()

        # No worker is there, so the one task waits.
        killer = threading.Timer(POLL_SECONDS, stop_and_kill)
        killer.start()
        reports = cluster.run_on_cluster(
            task_module.run, [Task("a", ("tiles", 1))], RunnerConfig(), address, lambda _: None
        )
        with pytest.raises(ConfigError, match=f"lost the Dask scheduler at {address}"):
            next(reports)
        killer.join()


def test_no_scheduler_is_one_clear_error(
    tmp_path: Path, task_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    runner = RunnerConfig(scheduler="tcp://127.0.0.1:9")
    with (
        Ledger(tmp_path) as ledger,
        pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
    ):
        run_over_slides(
            task_module.run, [Task("a", ("tiles", 1))], ledger=ledger, runner=runner, title="test"
        )
