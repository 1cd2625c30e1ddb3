import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import wsi_specdec.tissue.planes as planes_module
from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue import find_tissue
from wsi_specdec.tissue.fatty import fatty_tissue
from wsi_specdec.tissue.planes import BLACK, PADDING, glass_levels, measure

MPP = 8.0
GLASS = (240, 240, 240)
FAINT = (240, 234, 240)
TISSUE = (180, 90, 160)


def slide(glass: tuple[int, int, int] = GLASS) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, 1.5, (300, 400, 3))
    return (np.asarray(glass) + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("radius", "kept"), [(40, True), (8, False)])
def test_faint_areas_are_kept_where_enough_of_them_is_plain_tissue(
    radius: int, *, kept: bool
) -> None:
    image = slide()
    image[50:250, 100:350] = FAINT
    cv2.circle(image, (220, 150), radius, TISSUE, -1)
    found = find_tissue(image, MPP, TissueConfig())
    assert found[150, 220]
    assert (found[60:240, 110:340].mean() > 0.95) == kept
    assert found[:, :80].mean() == 0


def test_what_is_foreign_is_never_fatty_though_fat_lies_around_it() -> None:
    image = slide()
    image[50:250, 100:350] = FAINT
    cv2.circle(image, (220, 150), 40, TISSUE, -1)
    planes, foreign = measure(image), np.zeros((300, 400), np.uint8)
    foreign[80:90, 120:130] = 1
    plain = (planes.signal > 80).astype(np.uint8)
    found = fatty_tissue(planes, plain, foreign, MPP)
    assert found.dtype == np.uint8
    assert found[70:100, 110:140].sum() == 30 * 30 - 100
    assert not found[80:90, 120:130].any()


def test_white_padding_does_not_make_glass_look_pink() -> None:
    image = np.full((300, 400, 3), 255, np.uint8)
    image[80:220, 60:300] = slide((240, 230, 238))[80:220, 60:300]
    cv2.circle(image, (150, 150), 40, TISSUE, -1)
    found = find_tissue(image, MPP, TissueConfig())
    assert found.sum() == pytest.approx(np.pi * 40**2, rel=0.05)


def test_planes_do_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 256, (97, 130, 3), dtype=np.uint8)
    whole = measure(image)
    monkeypatch.setattr(planes_module, "_STRIP_PX", 130 * 7)
    strips = measure(image)
    for name in ("signal", "pink", "flags"):
        assert (getattr(whole, name) == getattr(strips, name)).all()


def test_planes_are_optical_densities_against_the_glass() -> None:
    image = slide((230, 220, 210))
    image[100:200, 100:200] = (115, 55, 105)
    planes = measure(image)
    red, green, blue = np.log10(glass_levels(image) / (115, 55, 105))
    assert glass_levels(image) == pytest.approx((230, 220, 210), abs=1)
    signal = 200 * np.sqrt(green - min(red, blue) / 2)
    assert planes.signal[150, 150] == pytest.approx(signal, abs=1)
    # 0.3 is more than the plane holds.
    assert planes.pink[150, 150] == 255
    assert planes.pink[:80].mean() == pytest.approx(128, abs=3)
    image[:10], image[20:30] = 255, 5
    flags = measure(image).flags
    assert (flags[:10] == PADDING).all()
    assert (flags[22:28] & BLACK).all()
