"""Figures of benchmarks/stain.py follow from its runs, and its crops are what they are called."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import stain_summary
from benchmarks.peers.stain_protocol import BATCH, StainJob
from benchmarks.run_stain import by_batches, fit_slide, prepare
from benchmarks.stain_colour import variation
from benchmarks.stain_crops import EXPECTED, MAKERS, crops_table, run_crops
from wsi_specdec.config import StainConfig
from wsi_specdec.stain import fit_pixels

Image = NDArray[np.uint8]


def a_run(arm: str, number: int, tiles_per_s: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    run = {"method": "macenko", "arm": arm, "round": number, "tiles_per_s": tiles_per_s}
    colours = {"means": 4.0, "distributions": 2.0}
    shared = {"tiles": 80, "failed_tiles": 0, "peak_mb": 200.0, "failure": "", "colours": colours}
    return {**run, **shared, **more}


def test_ratios_are_taken_within_a_round() -> None:
    runs = [a_run("torchstain numpy", i, base) for i, base in enumerate((100.0, 50.0, 200.0))]
    runs += [a_run("ours slide", i, speed) for i, speed in enumerate((3000.0, 2000.0, 2000.0))]
    runs.append(a_run("ours slide", 3, 1.0, failure="exit code 1"))
    rows = {row.arm: row for row in stain_summary.rows(runs)}
    assert rows["ours slide"].ratio == 30
    assert rows["torchstain numpy"].ratio == 1
    table = stain_summary.table(list(rows.values()), {"means": 9.0, "distributions": 5.0})
    assert "| macenko | ours slide | 30 |" in table


@pytest.mark.parametrize(("means", "status"), [(4.0, "PASS"), (4.1, "FAIL")])
def test_more_variation_than_torchstains_fails(means: float, status: str) -> None:
    mine = {"means": means, "distributions": 2.0}
    runs = [a_run("torchstain numpy", 0, 100), a_run("ours slide", 0, 5000, colours=mine)]
    targets = stain_summary.targets(stain_summary.rows(runs), {"macenko": 0.9995}, 0, 2)
    found = {target.name: target.status for target in targets}
    assert found["ours slide: variation of means over torchstain numpy"] == status
    assert found["ours slide: variation of means over torchstain numpy slide"] == "MISSING"
    assert found["macenko, every tile, over torchstain"] == "MISSING"
    assert found["crops with a wrong status"] == "FAIL"
    assert found["macenko, torch within one grey level"] == "PASS"


def test_variation_is_the_distance_of_mean_colours() -> None:
    tiles = np.empty((2, 16, 16, 3), np.uint8)
    tiles[0], tiles[1] = 100, 140
    centres = np.array([0, 1])
    apart = variation(tiles, tiles, centres)
    light = [0.424, 0.585]  # Of grey 100 and 140, CIE L* / 100.
    assert apart.means == pytest.approx(100 * (light[1] - light[0]) / 2, abs=0.2)
    assert apart.distributions == pytest.approx(100 * (light[1] - light[0]) / 3, abs=0.2)
    tiles[1] = 100
    assert math.isclose(variation(tiles, tiles, centres).means, 0, abs_tol=1e-9)


def test_batches_on_a_device_are_tiles_one_by_one(tissue_tiles: Image) -> None:
    tiles = np.tile(tissue_tiles[:4, :32, :32], (20, 1, 1, 1))
    centres = np.arange(len(tiles)) % 4 // 2
    job = StainJob(tiles, centres, tissue_tiles[5], "macenko", "torch")
    config = StainConfig(method="macenko")
    slides = [fit_slide(tiles[centres == slide], config) for slide in (0, 1)]
    assert {slide.status for slide in slides} == {"ok"}
    target = fit_pixels(job.target.reshape(-1, 3), config)
    one_by_one = prepare(job)
    assert not callable(one_by_one)
    expected = np.stack([f(tile) for f, tile in zip(one_by_one, tiles, strict=True)])
    together = by_batches([slides[centre] for centre in centres], target, torch.device("cpu"))
    assert len(tiles) > BATCH
    assert np.array_equal(together(tiles), expected)


def test_crops_of_every_kind_are_counted(tissue_tiles: Image) -> None:
    images = list(tissue_tiles[:2])
    assert set(MAKERS) == set(EXPECTED)
    found = run_crops(images, 60, seed=0)
    assert sum(found.crops.values()) == 60
    assert not found.broken
    assert sum(found.fits.values()) == sum(found.tiles.values()) == 180
    assert crops_table(found).count("\n") == len(found.crops) + 1
