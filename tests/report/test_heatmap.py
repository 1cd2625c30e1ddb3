"""Score maps fall where the tiles are, to the pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.report.heatmap import (
    colour_stops,
    colourise,
    outline,
    overlay,
    score_map,
    write_heatmap,
)
from wsi_specdec.report.images import read_rgb


def by_pixel_centres(
    coords: NDArray[np.int64], scores: NDArray[np.float64], tile: int, size: Size, scale: float
) -> NDArray[np.float32]:
    """Average, pixel by pixel, the tiles that hold the pixel's centre."""
    out = np.full((size.height, size.width), np.nan, np.float32)
    for row in range(size.height):
        for column in range(size.width):
            x, y = (column + 0.5) * scale, (row + 0.5) * scale
            held = (
                (coords[:, 0] <= x)
                & (x < coords[:, 0] + tile)
                & (coords[:, 1] <= y)
                & (y < coords[:, 1] + tile)
            )
            if held.any():
                out[row, column] = scores[held].mean()
    return out


def test_tiles_on_the_pixel_grid_are_placed_exactly() -> None:
    coords = np.array([[0, 0], [32, 16]])
    values = score_map(coords, np.array([0.25, 0.75]), 16, Size(6, 4), 8.0)
    expected = np.full((4, 6), np.nan, np.float32)
    expected[0:2, 0:2] = 0.25
    expected[2:4, 4:6] = 0.75
    np.testing.assert_array_equal(values, expected)
    assert values.dtype == np.float32


def test_overlapping_tiles_are_averaged() -> None:
    values = score_map(np.array([[0, 0], [8, 0]]), np.array([0.0, 1.0]), 16, Size(3, 2), 8.0)
    np.testing.assert_array_equal(values[0], np.array([0.0, 0.5, 1.0], np.float32))


@given(
    corners=st.lists(st.tuples(st.integers(-20, 90), st.integers(-20, 90)), min_size=1, max_size=8),
    tile=st.integers(7, 40),
    scale=st.sampled_from([1.0, 2.0, 3.3, 7.0]),
)
def test_placement_agrees_with_asking_each_pixel(
    corners: list[tuple[int, int]], tile: int, scale: float
) -> None:
    coords = np.array(corners, dtype=np.int64)
    scores = np.linspace(0, 1, len(corners))
    size = Size(15, 12)
    expected = by_pixel_centres(coords, scores, tile, size, scale)
    np.testing.assert_allclose(score_map(coords, scores, tile, size, scale), expected, atol=1e-6)


def test_neighbours_leave_no_gap_at_an_odd_downsample() -> None:
    coords = np.array([(x * 50, y * 50) for y in range(10) for x in range(10)])
    values = score_map(coords, np.ones(100), 50, Size(73, 73), 500 / 73)
    assert np.isfinite(values).all()


def test_each_axis_has_its_own_downsample() -> None:
    values = score_map(np.array([[40, 10]]), np.array([0.5]), 10, Size(10, 10), (10.0, 5.0))
    rows, columns = np.nonzero(np.isfinite(values))
    assert set(columns) == {4}
    assert set(rows) == {2, 3}


def test_tiles_smaller_than_a_pixel_are_averaged_under_their_centres() -> None:
    coords = np.array([[0, 0], [4, 0], [8, 0], [12, 4]])
    values = score_map(coords, np.array([0.0, 1.0, 0.5, 0.7]), 4, Size(2, 1), 8.0)
    np.testing.assert_allclose(values, [[0.5, 0.6]], atol=1e-6)


def test_unknown_scores_and_no_tiles_leave_the_map_empty() -> None:
    coords = np.array([[0, 0]])
    assert np.isnan(score_map(coords, np.array([np.nan]), 8, Size(2, 2), 4.0)).all()
    none = np.empty((0, 2), np.int64)
    assert np.isnan(score_map(none, np.empty(0), 8, Size(2, 2), 4.0)).all()


def test_higher_scores_are_darker_in_every_step() -> None:
    ramp = colourise(np.linspace(0, 1, 11)[None, :])
    lightness = cv2.cvtColor(ramp, cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) < 0).all()
    assert colour_stops(2) == [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in ramp[0, [0, -1]].tolist()]


def test_overlay_colours_only_tiles_and_greys_the_rest() -> None:
    thumbnail = np.full((4, 4, 3), (200, 100, 150), np.uint8)
    values = np.full((4, 4), np.nan, np.float32)
    values[0, 0] = 0.9
    drawn = overlay(thumbnail, values)
    without = np.isnan(values)
    assert np.ptp(drawn[without], axis=1).max() == 0
    assert np.ptp(drawn[0, 0]) > 50


def test_written_heatmap_covers_exactly_the_tiles(tmp_path: Path) -> None:
    thumbnail = np.full((50, 100, 3), 240, np.uint8)
    coords = np.array([[200, 100], [240, 100]])
    path = tmp_path / "deep" / "s.png"
    write_heatmap(path, thumbnail, Size(1000, 500), coords, np.array([0.0, 1.0]), 40)
    image = read_rgb(path)
    coloured = np.ptp(image.astype(int), axis=2) > 0
    expected = np.zeros((50, 100), bool)
    expected[10:14, 20:28] = True
    np.testing.assert_array_equal(coloured, expected)
    assert len(np.unique(image[10:14, 20:24].reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("scale", [1, 2])
def test_outline_follows_the_mask_and_keeps_the_inside(scale: int) -> None:
    thumbnail = np.full((100, 100, 3), 200, np.uint8)
    mask = np.zeros((100 * scale, 100 * scale), bool)
    mask[20 * scale : 60 * scale, 30 * scale : 70 * scale] = True
    drawn = outline(thumbnail, mask)
    changed = (drawn != thumbnail).any(axis=2)
    assert changed[20, 30:70].all()
    assert changed[59, 30:70].all()
    assert not changed[25:55, 35:65].any()
    assert not changed[:17].any()
    assert (thumbnail == 200).all()


def test_outline_of_nothing_draws_nothing() -> None:
    thumbnail = np.full((20, 20, 3), 200, np.uint8)
    np.testing.assert_array_equal(outline(thumbnail, np.zeros((40, 40), bool)), thumbnail)
