import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue import find_tissue

MPP = 8.0
CONFIG = TissueConfig()
PURPLE = (130, 70, 150)
PINK = (215, 130, 170)
FAINT = (232, 205, 224)
GLASS = (241, 240, 242)

Image = NDArray[np.uint8]


def glass(colour: tuple[int, int, int] = GLASS, noise: float = 1.5) -> Image:
    rng = np.random.default_rng(0)
    image = np.asarray(colour) + rng.normal(0, noise, (300, 400, 3))
    return image.clip(0, 255).astype(np.uint8)


def disc(image: Image, centre: tuple[int, int], radius: int, colour: tuple[int, ...]) -> Image:
    """Draw a noisy disc and return where it is, as a mask."""
    where = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(where, centre, radius, 1, -1)
    inside = where.astype(bool)
    noise = np.random.default_rng(1).normal(0, 8, (int(inside.sum()), 3))
    image[inside] = (np.asarray(colour) + noise).clip(0, 255).astype(np.uint8)
    return where


def iou(found: NDArray[np.bool_], truth: Image) -> float:
    return float((found & (truth > 0)).sum() / (found | (truth > 0)).sum())


@pytest.mark.parametrize("background", [GLASS, (255, 255, 255), (227, 221, 228), (212, 214, 210)])
def test_blank_glass_of_any_tint_has_no_tissue(background: tuple[int, int, int]) -> None:
    assert not find_tissue(glass(background), MPP, CONFIG).any()


def test_uneven_light_is_not_tissue() -> None:
    image = glass(noise=0).astype(np.float64) * np.linspace(0.85, 1, 400)[None, :, None]
    assert not find_tissue(image.astype(np.uint8), MPP, CONFIG).any()


@pytest.mark.parametrize("colour", [PURPLE, PINK, FAINT])
@pytest.mark.parametrize("background", [GLASS, (227, 221, 228)])
def test_tissue_is_found_down_to_faint(
    colour: tuple[int, int, int], background: tuple[int, int, int]
) -> None:
    image = glass(background)
    # As a filter: what is faint on clear glass is as faint on tinted.
    seen = tuple(value * tint // 241 for value, tint in zip(colour, background, strict=True))
    truth = disc(image, (200, 150), 80, seen)
    assert iou(find_tissue(image, MPP, CONFIG), truth) > 0.95


def test_faint_tissue_beside_dark_is_kept() -> None:
    image = glass()
    truth = disc(image, (100, 150), 70, PURPLE) | disc(image, (290, 150), 60, FAINT)
    assert iou(find_tissue(image, MPP, CONFIG), truth) > 0.95


def test_image_of_tissue_alone_is_all_tissue() -> None:
    rng = np.random.default_rng(2)
    shade = np.asarray(cv2.GaussianBlur(rng.normal(0, 1, (300, 400)), (0, 0), 10))[..., None]
    image = np.asarray(PINK) + (np.asarray(PURPLE) - np.asarray(PINK)) * (shade > 0)
    assert find_tissue(image.astype(np.uint8), MPP, CONFIG).mean() > 0.99


def test_white_padding_does_not_turn_tinted_glass_into_tissue() -> None:
    image = glass((236, 228, 236))
    truth = disc(image, (200, 150), 60, PINK)
    image[:60], image[:, 330:] = 255, 255
    assert iou(find_tissue(image, MPP, CONFIG), truth) > 0.95


def test_black_padding_is_not_tissue() -> None:
    image = glass()
    truth = disc(image, (200, 150), 60, PINK)
    image[:, :80] = 0
    assert iou(find_tissue(image, MPP, CONFIG), truth) > 0.95


@pytest.mark.parametrize("ink", [(40, 60, 170), (30, 130, 60), (20, 20, 25)])
def test_pen_is_left_out_unless_asked_for(ink: tuple[int, int, int]) -> None:
    image = glass()
    truth = disc(image, (130, 150), 70, PURPLE)
    cv2.line(image, (300, 20), (340, 280), ink, 12)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)
    found = find_tissue(image, MPP, CONFIG)
    assert iou(found, truth) > 0.93
    assert found[:, 270:].mean() < 0.005
    kept = find_tissue(image, MPP, CONFIG.model_copy(update={"exclude_ink": False}))
    # Black is never tissue, whatever the stain.
    assert (kept[:, 270:].mean() > 0.05) == (max(ink) > 50)


def test_haematoxylin_is_not_taken_for_ink() -> None:
    # OD along the haematoxylin vector of Ruifrok and Johnston (2001).
    image = glass()
    colour = tuple(int(v) for v in 241 * 10 ** -np.array([0.65, 0.70, 0.29]))
    truth = disc(image, (200, 150), 70, colour)
    assert iou(find_tissue(image, MPP, CONFIG), truth) > 0.95


@pytest.mark.parametrize("mpp", [4.0, 8.0, None])
def test_small_objects_and_holes_go_by_area_in_um2(mpp: float | None) -> None:
    scale = mpp or CONFIG.mask_mpp
    image = glass(noise=0)
    disc(image, (150, 150), 90, PURPLE)
    # Sides in px of squares just below and above the limits.
    small, large = (int(CONFIG.max_hole_um2**0.5 / scale * f) for f in (0.8, 1.4))
    image[150 : 150 + small, 100 : 100 + small] = GLASS
    image[90 : 90 + large, 150 : 150 + large] = GLASS
    dust, piece = (int(CONFIG.min_object_um2**0.5 / scale * f) for f in (0.7, 1.5))
    image[20 : 20 + dust, 300 : 300 + dust] = PURPLE
    image[200 : 200 + piece, 300 : 300 + piece] = PURPLE
    found = find_tissue(image, mpp, CONFIG)
    assert found[150 + small // 2, 100 + small // 2]
    assert not found[90 + large // 2, 150 + large // 2]
    assert not found[:100, 280:].any()
    assert found[200 + piece // 2, 300 + piece // 2]


def test_method_all_takes_everything() -> None:
    config = TissueConfig(method="all")
    assert find_tissue(glass(), MPP, config).all()
