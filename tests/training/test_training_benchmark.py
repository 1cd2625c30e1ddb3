"""benchmarks/training.py sums up what it measured, keeps its targets, and runs."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import training
from benchmarks.training_data import Work, build, constant_batch, feed_for, files_of, task_for
from benchmarks.training_feeds import (
    CACHED,
    FOLDER,
    LIMIT,
    NETWORK,
    STORE,
    Way,
    folder_loader,
    rates,
)
from benchmarks.training_steps import Interval, median_interval, paired_seconds, peak_mb, variants
from wsi_specdec.store import decode_jpeg
from wsi_specdec.training.task import train_step

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
WORK = Work("test_resnet", 32, 4, "float32", 2)


def test_a_median_has_bounds_by_order() -> None:
    # Binomial (10, 1/2): 2 P(X < 2) = 0.021 and 2 P(X < 3) = 0.109, so the second of each end.
    assert median_interval([float(n) for n in range(10, 0, -1)]) == Interval(5.5, 2.0, 9.0)
    assert median_interval([3.0, 1.0, 2.0]) == Interval(2.0, 1.0, 3.0)
    assert median_interval([7.0]) == Interval(7.0, 7.0, 7.0)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [median_interval(rng.exponential(size=25).tolist()) for _ in range(400)]
    held = np.mean([one.low <= math.log(2) <= one.high for one in found])
    assert held > 0.93


def rates_of(store: float) -> dict[str, list[float]]:
    # The machine is half as fast in the second round, alike for all.
    rounds = np.array([1.0, 0.5, 1.0])
    speeds = {NETWORK: 110.0, LIMIT: 100.0, STORE: store, CACHED: 95.0, FOLDER: 50.0}
    return {name: (speed * rounds).tolist() for name, speed in speeds.items()}


@pytest.mark.parametrize(("store", "status"), [(90.5, "PASS"), (89.5, "FAIL")])
def test_ratios_are_taken_within_a_round(store: float, status: str) -> None:
    taken = rates_of(store)
    taken[STORE][0] *= 3
    found = training.rows(taken)
    by_name = {row.name: row for row in found}
    assert by_name[STORE].of_limit == Interval(store / 100, store / 100, 3 * store / 100)
    assert by_name[STORE].of_folder.median == pytest.approx(store / 50)
    assert by_name[LIMIT].of_network.median == pytest.approx(100 / 110)
    pairs = [{"sd": 1.005 * t, "plain": t} for t in (0.1, 0.2, 0.1)]
    steps = training.summed_steps(pairs, {"sd": 102.0, "plain": 100.0})
    assert steps.ratio.median == pytest.approx(1.005)
    checked = {target.name: target.status for target in training.targets(steps, found)}
    assert checked == {
        "a step's time, over plain cross-entropy": "PASS",
        "a step's peak memory, over plain": "FAIL",
        "from the store, of the in-memory limit": status,
        "from the cache, of the in-memory limit": "PASS",
    }
    text = training.table(steps, found)
    assert "| ratio | 1.0050 (1.0050 to 1.0050) | 1.0200 |" in text
    assert f"| {CACHED} | 95.0 | 0.950 " in text


def test_a_way_is_timed_in_every_round_but_the_first() -> None:
    called: list[str] = []
    found = [Way(name, lambda name=name: called.append(name)) for name in "abc"]  # type: ignore[misc]
    taken = rates(WORK, found, CPU, rounds=3)
    assert {name: len(values) for name, values in taken.items()} == dict.fromkeys("abc", 3)
    assert [sorted(called[i : i + 3]) for i in range(0, 12, 3)] == [list("abc")] * 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], Work("resnet10t", 96, 64, "float32", 8)),
        (["--batch", "8", "--precision", "bfloat16"], Work("resnet10t", 96, 8, "bfloat16", 8)),
    ],
)
def test_work_is_the_devices_unless_told_otherwise(given: list[str], expected: Work) -> None:
    assert training.work_of(training.parse(["--out", "x", *given]), CPU) == expected
    assert training.WORK["cuda"].batch == 256


def test_all_ways_see_the_same_tiles_and_steps(tmp_path: Path) -> None:
    data = build(tmp_path, WORK)
    task = task_for(WORK, data, CPU)
    tiles = data.train
    assert (len(tiles), np.bincount(tiles.label).tolist()) == (8, [4, 4])
    # Of the files, each class holds the JPEGs of its own stores.
    files = sorted(files_of(data).rglob("*.jpg"))
    out = np.empty((32, 32, 3), np.uint8)
    for path, row in zip(files, np.lexsort((tiles.store_index, tiles.label)), strict=True):
        decode_jpeg(path.read_bytes(), out)
        read = tiles.stores[tiles.store_index[row]].read([tiles.tile_index[row]])[0]
        np.testing.assert_array_equal(out, read)
        assert path.parent.name == str(tiles.label[row])
    loaded = list(folder_loader(WORK, task, data, 0))
    assert [tuple(pixels.shape) for pixels, _ in loaded] == [(4, 3, 32, 32)] * 2
    for cached in (True, False):
        with feed_for(task, data, cached=cached) as feed:
            assert (feed.source._cache is not None) == cached
    # The steps differ in the penalty alone.
    batch = constant_batch(WORK, data, CPU)
    reports = {kind: train_step(v, batch, 0.0) for kind, v in variants(task).items()}
    assert reports["sd"][1] == reports["plain"][0] == reports["plain"][1]
    assert reports["plain"][2] == 0 < reports["sd"][2]
    assert reports["sd"][0] == pytest.approx(float(reports["sd"][1] + reports["sd"][2]))
    pairs = paired_seconds(task, batch, 2)
    assert [set(pair) for pair in pairs] == [{"sd", "plain"}] * 2
    assert all(seconds > 0 for pair in pairs for seconds in pair.values())
    peaks = peak_mb(task, batch)
    # Activations, and gradients of all weights.
    assert peaks["plain"] > sum(p.nbytes for p in task.module.parameters()) / 1e6
    assert peaks["sd"] == pytest.approx(peaks["plain"], rel=1e-3)
    before = {path: path.stat().st_mtime_ns for path in files}
    build(tmp_path, WORK)
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.training", "--out", str(tmp_path)]
    command += ["--device", "cpu", "--model", "test_resnet", "--tile", "32", "--batch", "8"]
    command += ["--steps", "2", "--rounds", "1", "--pairs", "3"]
    done = subprocess.run(
        [*command, "--workers", "1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    record = json.loads((tmp_path / "training.json").read_text())
    assert [row["name"] for row in record["rows"]] == [NETWORK, LIMIT, STORE, CACHED, FOLDER]
    assert all(len(values) == 1 for values in record["patches_per_s"].values())
    assert record["step"]["peak_mb"].keys() == {"sd", "plain"}
    assert len(record["step"]["pairs"]) == 3
    assert record["settings"]["batch"] == 8
    for target in record["targets"]:
        assert f"{target['status']:<8}{target['name']}" in done.stdout
    assert (tmp_path / "table.md").read_text().strip() in done.stdout
