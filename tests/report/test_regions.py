"""Called regions are exactly the union of the called tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from wsi_specdec.report import called_regions, regions
from wsi_specdec.report.regions import CalledRegion

SIDE = 4


def drawn(rings: tuple[NDArray[np.int64], ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill rectilinear rings by the even-odd rule, pixel by pixel."""
    mask = np.zeros(shape, np.bool_)
    for ring in rings:
        for (x, y), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x == x2:
                mask[min(y, y2) : max(y, y2), x:] ^= True
    return mask


def tiles_of(coords: NDArray[np.int64], side: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    for x, y in coords:
        mask[y : y + side, x : x + side] = True
    return mask


def found(coords: list[tuple[int, int]], scores: list[float] | None = None) -> list[CalledRegion]:
    values = np.ones(len(coords)) if scores is None else np.array(scores)
    return called_regions(np.array(coords, np.int64), values, SIDE, 0.5)


def test_neighbours_are_one_region_and_corners_do_not_join() -> None:
    (region,) = found([(8, 4), (12, 4), (12, 8)], [0.6, 0.9, 0.5])
    assert (region.tiles, region.max_score) == (3, 0.9)
    assert region.mean_score == pytest.approx(2 / 3)
    assert region.area_px == 3 * 16
    expected = [[8, 4], [16, 4], [16, 12], [12, 12], [12, 8], [8, 8]]
    assert sorted(region.rings[0].tolist()) == sorted(expected)
    assert len(found([(0, 0), (4, 4)])) == 2


def test_a_gap_in_the_middle_is_a_hole() -> None:
    around = [(x, y) for x in (0, 4, 8) for y in (0, 4, 8) if (x, y) != (4, 4)]
    (region,) = found(around)
    assert len(region.rings) == 2
    assert region.area_px == 8 * 16
    assert sorted(region.rings[1].tolist()) == [[4, 4], [4, 8], [8, 4], [8, 8]]


def test_the_threshold_itself_is_called_and_nan_is_not() -> None:
    assert [r.tiles for r in found([(0, 0), (20, 0), (40, 0)], [0.5, 0.4999, np.nan])] == [1]
    assert found([(0, 0)], [0.1]) == []
    assert found([]) == []


def test_the_highest_score_comes_first() -> None:
    assert [r.max_score for r in found([(0, 0), (20, 0), (40, 0)], [0.6, 0.9, 0.7])] == [
        0.9,
        0.7,
        0.6,
    ]


@pytest.mark.parametrize(("gap", "number"), [(0, 1), (1, 1), (2, 2)])
def test_a_gap_that_rounding_leaves_is_closed(gap: int, number: int) -> None:
    coords = np.array([[0, 0], [SIDE + gap, 0], [0, SIDE + gap], [SIDE + gap, SIDE + gap]])
    joined = called_regions(coords, np.ones(4), SIDE, 0.5, rounding_px=1)
    assert len(joined) == (1 if number == 1 else 4)
    if gap == 1:
        assert joined[0].area_px == (2 * SIDE + gap) ** 2


@given(
    corners=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=14, unique=True
    ),
    side=st.integers(2, 9),
)
def test_regions_are_the_areas_of_the_drawn_tiles(
    corners: list[tuple[int, int]], side: int
) -> None:
    coords = np.array(corners, np.int64)
    shape = (32, 32)
    expected = tiles_of(coords, side, shape)
    out = called_regions(coords, np.ones(len(coords)), side, 0.5, rounding_px=0)
    masks = [drawn(region.rings, shape) for region in out]
    assert np.array_equal(np.sum(masks, axis=0), expected)
    _, count = ndimage.label(expected)
    assert len(out) == count
    assert sum(region.tiles for region in out) == len(coords)
    for region, mask in zip(out, masks, strict=True):
        assert region.area_px == mask.sum()


def test_tiles_on_no_grid_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    coords = np.random.default_rng(0).integers(0, 1000, (60, 2))
    monkeypatch.setattr(regions, "_MAX_CELLS", 500)
    rough = called_regions(coords, np.ones(60), 64, 0.5)
    assert sum(region.tiles for region in rough) == 60
    shape = (1100, 1100)
    covered = np.sum([drawn(region.rings, shape) for region in rough], axis=0) > 0
    # Corners moved by half a part of a tile at most.
    wrong = covered ^ tiles_of(coords, 64, shape)
    assert wrong.mean() < 0.05
