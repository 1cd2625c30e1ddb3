import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

import wsi_specdec.slides.overview as overview_module
from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import EncodedLevel, encoded_level, open_slide, read_overview
from wsi_specdec.slides.base import SlideInfo, SlideReader
from wsi_specdec.slides.overview import _choose

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
        overview, downsample = read_overview(slide, 1000, 4.0)
    assert (downsample, overview.shape) == (8, (13, 26, 3))
    assert np.abs(overview[:12, :25] - block_means(image[:101, :203], 8)).max() <= 0.5 + 1e-6
    # The last column holds 3 of its 8 pixels' width, filled up with the last of them.
    filled = np.pad(image[:8, 200:203], ((0, 0), (0, 5), (0, 0)), mode="edge")
    assert np.abs(overview[0, 25] - filled.mean(axis=(0, 1))).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("mpp", "max_px", "expected"),
    [
        (0.6, 99_999, (0, 1)),
        (0.7, 99_999, (0, 1)),
        # Finer by half than the next level: that is taken, rather than 16 times the pixels.
        (1.4, 99_999, (1, 1)),
        (5.5, 99_999, (2, 1)),
        (5.0, 99_999, (1, 2)),
        (24.0, 99_999, (2, 2)),
        (100.0, 99_999, (2, 16)),
        # As small as asked for, however fine was asked for.
        (0.5, 750, (2, 1)),
        (0.5, 749, (2, 2)),
        (0.5, 300, (2, 4)),
        (0.5, 100, (2, 8)),
        (0.5, 61, (2, 16)),
    ],
)
def test_the_level_and_a_factor_that_decoders_can_scale_by(
    mpp: float, max_px: int, expected: tuple[int, int]
) -> None:
    info = SlideInfo(
        vendor="generic-tiff",
        reader="openslide",
        level_sizes=(Size(12_000, 9_000), Size(3_000, 2_250), Size(750, 563)),
        level_downsamples=(1.0, 4.0, 16.0),
        mpp=0.5,
        mpp_source="metadata",
        objective_power=None,
        scanner=None,
        bounds=Box(0, 0, 12_000, 9_000),
        fluorescence=False,
    )
    assert _choose(info, max_px, mpp) == expected


def test_blocks_are_bounded_and_leave_no_seams(image: Image, write_pyramid: WritePyramid) -> None:
    pixels = np.tile(image, (3, 4, 1))
    with open_slide(write_pyramid(pixels=pixels, downsamples=(1,))) as slide:
        recorder = Recorder(slide)
        overview, downsample = read_overview(recorder, 1000, 4.0)
    assert downsample == 8
    assert len(recorder.sizes) == 6
    assert max(size.width * size.height for size in recorder.sizes) <= 1 << 20
    assert np.abs(overview - block_means(pixels, 8)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("mpp", [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_jpeg_tiles_are_decoded_at_a_fraction_without_the_reader(aperio: Path, mpp: float) -> None:
    with open_slide(aperio) as slide, Recorder(slide) as recorder:
        overview, downsample = read_overview(recorder, 9999, mpp)
    factor = int(downsample)
    assert not recorder.sizes
    assert overview.shape == (-(-2967 // factor), -(-2220 // factor), 3)
    with openslide.OpenSlide(aperio) as reference:
        whole = np.asarray(reference.read_region((0, 0), 0, (2220, 2967)).convert("RGB"))
    expected = block_means(whole, factor)
    inside = overview[: expected.shape[0], : expected.shape[1]].astype(float)
    # The decoder drops frequencies where averaging damps them.
    assert np.abs(inside - expected).mean() < 3
    assert abs((inside - expected).mean()) < 0.5
    # What of the last square lies outside of the slide leaves no line.
    last = overview[-1].astype(float), overview[:, -1].astype(float)
    before = overview[-2].astype(float), overview[:, -2].astype(float)
    assert all(np.abs(a - b).mean() < 30 for a, b in zip(last, before, strict=True))


def test_padding_of_jpeg_tiles_is_left_out(write_pyramid: WritePyramid) -> None:
    grey = np.full((101, 203, 3), 200, np.uint8)
    path = write_pyramid(pixels=grey, downsamples=(1,), compression="jpeg")
    with open_slide(path) as slide, Recorder(slide) as recorder:
        overview, downsample = read_overview(recorder, 1000, 4.0)
    assert not recorder.sizes
    assert (downsample, overview.shape) == (8, (13, 26, 3))
    assert np.abs(overview.astype(int) - 200).max() <= 2


def test_a_factor_beyond_the_decoders_is_averaged(aperio: Path) -> None:
    with open_slide(aperio) as slide:
        fine, _ = read_overview(slide, 9999, 4.0)
        coarse, downsample = read_overview(slide, 9999, 12.0)
    assert downsample == 24
    expected = block_means(fine, 3)
    inside = coarse[: expected.shape[0], : expected.shape[1]]
    assert np.abs(inside - expected).max() <= 0.5 + 1e-6


def test_missing_tiles_are_read_by_the_reader_and_damaged_ones_refused(
    aperio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(aperio) as slide, Recorder(slide) as recorder:
        whole, _ = read_overview(slide, 9999, 4.0)
        level = encoded_level(slide, 0)
        assert level is not None
        counts = level.counts.copy()
        counts[3, 4] = 0
        gone = dataclasses.replace(level, counts=counts)
        monkeypatch.setattr(overview_module, "encoded_level", lambda *_: gone)
        overview, _ = read_overview(recorder, 9999, 4.0)
        assert recorder.sizes == [level.tile]
        assert np.abs(overview.astype(int) - whole).max() < 60
        assert (overview[:90] == whole[:90]).all()
        monkeypatch.setattr(
            EncodedLevel, "read_jpegs", lambda _, indices: [b"\xff\xd8\xff"] * len(indices)
        )
        with pytest.raises(SlideReadError, match=r"column 0, row 0 of level 0 .* corrupt"):
            read_overview(slide, 9999, 4.0)


def test_without_mpp_the_image_is_as_large_as_allowed(write_pyramid: WritePyramid) -> None:
    with open_slide(write_pyramid(resolution=(1, 1), resolutionunit="NONE")) as slide:
        overview, downsample = read_overview(slide, 320, 8.0)
    assert (downsample, overview.shape) == (2, (240, 320, 3))
