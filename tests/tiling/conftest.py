"""Slides made as a test needs them: tiled, pyramidal, lossless."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MakeSlide = Callable[..., Path]

GLASS = (242, 241, 243)


def draw_tissue(width: int = 1024, height: int = 768) -> Image:
    """Glass with one textured rectangle of tissue: x from 256 to 768, y from 128 to 640."""
    rng = np.random.default_rng(3)
    image = np.full((height, width, 3), GLASS, np.uint8)
    shade = rng.integers(-25, 25, (64, 64, 1)).repeat(8, axis=0).repeat(8, axis=1)
    tissue = np.array((170, 90, 160)) + shade
    image[128:640, 256:768] = tissue.clip(0, 255)
    return image


@pytest.fixture(scope="session")
def image() -> Image:
    return draw_tissue()


def write_slide(path: Path, image: Image, mpp: float | None = 0.5, levels: int = 2) -> Path:
    """Write a tiled pyramid that halves from level to level."""
    with tifffile.TiffWriter(path) as tif:
        for level in range(levels):
            size = (image.shape[1] >> level, image.shape[0] >> level)
            per_cm = None if mpp is None else 10_000 / (mpp * 2**level)
            tif.write(
                np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)),
                tile=(128, 128),
                photometric="rgb",
                compression="deflate",
                subfiletype=int(level > 0),
                resolution=None if per_cm is None else (per_cm, per_cm),
                resolutionunit=None if per_cm is None else "CENTIMETER",
                metadata=None,
            )
    return path


@pytest.fixture
def make_slide(tmp_path: Path, image: Image) -> MakeSlide:
    """Return a function that writes a slide of the given name, pixels, mpp and levels."""

    def make(
        name: str = "a", pixels: Image | None = None, mpp: float | None = 0.5, levels: int = 2
    ) -> Path:
        shown = image if pixels is None else pixels
        return write_slide(tmp_path / f"{name}.tif", shown, mpp, levels)

    return make
