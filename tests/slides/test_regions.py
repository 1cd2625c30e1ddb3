from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide

Image = NDArray[np.uint8]
WritePyramid = Callable[..., Path]
Reader = Literal["openslide", "tiffslide"]

READERS: tuple[Reader, ...] = ("openslide", "tiffslide")


def crop(pixels: Image, left: int, top: int, size: Size) -> Image:
    """Cut a region out of `pixels`; what lies outside is white."""
    out = np.full((size.height, size.width, 3), 255, np.uint8)
    for row in range(size.height):
        for column in range(size.width):
            y, x = top + row, left + column
            if 0 <= y < pixels.shape[0] and 0 <= x < pixels.shape[1]:
                out[row, column] = pixels[y, x]
    return out


@pytest.mark.parametrize("reader", READERS)
def test_regions_of_aperio_are_openslides(aperio: Path, reader: Reader) -> None:
    with openslide.OpenSlide(aperio) as reference, open_slide(aperio, reader) as slide:
        for x, y, size in [(0, 0, Size(50, 30)), (1000, 2000, Size(256, 256))]:
            expected = reference.read_region((x, y), 0, (size.width, size.height)).convert("RGB")
            read = slide.read_region(x, y, 0, size)
            assert read.dtype == np.uint8
            # libjpeg's builds differ by rounding.
            assert np.abs(read.astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize("reader", READERS)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    level=st.integers(0, 2),
    corner=st.tuples(st.integers(-30, 660), st.integers(-30, 500)),
    size=st.builds(Size, st.integers(1, 40), st.integers(1, 40)),
)
def test_regions_of_a_pyramid_are_its_pixels(
    write_pyramid: WritePyramid,
    image: Image,
    reader: Reader,
    level: int,
    corner: tuple[int, int],
    size: Size,
) -> None:
    downsample = 2**level
    left, top = corner
    with open_slide(write_pyramid(), reader) as slide:
        read = slide.read_region(left * downsample, top * downsample, level, size)
    assert np.array_equal(read, crop(image[::downsample, ::downsample], left, top, size))


@pytest.mark.parametrize("reader", READERS)
def test_outside_is_white(aperio: Path, reader: Reader) -> None:
    with open_slide(aperio, reader) as slide:
        assert (slide.read_region(5000, 5000, 0, Size(20, 10)) == 255).all()
        corner = slide.read_region(2200, 2960, 0, Size(40, 20))
        assert (corner[7:] == 255).all()
        assert (corner[:, 20:] == 255).all()
        assert np.array_equal(corner[:7, :20], slide.read_region(2200, 2960, 0, Size(20, 7)))


@pytest.mark.parametrize("reader", READERS)
def test_tiles_never_scanned_are_white(tmp_path: Path, reader: Reader) -> None:
    dark = np.full((64, 64, 3), 9, np.uint8)
    tifffile.imwrite(
        tmp_path / "sparse.tif",
        (None if number == 1 else dark for number in range(4)),
        shape=(128, 128, 3),
        dtype=np.uint8,
        tile=(64, 64),
        photometric="rgb",
        compression="adobe_deflate",
    )
    with open_slide(tmp_path / "sparse.tif", reader) as slide:
        read = slide.read_region(0, 0, 0, Size(128, 128))
    assert (read[:64, 64:] == 255).all()
    assert (read[64:] == 9).all()
    assert (read[:, :64] == 9).all()


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparency_shows_white(tmp_path: Path, alpha: int) -> None:
    pixels = np.full((64, 64, 4), (200, 10, 60, alpha), np.uint8)
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    share = alpha / 255
    expected = share * np.array([200, 10, 60]) + (1 - share) * 255
    with open_slide(path) as slide:
        read = slide.read_region(0, 0, 0, Size(64, 64))
    assert np.abs(read - expected).max() <= 0.5


@pytest.mark.parametrize("reader", READERS)
def test_threads_share_a_slide(write_pyramid: WritePyramid, image: Image, reader: Reader) -> None:
    places = [(x, y) for x in range(0, 600, 50) for y in range(0, 400, 50)]
    with open_slide(write_pyramid(), reader) as slide, ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda p: slide.read_region(p[0], p[1], 0, Size(32, 32)), places))
    for (x, y), region in zip(places, read, strict=True):
        assert np.array_equal(region, image[y : y + 32, x : x + 32])
