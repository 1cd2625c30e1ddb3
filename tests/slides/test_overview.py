from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide, read_overview
from wsi_specdec.slides.base import SlideInfo, SlideReader

Image = NDArray[np.uint8]
WritePyramid = Callable[..., Path]
Reader = Literal["openslide", "tiffslide"]


class Recorder:
    """Passes reads on, and remembers how large they were."""

    def __init__(self, slide: SlideReader) -> None:
        self.path = slide.path
        self.info: SlideInfo = slide.info
        self.read_region = self._read_region
        self.close = slide.close
        self.sizes: list[Size] = []
        self.levels: set[int] = set()
        self._slide = slide

    def _read_region(self, x: int, y: int, level: int, size: Size) -> Image:
        self.sizes.append(size)
        self.levels.add(level)
        return self._slide.read_region(x, y, level, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def block_means(pixels: Image, factor: int) -> NDArray[np.float64]:
    """Average whole squares, in the plainest way."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    cut = pixels[: height * factor, : width * factor].astype(float)
    means: NDArray[np.float64] = cut.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return means


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
@pytest.mark.parametrize(
    ("mpp", "max_px", "level", "factor"),
    [
        (0.5, 1000, 0, 1),
        (0.1, 1000, 0, 1),
        (1.0, 1000, 1, 1),
        (2.0, 1000, 2, 1),
        (8.0, 1000, 2, 4),
        (None, 640, 0, 1),
        (None, 160, 2, 1),
        (1.0, 80, 2, 2),
        (None, 100, 2, 2),
    ],
)
def test_an_overview_is_the_mean_of_squares(
    write_pyramid: WritePyramid,
    image: Image,
    reader: Reader,
    mpp: float | None,
    max_px: int,
    level: int,
    factor: int,
) -> None:
    with open_slide(write_pyramid(), reader) as slide, Recorder(slide) as recorder:
        overview, downsample = read_overview(recorder, max_px, mpp)
    assert recorder.levels == {level}
    assert downsample == 2**level * factor
    assert max(overview.shape) <= max_px
    expected = block_means(image[:: 2**level, :: 2**level], factor)
    assert overview.shape == expected.shape
    assert np.abs(overview - expected).max() <= 0.5 + 1e-6


def test_parts_of_squares_at_the_edge_are_kept(write_pyramid: WritePyramid, image: Image) -> None:
    path = write_pyramid(pixels=image[:101, :203], downsamples=(1,))
    with open_slide(path) as slide:
        overview, downsample = read_overview(slide, 1000, 5.0)
    assert (downsample, overview.shape) == (10, (11, 21, 3))
    assert np.abs(overview[:10, :20] - block_means(image[:101, :203], 10)).max() <= 0.5 + 1e-6
    # The last column holds 3 of its 10 pixels' width, filled up with the last of them.
    filled = np.pad(image[:10, 200:203], ((0, 0), (0, 7), (0, 0)), mode="edge")
    assert np.abs(overview[0, 20] - filled.mean(axis=(0, 1))).max() <= 0.5 + 1e-6


def test_blocks_are_bounded_and_leave_no_seams(aperio: Path) -> None:
    with open_slide(aperio) as slide, Recorder(slide) as recorder:
        overview, downsample = read_overview(recorder, 1000, 3.5)
    assert (len(recorder.sizes), downsample) == (4, 7)
    assert max(max(size.width, size.height) for size in recorder.sizes) <= 2048
    with openslide.OpenSlide(aperio) as reference:
        whole = np.asarray(reference.read_region((0, 0), 0, (2220, 2967)).convert("RGB"))
    expected = block_means(whole, 7)
    inside = overview[: expected.shape[0], : expected.shape[1]]
    assert np.abs(inside - expected).max() <= 0.5 + 1e-6


def test_without_mpp_the_image_is_as_large_as_allowed(write_pyramid: WritePyramid) -> None:
    with open_slide(write_pyramid(resolution=(1, 1), resolutionunit="NONE")) as slide:
        overview, downsample = read_overview(slide, 320, 8.0)
    assert (downsample, overview.shape) == (2, (240, 320, 3))
