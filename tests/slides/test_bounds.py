"""The scanned part of a slide: a Leica SCN, written as Leica's own program does."""

from pathlib import Path

import numpy as np
import pytest
from leica import write_leica
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import open_slide, read_overview

Image = NDArray[np.uint8]


@pytest.fixture
def scanned(image: Image) -> Image:
    return image[:384, :256]


def test_bounds_are_where_the_pixels_lie(tmp_path: Path, scanned: Image) -> None:
    place = Box(300, 500, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "brightfield")
    with open_slide(path) as slide:
        info = slide.info
        assert (info.vendor, info.scanner, info.objective_power) == ("leica", "Leica SCN400", 20)
        assert info.level_sizes[0] == Size(1000, 2000)
        assert info.bounds == place
        assert not info.fluorescence
        at_bounds = slide.read_region(place.x, place.y, 0, Size(place.width, place.height))
        assert np.array_equal(at_bounds, scanned)
        coarse = slide.read_region(place.x, place.y, 1, Size(128, 192))
        assert np.array_equal(coarse, scanned[::2, ::2])
        around = slide.read_region(place.x - 10, place.y - 10, 0, Size(276, 404))
        assert np.array_equal(around[10:-10, 10:-10], scanned)
        around[10:-10, 10:-10] = 255
        assert (around == 255).all()


def test_an_overview_shows_the_whole_slide(tmp_path: Path, scanned: Image) -> None:
    place = Box(300, 500, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "brightfield")
    with open_slide(path) as slide:
        overview, downsample = read_overview(slide, 1000, None)
    assert (overview.shape, downsample) == ((1000, 500, 3), 2)
    assert np.array_equal(overview[250:442, 150:278], scanned[::2, ::2])
    assert (overview[:250] == 255).all()


def test_a_leica_slide_says_that_it_is_fluorescence(tmp_path: Path, scanned: Image) -> None:
    place = Box(0, 0, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "fluorescence")
    with open_slide(path) as slide:
        assert slide.info.fluorescence
