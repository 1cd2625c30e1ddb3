"""Tiling on Dask, started as docs/cluster.md says: by hand, and by the SLURM example."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.typing import NDArray
from programs import is_running, run_group, scheduler_in, started, until

from benchmarks.measuring import descendants
from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner import read_ledger
from wsi_specdec.store import find_stores, open_store

pytestmark = pytest.mark.slow

MakeSlide = Callable[..., Path]
SETTINGS = ("--mpp", "0.5", "--tile-size", "64", "--codec", "lossless")
SECONDS = 120


@pytest.fixture
def slides(tmp_path: Path, make_slide: MakeSlide) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for number in range(8):
        make_slide(folder / f"slide-{number}.tif")
    return folder


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    with scheduler_in(tmp_path) as (address, _):
        yield address


def worker_of(scheduler: str) -> tuple[str, ...]:
    return ("dask", "worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard")


def tile(slides: Path, out: Path, *more: str) -> tuple[str, ...]:
    return ("wsi_specdec", "tile", str(slides), "--out", str(out), *SETTINGS, *more)


def arrays(out: Path) -> dict[str, list[NDArray[Any]]]:
    found: dict[str, list[NDArray[Any]]] = {}
    for slide_id, path in find_stores(out).items():
        store = open_store(path)
        pixels = store.read(np.arange(store.n_tiles))
        found[slide_id] = [pixels, store.coords, store.tissue_fraction, store.label]
    return found


def assert_equal_to_one_process(slides: Path, out: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    with started(*tile(slides, alone, "--workers", "1"), cwd=tmp_path) as run:
        assert run.wait(SECONDS) == 0
    expected, found = arrays(alone), arrays(out)
    assert list(found) == list(expected)
    for slide_id, values in expected.items():
        assert len(values[0]) > 0
        for ours, theirs in zip(found[slide_id], values, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_of_two_cluster_workers_one_killed_on_a_slide(
    tmp_path: Path, slides: Path, scheduler: str
) -> None:
    out = tmp_path / "out"
    with (
        started(*worker_of(scheduler), cwd=tmp_path) as victim,
        started(*worker_of(scheduler), cwd=tmp_path),
        Client(scheduler, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        assert until(lambda: len(client.nthreads()) == 2)
        address = next(a for a, pid in client.run(os.getpid).items() if pid == victim.pid)
        with started(*tile(slides, out, "--scheduler", scheduler), cwd=tmp_path) as run:
            # In the middle of the run, and while a process of its own is at work for the victim.
            assert until(lambda: (out / "ledger.jsonl").exists() and len(read_ledger(out)) >= 2)
            assert until(lambda: bool(client.processing()[address]))
            own = descendants(victim.pid)[1:]
            victim.kill()
            assert len(read_ledger(out)) < 8
            assert run.wait(SECONDS) == 0
        assert own
        assert until(lambda: not any(is_running(pid) for pid in own))
        assert len(client.nthreads()) == 1
    assert [row.state for row in read_ledger(out)] == ["done"] * 8
    assert_equal_to_one_process(slides, out, tmp_path)


def test_a_scheduler_that_dies_is_told_of_and_the_run_resumes_without(
    tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dask tries half a minute to find its scheduler again.
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "5s")
    out = tmp_path / "out"
    with (
        scheduler_in(tmp_path) as (address, process),
        started(*worker_of(address), cwd=tmp_path),
        started(*tile(slides, out, "--scheduler", address), cwd=tmp_path) as run,
    ):
        assert until(lambda: (out / "ledger.jsonl").exists() and len(read_ledger(out)) >= 2)
        process.kill()
        assert run.wait(SECONDS) == 2
    assert f"lost the Dask scheduler at {address}" in (tmp_path / "log.txt").read_text()
    assert 2 <= len(read_ledger(out)) < 8
    with started(*tile(slides, out), cwd=tmp_path) as run:
        assert run.wait(SECONDS) == 0
    assert [row.state for row in read_ledger(out)] == ["done"] * 8


def test_the_slurm_example_runs_on_one_machine(
    tmp_path: Path, slides: Path, repository: Path
) -> None:
    out = tmp_path / "out"
    done = run_group(
        ["bash", "pipelines/slurm/tile.sbatch", *tile(slides, out)[1:]],
        cwd=repository,
        timeout=SECONDS,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "CLUSTER_OPTIONS": "--local --jobs 2 --slides-per-job 1",
        },
    )
    assert done.returncode == 0, done.stderr
    assert [row.state for row in read_ledger(out)] == ["done"] * 8


# A machine without a network has no address but its own.
@pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP")
def test_slurm_jobs_ask_for_what_their_slides_take(repository: Path) -> None:
    path = repository / "pipelines/slurm/on_slurm.py"
    spec = importlib.util.spec_from_file_location("on_slurm", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    arguments = "--slides-per-job 4 --cpus-per-slide 2 --partition short -- tile slides --out run"
    options = example._parser().parse_args(arguments.split())
    assert options.command == ["tile", "slides", "--out", "run"]
    settings = example.slurm_settings(options)
    assert (settings["cores"], settings["job_cpu"], settings["processes"]) == (4, 8, 1)
    memory_mb = 4 * (RunnerConfig().memory_limit_mb or 0) + 1024
    assert settings["memory"] == f"{memory_mb:.0f}MiB"
    pytest.importorskip("dask_jobqueue", reason="the extra slurm is not installed")
    with example.start_cluster(options) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p short" in script
    assert "#SBATCH --cpus-per-task=8" in script
    assert "#SBATCH --mem=17G" in script
    assert "--nthreads 4" in script
