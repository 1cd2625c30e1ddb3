"""Every tile shows its own part of the slide, whatever levels the slide has."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leica import write_leica
from numpy.typing import NDArray
from tiff_slides import write_slide
from viewed import GLASS, PLACE, tissue

from wsi_specdec.geometry import Size
from wsi_specdec.slides import SlideReader, open_slide, read_overview
from wsi_specdec.viewer import pyramid as module
from wsi_specdec.viewer.pyramid import Place, Pyramid, render

SIZES = st.builds(Size, st.integers(1, 200_000), st.integers(1, 200_000))


@given(size=SIZES, tile=st.sampled_from([64, 256, 512]), data=st.data())
def test_tiles_of_a_level_cover_the_slide_once(size: Size, tile: int, data: st.DataObject) -> None:
    pyramid = Pyramid(size, tile)
    level = data.draw(st.integers(0, pyramid.top))
    step = tile * pyramid.scale(level)
    columns, rows = -(-size.width // step), -(-size.height // step)
    # Along the edges, since all others are whole.
    top = [pyramid.box(Place(level, column, 0)) for column in range(columns)][-50:]
    left = [pyramid.box(Place(level, 0, row)) for row in range(rows)][-50:]
    assert all(a.x + a.width == b.x for a, b in pairwise(top))
    assert all(a.y + a.height == b.y for a, b in pairwise(left))
    assert top[-1].x + top[-1].width == size.width
    assert left[-1].y + left[-1].height == size.height
    assert pyramid.holds(Place(level, columns - 1, rows - 1))
    for outside in (Place(level, columns, 0), Place(level, 0, rows), Place(level, -1, 0)):
        assert not pyramid.holds(outside)
    assert not pyramid.holds(Place(pyramid.top + 1, 0, 0))
    assert not pyramid.holds(Place(-1, 0, 0))


@given(size=SIZES)
def test_the_coarsest_level_is_one_tile_and_the_finest_the_slides_own(size: Size) -> None:
    pyramid = Pyramid(size, 256)
    assert pyramid.scale(pyramid.top) == 1
    assert not pyramid.holds(Place(0, 1, 0))
    assert not pyramid.holds(Place(0, 0, 1))
    whole = pyramid.size(Place(0, 0, 0))
    assert max(whole.width, whole.height) <= 256
    assert pyramid.top == 0 or max(whole.width, whole.height) > 127


def whole_level(reader: SlideReader, pyramid: Pyramid, level: int) -> NDArray[np.uint8]:
    """Join all tiles of a level."""
    overview = read_overview(reader, module.OVERVIEW_PX, None)
    rows: list[NDArray[np.uint8]] = []
    row = 0
    while pyramid.holds(Place(level, 0, row)):
        tiles: list[NDArray[np.uint8]] = []
        while pyramid.holds(place := Place(level, len(tiles), row)):
            tiles.append(render(reader, pyramid, place, lambda: overview))
            size = pyramid.size(place)
            assert tiles[-1].shape == (size.height, size.width, 3)
        rows.append(np.concatenate(tiles, axis=1))
        row += 1
    return np.concatenate(rows)


def averaged(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    """Average whole squares of pixels."""
    height, width = (side // factor for side in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].astype(np.float64)
    found: NDArray[np.float64] = blocks.reshape(height, factor, width, factor, 3).mean((1, 3))
    return found


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Paint something without fine detail, whose averages depend little on edges of pixels."""
    noise = np.random.default_rng(6).integers(90, 250, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("downsamples", [(1,), (1, 4), (1, 2, 4, 8), (1, 3)])
def test_every_level_is_the_slide_averaged(tmp_path: Path, downsamples: tuple[int, ...]) -> None:
    # Edges of a third's pixels are not those of ours.
    exact = 3 not in downsamples
    pixels = tissue(768, 1152, 5) if exact else smooth(768, 1152)
    with open_slide(write_slide(tmp_path / "s.tif", pixels, downsamples=downsamples)) as reader:
        pyramid = Pyramid(Size(1152, 768), 64)
        assert pyramid.top == 5
        for level in range(pyramid.top + 1):
            found = whole_level(reader, pyramid, level).astype(np.float64)
            expected = averaged(pixels, pyramid.scale(level))
            assert found.shape[:2] == (
                -(-768 // pyramid.scale(level)),
                -(-1152 // pyramid.scale(level)),
            )
            error = np.abs(found[: expected.shape[0], : expected.shape[1]] - expected)
            assert error.max() <= 1.01 if exact else error.mean() < 0.6, (level, error.mean())


def test_a_slide_of_one_level_is_never_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coarse tiles come from the overview, and those between it and level 0 are joined.
    monkeypatch.setattr(module, "OVERVIEW_PX", 32)
    pixels = smooth(1024, 1536)
    with open_slide(write_slide(tmp_path / "s.tif", pixels)) as reader:
        pyramid = Pyramid(Size(1536, 1024), 32)
        read: list[int] = []
        inner = reader.read_region

        def counted(x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
            read.append(size.area)
            return inner(x, y, level, size)

        for level in range(pyramid.top + 1):
            reader.read_region = counted  # type: ignore[method-assign]
            overview = read_overview(reader, module.OVERVIEW_PX, None)
            read.clear()
            tile = render(reader, pyramid, Place(level, 0, 0), lambda: overview)  # noqa: B023
            scale = pyramid.scale(level)
            side = 32 * scale
            expected = averaged(pixels[:side, :side], scale)
            error = np.abs(tile[: expected.shape[0], : expected.shape[1]] - expected)
            # Edges of the overview's pixels are not those of ours.
            assert error.mean() < 2.5, (level, error.mean())
            assert max(read, default=0) <= (32 * 8) ** 2


def test_tiles_count_from_the_slides_corner_not_the_scanned_areas(tmp_path: Path) -> None:
    scanned = tissue(PLACE.height, PLACE.width, 7)
    with open_slide(write_leica(tmp_path / "s.scn", scanned, GLASS, PLACE)) as reader:
        found = whole_level(reader, Pyramid(GLASS, 256), Pyramid(GLASS, 256).top)
    expected = np.full((GLASS.height, GLASS.width, 3), 255, np.uint8)
    expected[PLACE.y : PLACE.y + PLACE.height, PLACE.x : PLACE.x + PLACE.width] = scanned
    np.testing.assert_array_equal(found, expected)
