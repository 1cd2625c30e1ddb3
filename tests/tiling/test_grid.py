import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.geometry import Box, Size, level_box
from wsi_specdec.tiling import grid_coords
from wsi_specdec.tiling.grid import level_corners


@given(
    x=st.integers(0, 50),
    y=st.integers(0, 50),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(1, 60),
    stride=st.integers(1, 60),
)
def test_tiles_lie_within_bounds_in_order_and_none_is_missing(
    x: int, y: int, width: int, height: int, size: int, stride: int
) -> None:
    found = grid_coords(Box(x, y, width, height), size, stride, 1.0).tolist()
    expected = [
        [x + column * stride, y + row * stride]
        for row in range(300)
        for column in range(300)
        if column * stride + size <= width and row * stride + size <= height
    ]
    assert found == expected


def test_a_slide_smaller_than_a_tile_has_none() -> None:
    coords = grid_coords(Box(0, 0, 255, 1000), 256, 256, 1.0)
    assert coords.shape == (0, 2)
    assert coords.dtype == "int64"


@given(
    downsample=st.floats(1.0, 64.0),
    size=st.integers(1, 600),
    overlap=st.floats(0, 0.9),
    width=st.integers(1, 30_000),
)
def test_a_downsample_that_is_not_whole_adds_up_no_error(
    downsample: float, size: int, overlap: float, width: int
) -> None:
    step = max(1.0, size * (1 - overlap))
    coords = grid_coords(Box(7, 0, width, size), size, step, downsample)
    corners = level_corners(coords, downsample)
    # Every corner is the whole pixel of the level nearest to its place, and survives rounding.
    expected = 7 + np.rint(np.arange(len(coords)) * step)
    assert corners[:, 0].tolist() == expected.tolist()
    assert np.abs(coords[:, 0] - corners[:, 0] * downsample).max(initial=0) <= 0.5
    assert (corners[:, 0] + size <= 7 + width).all()
    assert len(coords) == max(0, math.floor((width - size) / step) + 1)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        # Of the whole slide: the whole level, though 46,000 / 4.00012 is 11,499.6.
        (Box(0, 0, 46_000, 32_914), Box(0, 0, 11_500, 8_228)),
        (Box(10, 8, 1_000, 1_000), Box(3, 2, 249, 249)),
        (Box(45_000, 0, 1_000, 2), Box(11_250, 0, 250, 0)),
    ],
)
def test_the_scanned_part_of_a_level(bounds: Box, expected: Box) -> None:
    level = Size(11_500, 8_228)
    assert level_box(bounds, Size(46_000, 32_914), level, 4.00012) == expected
