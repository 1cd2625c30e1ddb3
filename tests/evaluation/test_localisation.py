"""FROC of a cohort, from the labels and scores of its tiles."""

from pathlib import Path

import numpy as np
import pytest
from compared import BuildWorld

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig

RATES = (0.25, 0.5, 1, 2, 4, 8)


def internal(count: int) -> list[Slide]:
    return [Slide(f"s{r:02}", Path("x.tif"), f"p{r:02}", r % 2, "internal") for r in range(count)]


def test_froc_is_that_of_the_brightest_tiles(build_world: BuildWorld) -> None:
    """The fixture's slides are 4 by 3 tiles: with a reach of 3 each has one detection.

    The two tiles at the end of the last row have no known label.
    """
    world = build_world(internal(12), {"sd": 0.6})
    config = EvaluateConfig(bootstrap=100, detection_reach=3)
    found = world.results(config)["arms"]["sd"]["cohorts"]["internal"]["patch"]["froc"]
    hits, false = [], []
    for slide in world.slides:
        scores = world.tile_scores["sd", 0][slide.slide_id]
        label = world.stores[slide.slide_id].label
        best = int(np.argmax(scores))
        if label[best] == 1:
            hits.append(float(scores[best]))
        elif label[best] == 0:
            false.append(float(scores[best]))
    points = [(0.0, 0.0)]
    for threshold in sorted({*hits, *false}, reverse=True):
        x, y = (sum(s >= threshold for s in each) for each in (false, hits))
        points = [p for p in points if p[0] != x / 12] + [(x / 12, y / 6)]
    false_rates, sensitivities = np.array(points).T
    expected = np.mean(np.interp(RATES, false_rates, sensitivities))
    assert hits
    assert false
    assert found["value"] == pytest.approx(expected)
    # Six positive slides; the tiles 3 to 7 touch at a corner and are one lesion.
    assert found["n"] == 6
    assert found["ci_low"] <= found["value"] <= found["ci_high"]
    assert found["interval"].startswith("BCa")


def test_no_lesion_is_a_null_with_a_reason(build_world: BuildWorld) -> None:
    slides = [Slide(f"s{r}", Path("x.tif"), f"p{r}", 0, "internal") for r in range(4)]
    found = build_world(slides, {"sd": 1.0}).results()["arms"]["sd"]["cohorts"]["internal"]
    assert found["patch"]["froc"]["value"] is None
    assert found["patch"]["froc"]["reason"] == "there is no lesion"
    assert "froc" not in found["slide"]


def test_without_tile_labels_there_is_no_lesion(build_world: BuildWorld) -> None:
    world = build_world(internal(4), {"sd": 1.0})
    world.stores.clear()
    found = world.results()["arms"]["sd"]["cohorts"]["internal"]["patch"]["froc"]
    assert (found["value"], found["n"]) == (None, 0)
