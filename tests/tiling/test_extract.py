"""Pixels by the slide's library; see test_paths.py for the faster ways."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, ReadPlan, level_box, plan_reading
from wsi_specdec.slides import SlideReader, open_slide
from wsi_specdec.tiling import extract, grid_coords, read_tiles

Image = NDArray[np.uint8]


def plan_for(slide: SlideReader, mpp: float | None, size: int, overlap: int = 0) -> ReadPlan:
    return plan_reading(
        mpp_level0=slide.info.mpp,
        level_downsamples=slide.info.level_downsamples,
        mpp=mpp,
        tile_size_px=size,
        overlap_px=overlap,
        tolerance=0.02,
    )


def grid_for(slide: SlideReader, plan: ReadPlan) -> NDArray[np.int64]:
    sizes = slide.info.level_sizes
    area = level_box(slide.info.bounds, sizes[0], sizes[plan.level], plan.downsample)
    return grid_coords(area, plan.read_size_px, plan.step_px, plan.downsample)


def read_all(slide: SlideReader, coords: NDArray[np.int64], plan: ReadPlan) -> Image:
    return np.concatenate(list(read_tiles(slide, coords, plan, pixel_path="read_region")))


@pytest.mark.parametrize("overlap", [0, 20])
def test_level0_tiles_are_the_files_pixels(
    overlap: int, make_slide: Callable[..., Path], image: Image
) -> None:
    with open_slide(make_slide()) as slide:
        plan = plan_for(slide, None, 96, overlap)
        coords = grid_for(slide, plan)
        # Gaps in rows, as a tissue mask leaves them.
        coords = coords[np.random.default_rng(0).random(len(coords)) < 0.7]
        tiles = read_all(slide, coords, plan)
    assert (tiles == np.stack([image[y : y + 96, x : x + 96] for x, y in coords])).all()


def test_a_level_of_the_target_mpp_is_taken_as_it_is(
    make_slide: Callable[..., Path], image: Image
) -> None:
    with open_slide(make_slide()) as slide:
        plan = plan_for(slide, 1.0, 64)
        coords = grid_for(slide, plan)
        tiles = read_all(slide, coords, plan)
    assert (plan.level, plan.read_size_px) == (1, 64)
    half = cv2.resize(image, (512, 384), interpolation=cv2.INTER_AREA)
    expected = [half[y // 2 : y // 2 + 64, x // 2 : x // 2 + 64] for x, y in coords]
    assert (tiles == np.stack(expected)).all()


def test_between_levels_the_finer_is_averaged_by_area(
    make_slide: Callable[..., Path], image: Image
) -> None:
    with open_slide(make_slide(levels=1)) as slide:
        plan = plan_for(slide, 2.0, 32)
        coords = grid_for(slide, plan)
        tiles = read_all(slide, coords, plan)
    assert (plan.level, plan.read_size_px, plan.tile_size_level0_px) == (0, 128, 128)
    means = image.reshape(768 // 4, 4, 256, 4, 3).mean(axis=(1, 3))
    expected = np.stack([means[y // 4 : y // 4 + 32, x // 4 : x // 4 + 32] for x, y in coords])
    assert np.abs(tiles - expected).max() <= 0.5


def test_very_large_regions_are_averaged_in_strips(
    make_slide: Callable[..., Path], image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_WHOLE_PX", 256)
    monkeypatch.setattr(extract, "_BLOCK_PX", 64)
    monkeypatch.setattr(extract, "_STRIP_AREA_PX", 20_000)
    with open_slide(make_slide(levels=1)) as slide:
        plan = plan_for(slide, 12.0, 16)
        coords = grid_coords(Box(0, 0, 1024, 768), 384, 384, 1.0)
        tiles = read_all(slide, coords, plan)
    assert plan.read_size_px == 384
    expected = [
        image[y : y + 384, x : x + 384].reshape(16, 24, 16, 24, 3).mean(axis=(1, 3))
        for x, y in coords
    ]
    assert np.abs(tiles - np.stack(expected)).max() <= 1.5


def test_regions_read_at_once_are_bounded(
    make_slide: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_BLOCK_PX", 300)
    with open_slide(make_slide()) as slide:
        plan = plan_for(slide, None, 64)
        coords = grid_coords(Box(0, 0, 1024, 64), 64, 64, 1.0)
        counts = [len(batch) for batch in read_tiles(slide, coords, plan)]
    assert counts == [4, 4, 4, 4]


def test_no_tiles_give_no_batches(make_slide: Callable[..., Path]) -> None:
    with open_slide(make_slide()) as slide:
        none = np.empty((0, 2), np.int64)
        assert list(read_tiles(slide, none, plan_for(slide, None, 64))) == []
