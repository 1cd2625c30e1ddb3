import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.tissue import Polygon, contours


def redrawn(polygons: list[Polygon], shape: tuple[int, int], scale: int) -> NDArray[np.int64]:
    """Count how many polygons hold each pixel's centre, by OpenCV, at 4 points a pixel and axis."""
    count = np.zeros(shape, dtype=np.int64)
    for rings in polygons:
        piece = np.zeros((shape[0] * 4, shape[1] * 4), np.uint8)
        # Pixel centres of the fine image lie half a pixel inside of its borders.
        scaled = [(np.asarray(ring) * 4 / scale * 2 - 1).astype(np.int32) for ring in rings]
        cv2.fillPoly(piece, scaled, 1, shift=1)
        count += piece[2::4, 2::4]
    return count


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_rings_redraw_the_mask(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    polygons = contours(mask, 8.0)
    assert (redrawn(polygons, mask.shape, 8) == mask).all()
    for rings in polygons:
        for ring in rings:
            # Simple rectilinear rings: no corner twice, sides in turn along x and y.
            assert len(np.unique(ring, axis=0)) == len(ring) >= 4
            sides = np.roll(ring, -1, axis=0) - ring
            assert ((sides == 0).sum(axis=1) == 1).all()
            assert ((sides[::2] == 0) != (sides[1::2] == 0)).all()


def test_areas_of_rings_add_up_to_the_mask() -> None:
    mask = np.random.default_rng(3).random((40, 50)) < 0.6
    area = 0.0
    for outer, *holes in contours(mask, 2.0):
        area += cv2.contourArea(outer.astype(np.int32))
        area -= sum(cv2.contourArea(hole.astype(np.int32)) for hole in holes)
    assert area == 4 * mask.sum()


def test_holes_belong_to_the_area_around_them() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:51, 10:41] = True
    mask[20:31, 20:31] = False
    mask[23:28, 23:28] = True
    mask[5:16, 60:71] = True
    polygons = contours(mask, 1.0)
    assert sorted(len(rings) for rings in polygons) == [1, 1, 2]
    (outer, hole) = next(rings for rings in polygons if len(rings) == 2)
    assert outer.tolist() == [[10, 10], [41, 10], [41, 51], [10, 51]]
    assert hole.min(axis=0).tolist() == [20, 20]
    assert hole.max(axis=0).tolist() == [31, 31]


def test_pixels_that_touch_by_a_corner_are_polygons_of_their_own() -> None:
    assert len(contours(np.eye(3, dtype=bool), 1.0)) == 3
    # Two gaps that do so are two holes of one area.
    gaps = np.ones((4, 4), dtype=bool)
    gaps[1, 1] = gaps[2, 2] = False
    (rings,) = contours(gaps, 1.0)
    assert len(rings) == 3


@pytest.mark.parametrize("strip_px", [1, 90])
def test_strips_change_nothing(strip_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(5).random((30, 40)) < 0.6
    expected = contours(mask, 4.0)
    monkeypatch.setattr("wsi_specdec.tissue.outline._STRIP_PX", strip_px)
    found = contours(mask, 4.0)
    assert [[ring.tolist() for ring in rings] for rings in found] == [
        [ring.tolist() for ring in rings] for rings in expected
    ]


def test_level0_scale_and_dtype() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:8] = True
    ((ring,),) = contours(mask, 16.0)
    assert ring.dtype == np.int64
    assert ring.min(axis=0).tolist() == [48, 32]
    assert ring.max(axis=0).tolist() == [128, 80]


@pytest.mark.parametrize("downsample", [2.0, 4.0005])
def test_a_full_mask_is_its_border_and_an_empty_one_has_none(downsample: float) -> None:
    ((ring,),) = contours(np.ones((10, 20), bool), downsample)
    assert sorted(map(tuple, ring.tolist())) == [
        (0, 0), (0, round(10 * downsample)), (round(20 * downsample), 0),
        (round(20 * downsample), round(10 * downsample)),
    ]  # fmt: skip
    assert contours(np.zeros((10, 10), bool), downsample) == []


def test_more_areas_than_two_bytes_can_number_stay_apart() -> None:
    board = np.indices((370, 370)).sum(0) % 2 == 0
    polygons = contours(board, 1.0)
    assert len(polygons) == board.sum() > 1 << 16
    assert all(len(rings) == 1 and len(rings[0]) == 4 for rings in polygons)
