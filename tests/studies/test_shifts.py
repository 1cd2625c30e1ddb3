from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.studies.robustness.shifts import STRENGTHS, Shift, shifted

NUMBERS = np.arange(4)


def smooth_tiles() -> NDArray[np.uint8]:
    """Tiles with edges, colours and shades, none of them at an end of the range."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 180, (4, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(tile, (24, 24), interpolation=cv2.INTER_CUBIC) for tile in coarse])


TILES = smooth_tiles()


@pytest.mark.parametrize("shift", get_args(Shift))
def test_a_higher_strength_changes_more(shift: Shift) -> None:
    before = TILES.copy()
    change = [
        np.abs(shifted(TILES, shift, strength, NUMBERS).astype(int) - TILES).mean()
        for strength in range(6)
    ]
    assert change[0] == 0
    assert change == sorted(change)
    assert change[1] > 0
    assert len(set(change)) == 6
    assert np.array_equal(TILES, before)


def test_all_shifts_have_five_strengths() -> None:
    assert set(STRENGTHS) == set(get_args(Shift))
    assert {len(values) for values in STRENGTHS.values()} == {5}


def test_brightness_is_scaled() -> None:
    expected = np.clip(np.rint(TILES * 0.75), 0, 255)
    assert np.abs(shifted(TILES, "darker", 2, NUMBERS) - expected).max() <= 1


def test_noise_is_as_strong_as_it_says_and_a_tiles_own() -> None:
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    noisy = shifted(grey, "noise", 3, np.array([7, 8]))
    assert noisy.std() / 255 == pytest.approx(0.06, rel=0.05)
    assert not np.array_equal(noisy[0], noisy[1])
    alone = shifted(grey[:1], "noise", 3, np.array([8]))
    assert np.array_equal(alone[0], noisy[1])
    assert not np.array_equal(alone, shifted(grey[:1], "noise", 3, np.array([8]), seed=1))


def test_resolution_is_lost_but_not_brightness() -> None:
    board = (np.indices((24, 24)).sum(axis=0) % 2 * 200).astype(np.uint8)
    tile = np.repeat(board[None, :, :, None], 3, axis=3)
    coarse = shifted(tile, "resolution", 2, NUMBERS[:1])
    assert (coarse == 100).all()


def test_hue_leaves_grey_alone() -> None:
    grey = np.full((1, 8, 8, 3), 77, np.uint8)
    assert np.array_equal(shifted(grey, "hue", 5, NUMBERS[:1]), grey)


@pytest.mark.parametrize(("shift", "strength"), [("blur", 6), ("blur", -1), ("fog", 1)])
def test_there_are_no_others(shift: Shift, strength: int) -> None:
    with pytest.raises(ValueError, match="there is no shift"):
        shifted(TILES, shift, strength, NUMBERS)


def test_no_tiles_are_no_trouble() -> None:
    empty = TILES[:0]
    assert shifted(empty, "noise", 1, NUMBERS[:0]).shape == (0, 24, 24, 3)
