"""Score grids put every tile on its own pixel, at its place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.report import Layout, layout_of, score_grid
from wsi_specdec.store import TileStore, TileStoreWriter, open_store


def layout(
    step: float, tile: int, corner: tuple[int, int] = (0, 0), downsample: float = 1.0
) -> Layout:
    return Layout("s", Size(5000, 4000), tile, step, downsample, corner, 0.5)


@pytest.mark.parametrize(
    ("step", "downsample", "corner"),
    [(64.0, 1.0, (0, 0)), (128.4, 4.0, (301, 77)), (50.3, 4.0007, (33, 9)), (32.0, 1.0, (5, 6))],
)
def test_tiles_come_back_where_they_were(
    step: float, downsample: float, corner: tuple[int, int]
) -> None:
    rows, columns = np.mgrid[2:22, 3:28]
    cells = np.stack([columns.ravel(), rows.ravel()], axis=1)
    keep = np.random.default_rng(0).random(len(cells)) < 0.6
    # Rounded to pixels of the level, then to those of level 0, as tiling does.
    exact = np.array(corner) + cells[keep] * step
    coords = np.rint(np.rint(exact / downsample) * downsample).astype(np.int64)
    scores = np.arange(len(coords)) / len(coords)
    grid = score_grid(coords, scores, layout(step, 64, corner, downsample))
    y, x = np.nonzero(np.isfinite(grid.values))
    assert np.array_equal(grid.values[y, x], scores.astype(np.float32))
    back = np.stack([x, y], axis=1) * grid.step + np.array(grid.origin)
    assert np.abs(back - coords).max() <= 1 + downsample
    assert grid.values.shape == tuple(np.ptp(cells[keep], axis=0)[::-1] + 1)


def test_an_imported_grid_may_start_anywhere() -> None:
    coords = np.array([[107, 203], [171, 203], [107, 267]])
    grid = score_grid(coords, np.array([0.1, 0.2, 0.3]), layout(64, 64))
    assert grid.origin == pytest.approx((107, 203))
    expected = np.array([[0.1, 0.2], [0.3, np.nan]], np.float32)
    np.testing.assert_array_equal(grid.values, expected)


def test_tiles_on_no_grid_are_averaged_over_squares() -> None:
    coords = np.array([[0, 0], [10, 0], [100, 0]])
    grid = score_grid(coords, np.array([0.2, 0.4, 1.0]), layout(64, 64))
    assert (grid.step, grid.origin) == (64, (0, 0))
    np.testing.assert_allclose(grid.values, [[0.3, np.nan, 1.0]], atol=1e-6)


def test_two_tiles_of_one_place_are_no_grid() -> None:
    coords = np.array([[0, 0], [1, 0], [64, 0]])
    grid = score_grid(coords, np.array([0.0, 1.0, 0.5]), layout(64, 64))
    assert np.nanmean(grid.values) == pytest.approx(0.5)


def test_no_tiles_are_an_empty_grid() -> None:
    grid = score_grid(np.empty((0, 2), np.int64), np.empty(0), layout(64, 64))
    assert grid.values.shape == (0, 0)


def store_with(path: Path, **attributes: Any) -> TileStore:  # noqa: ANN401
    given = {"slide_id": "s", "tile_size_level0_px": 257, **attributes}
    with TileStoreWriter(
        path, n_tiles=1, tile_size=64, codec="lossless", attributes=given
    ) as writer:
        writer.append(np.zeros((1, 64, 64, 3), np.uint8))
        one = np.ones(1)
        writer.finish(coords=np.zeros((1, 2), np.int64), tissue_fraction=one, label=one, quality={})
    return open_store(path)


def test_the_step_is_exact_although_the_tiles_side_is_rounded(tmp_path: Path) -> None:
    store = store_with(
        tmp_path / "s.zarr",
        level0_width=9000,
        level0_height=8000,
        bounds_x=30,
        bounds_y=40,
        mpp_level0=0.25,
        mpp_effective=1.0025,
        stride_px=48,
        read_size_px=128,
    )
    found = layout_of(store)
    assert found.step == pytest.approx(48 * 1.0025 / 0.25)
    assert found.read_downsample == pytest.approx(1.0025 / 0.25 / 2)
    assert (found.tile_size, found.mpp, found.level0) == (257, 0.25, Size(9000, 8000))
    assert found.bounds == Box(30, 40, 8970, 7960)


def test_a_store_that_says_little_has_tiles_side_by_side(tmp_path: Path) -> None:
    found = layout_of(store_with(tmp_path / "s.zarr", level0_width=900, level0_height=800))
    assert (found.step, found.corner, found.mpp) == (257, (0, 0), None)
    with pytest.raises(RunDirectoryError, match="does not state the slide's size"):
        layout_of(store_with(tmp_path / "t.zarr"))
