"""Lung fields of made radiographs, and of the shipped ones."""

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.images import open_image
from wsi_specdec.packing import to_square
from wsi_specdec.studies.radiographs.lungs import LungFields, lung_fields

SIZE = 160
AXES = (24, 46)
CENTRES = ((48, 72), (112, 72))


def chest(*, lungs: tuple[int, ...] = (0, 1), seed: int = 0) -> NDArray[np.uint8]:
    """Draw a bright body with dark lungs, on a dark ground."""
    image = np.full((SIZE, SIZE), 20, np.uint8)
    cv2.ellipse(image, (80, 100), (74, 96), 0, 0, 360, 180, -1)
    for side in lungs:
        cv2.ellipse(image, CENTRES[side], AXES, 0, 0, 360, 70, -1)
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def truth() -> NDArray[np.bool_]:
    drawn = np.zeros((SIZE, SIZE), np.uint8)
    for centre in CENTRES:
        cv2.ellipse(drawn, centre, AXES, 0, 0, 360, 1, -1)
    return drawn > 0


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


@pytest.mark.parametrize("brightness", [0.5, 1.0, 1.3])
def test_both_lungs_are_found_at_any_exposure(brightness: float) -> None:
    image = np.clip(chest() * brightness, 0, 255).astype(np.uint8)
    fields = lung_fields(image)
    assert fields.found
    assert dice(fields.mask, truth()) > 0.85


def test_dark_ground_around_the_body_is_no_lung() -> None:
    fields = lung_fields(chest())
    assert not fields.mask[:4].any()
    assert not fields.mask[:, :4].any()
    assert not fields.mask[:, -4:].any()


@pytest.mark.parametrize("lungs", [(), (0,), (1,)], ids=["none", "left", "right"])
def test_central_box_stands_in_where_a_lung_is_white(lungs: tuple[int, ...]) -> None:
    fields = lung_fields(chest(lungs=lungs))
    assert not fields.found
    rows, columns = np.nonzero(fields.mask)
    assert (rows.min(), rows.max() + 1) == (16, 128)
    assert (columns.min(), columns.max() + 1) == (16, 144)
    assert fields.mask.sum() == 112 * 128


def test_blank_image_has_the_central_box() -> None:
    assert not lung_fields(np.full((SIZE, SIZE), 128, np.uint8)).found


def test_box_is_a_square_around_the_mask_with_its_margin() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[30:60, 20:70] = True
    box = LungFields(mask, found=True).box(0.05)
    assert box == (15, 15, 75, 75)
    assert LungFields(mask, found=True).box(0) == (20, 20, 70, 70)


def test_box_stays_within_the_image() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[0:50, 40:100] = True
    assert LungFields(mask, found=True).box(0.1) == (20, 0, 100, 80)
    mask[:] = True
    assert LungFields(mask, found=True).box(0.1) == (0, 0, 100, 100)


def test_only_square_grey_images_are_taken() -> None:
    with pytest.raises(ValueError, match="square grey"):
        lung_fields(np.zeros((8, 8, 3), np.uint8))


def test_most_shipped_radiographs_have_plausible_fields() -> None:
    folder = Path(str(files("wsi_specdec.demo").joinpath("data/hannover")))
    found = []
    for path in sorted(folder.glob("*.jpg"))[::2]:
        fields = lung_fields(to_square(open_image(path), 128, "stretch", 0)[..., 0])
        if fields.found:
            found.append(fields.mask)
    # Of 24 images, of lungs white with disease in part.
    assert len(found) >= 16
    areas = np.array([mask.mean() for mask in found])
    assert ((areas > 0.08) & (areas < 0.5)).all()
    middle = np.mean(found, axis=0)
    # Lungs lie on both sides of a midline that belongs to neither.
    assert middle[64, 32] > 0.8
    assert middle[64, 96] > 0.8
    assert middle[64, 62:66].max() < 0.2
