"""Scoring spread over processes gives what one process gives."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from programs import run_group

from wsi_specdec.config import RunnerConfig, ScoreConfig, TileConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.runner import read_ledger
from wsi_specdec.scoring.spread import Ranks
from wsi_specdec.steps.score import score_folder, score_slides
from wsi_specdec.store import TileStore, read_embeddings, read_scores

MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]
MakeSlide = Callable[..., Path]
CONFIG = ScoreConfig(device="cpu", batch_size=16, embeddings=True)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as local:
        yield local.scheduler_address


def assert_equal(ours: Path, theirs: Path, slides: set[str]) -> None:
    """Compare scores and embeddings, bit by bit: batches are made of the same tiles."""
    assert {path.stem for path in theirs.glob("*.parquet")} == slides
    for name in slides:
        got, expected = (read_scores(out / f"{name}.parquet") for out in (ours, theirs))
        assert len(expected) > 0
        assert got.equals(expected)
        first, second = (
            read_embeddings(out.parent / "embeddings" / f"{name}.zarr") for out in (ours, theirs)
        )
        assert (first == second).all()


@pytest.mark.slow
def test_two_dask_workers_score_as_one_process_does(
    tmp_path: Path,
    make_model: MakeModel,
    make_store: MakeStore,
    make_slide: MakeSlide,
    address: str,
) -> None:
    names = {"a", "b", "c", "d"}
    for name in names:
        make_store(name, 20)
    slides = make_slide("s").parent
    make_slide("t", seed=1)
    (slides / "u.tif").write_bytes(b"II*\0")
    models = [make_model(0, "m0"), make_model(1, "m1")]
    runner = RunnerConfig(scheduler=address)
    tiles, tile = tmp_path / "tiles", TileConfig()
    one, two = tmp_path / "one" / "scores", tmp_path / "two" / "scores"
    assert score_folder(tiles, models, one, CONFIG).ok
    assert score_folder(tiles, models, two, CONFIG, runner).ok
    assert_equal(two, one, names)
    assert {row.state for row in read_ledger(two)} == {"done"}
    one, two = tmp_path / "three" / "scores", tmp_path / "four" / "scores"
    summaries = [
        score_slides(slides, models, one, tile, CONFIG),
        score_slides(slides, models, two, tile, CONFIG, runner),
    ]
    assert [summary.counts["failed"] for summary in summaries] == [1, 1]
    assert_equal(two, one, {"s", "t"})
    # Nothing is left to do.
    before = {path: path.stat().st_mtime_ns for path in two.glob("*.parquet")}
    score_slides(slides, models, two, tile, CONFIG, runner)
    assert {path: path.stat().st_mtime_ns for path in two.glob("*.parquet")} == before


# What torchrun does, with torch imported once: two processes that know their places.
TORCHRUN = """
import os, socket, sys
import timm
import wsi_specdec.steps.score
from wsi_specdec.cli import main
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = str(probe.getsockname()[1])
children = []
for rank in ("0", "1"):
    child = os.fork()
    if not child:
        os.environ.update(
            RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        code = 3
        try:
            main()
        except SystemExit as left:
            code = left.code
        finally:
            os._exit(code)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.slow
def test_processes_of_torchrun_share_the_slides(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    names = {"a", "b", "c"}
    for name in names:
        make_store(name, 5)
    # The second process's slide is damaged: the first one must live to score its own.
    shard = next((tmp_path / "tiles" / "b.zarr" / "tiles").glob("c/*/*/*/*"))
    shard.write_bytes(shard.read_bytes()[:50])
    model = make_model()
    config = CONFIG.model_copy(update={"embeddings": False})
    alone = score_folder(tmp_path / "tiles", [model], tmp_path / "one" / "scores", config)
    out = tmp_path / "two" / "scores"
    done = run_group(
        [
            *(sys.executable, "-c", TORCHRUN, "score", "--tiles", tmp_path / "tiles"),
            *("--model", model, "--out", out, "--batch-size", "16", "--device", "cpu", "--quiet"),
        ],
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout == "[1, 1]\n", done.stderr
    assert done.stderr.count("failed b:") == 1
    assert {row.slide_id: row.state for row in read_ledger(out)} == {
        "a": "done",
        "b": "failed",
        "c": "done",
    }
    assert alone.counts["failed"] == 1
    for name in ("a", "c"):
        expected = read_scores(tmp_path / "one" / "scores" / f"{name}.parquet")
        assert read_scores(out / f"{name}.parquet").equals(expected)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_slide_is_some_processs(count: int) -> None:
    items = list(range(5))
    shares = [Ranks(rank, count).share(items) for rank in range(count)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_reads_its_place_from_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert Ranks.here() == Ranks(0, 1, 0, 1)
    for name, value in zip(names, "5824", strict=True):
        monkeypatch.setenv(name, value)
    assert Ranks.here() == Ranks(5, 8, 2, 4)
    assert Ranks.here().placed(CONFIG) == CONFIG


def test_no_scheduler_is_one_clear_error(
    tmp_path: Path,
    make_model: MakeModel,
    make_store: MakeStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_store("a", 1)
    monkeypatch.setattr("wsi_specdec.runner.cluster._CONNECT_SECONDS", 1)
    runner = RunnerConfig(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        score_folder(tmp_path / "tiles", [make_model()], tmp_path / "scores", CONFIG, runner)
