import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from wsi_specdec.tissue.morphology import close, dilate, erode, open_up, pieces, without_small_parts

Mask = NDArray[np.uint8]


def smooth_mask(seed: int, height: int = 40, width: int = 50) -> Mask:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    return np.asarray(ndimage.gaussian_filter(noise, 1.2) > 0.1, np.uint8)


@pytest.mark.parametrize("radius", [1, 2, 5, 12, 30])
def test_a_point_grows_into_nearly_a_disc(radius: int) -> None:
    mask = np.zeros((101, 101), np.uint8)
    mask[50, 50] = 1
    grown = dilate(mask, radius)
    y, x = np.mgrid[-50:51, -50:51]
    distance = np.hypot(x, y)
    assert grown[distance <= 0.92 * radius].all()
    assert not grown[distance > 1.09 * radius + 0.5].any()
    assert grown.sum() == pytest.approx(np.pi * (radius + 0.5) ** 2, rel=0.1, abs=3)


@given(seed=st.integers(0, 999), radius=st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_shrinking_is_growing_of_the_rest_and_the_edge_does_not_shrink(
    seed: int, radius: int
) -> None:
    mask = smooth_mask(seed)
    assert (erode(mask, radius) == 1 - dilate(1 - mask, radius)).all()
    assert erode(np.ones((9, 9), np.uint8), 3).all()
    assert (close(mask, radius) >= mask).all()
    assert (open_up(mask, radius) <= mask).all()
    if radius == 0:
        assert (close(mask, 0) == mask).all()


def reference(mask: Mask, min_object: float, max_hole: float) -> NDArray[np.bool_]:
    """Count the pixels of labelled areas."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    kept = (np.bincount(labels.ravel()) >= min_object)[labels] & (labels > 0)
    gaps, _ = ndimage.label(~kept)
    at_edge = np.unique(np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]]))
    small = np.bincount(gaps.ravel()) <= max_hole
    small[at_edge] = False
    return np.asarray(kept | (small[gaps] & (gaps > 0)))


@given(
    seed=st.integers(0, 9999),
    min_object=st.sampled_from([0, 1, 5, 20, 60]),
    max_hole=st.sampled_from([0, 1, 4, 15, 100]),
)
@settings(max_examples=80, deadline=None)
def test_small_parts_go_by_their_pixels(seed: int, min_object: int, max_hole: int) -> None:
    mask = smooth_mask(seed)
    found = without_small_parts(mask, min_object, max_hole)
    expected = reference(mask, min_object, max_hole)
    # An object within a filled hole is in it either way.
    assert (found > 0).tolist() == expected.tolist()


def test_a_thin_ring_goes_and_what_it_surrounds_stays() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55, 5:55] = 1
    mask[6:54, 6:54] = 0
    mask[15:45, 15:45] = 1
    found = without_small_parts(mask, 400, 0)
    assert found[15:45, 15:45].all()
    assert found.sum() == 900


def test_pieces_have_width_and_length() -> None:
    mask = np.zeros((50, 120), np.uint8)
    mask[10:17, 5:105] = 1
    mask[40, 40] = 1
    (bar,) = pieces(mask, min_px=2, margin=3)
    assert bar.window == (slice(7, 20), slice(2, 108))
    assert bar.mask.sum() == 700
    assert bar.width == pytest.approx(7, abs=0.5)
    assert bar.length == pytest.approx(100, rel=0.1)
    assert len(list(pieces(mask, min_px=1, margin=0))) == 2
