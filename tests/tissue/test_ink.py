import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue import find_tissue, ink_mask

MPP = 8.0
BLOOD = (196, 45, 52)
RED_PEN = (200, 30, 45)
BLUE_PEN = (40, 60, 170)

Image = NDArray[np.uint8]


def glass() -> Image:
    noise = np.random.default_rng(0).normal(0, 1.5, (400, 600, 3))
    return (241 + noise).clip(0, 255).astype(np.uint8)


def stroke(image: Image, colour: tuple[int, int, int], width: int) -> NDArray[np.bool_]:
    """Draw a wavy line from left to right near the top, and return where."""
    where = np.zeros(image.shape[:2], np.uint8)
    x = np.arange(40, 560, 20)
    points = np.stack([x, 60 + 20 * np.sin(x / 60)], axis=1).astype(np.int32)
    cv2.polylines(where, [points], isClosed=False, color=[1], thickness=width)
    image[where > 0] = colour
    image[:] = cv2.GaussianBlur(image, (0, 0), 1.0)
    return where > 0


def test_a_red_stroke_on_glass_is_ink_but_blood_is_tissue() -> None:
    image = glass()
    cv2.ellipse(image, (300, 260), (120, 70), 0, 0, 360, BLOOD, -1)
    pen = stroke(image, RED_PEN, 14)
    found = find_tissue(image, MPP, TissueConfig())
    assert (found & pen).sum() < 0.02 * pen.sum()
    assert found[200:320, 250:350].all()
    assert ink_mask(image, MPP)[pen].mean() > 0.9
    assert not ink_mask(image, MPP)[180:340].any()


def test_a_long_red_streak_in_tissue_is_no_ink() -> None:
    image = glass()
    image[20:120] = (190, 120, 170)
    streak = stroke(image, BLOOD, 14)
    found = find_tissue(image, MPP, TissueConfig())
    assert found[streak].all()


def test_red_without_resolution_is_left() -> None:
    image = glass()
    stroke(image, RED_PEN, 14)
    assert not ink_mask(image).any()


@pytest.mark.parametrize(("mpp", "scale"), [(8.0, 1), (0.5, 16), (None, 1)])
def test_ink_is_found_at_any_resolution(mpp: float | None, scale: int) -> None:
    image = glass()[:100, :100]
    image[30:60, 20:80] = BLUE_PEN
    image = np.kron(image, np.ones((scale, scale, 1), np.uint8))
    expected = np.zeros(image.shape[:2], dtype=bool)
    expected[30 * scale : 60 * scale, 20 * scale : 80 * scale] = True
    ink = ink_mask(image, mpp)
    assert ink.shape == expected.shape
    assert (ink & expected).sum() / (ink | expected).sum() > 0.9


def test_a_tile_full_of_ink_is_ink_and_fringes_are_not() -> None:
    full = np.full((256, 256, 3), BLUE_PEN, np.uint8)
    assert ink_mask(full, 0.5).all()
    tissue = np.full((256, 256, 3), (200, 120, 170), np.uint8)
    tissue[:, 100:110] = (40, 160, 150)
    assert not ink_mask(tissue, 0.5).any()
