"""Levels whose downsample is not whole: every reader gives the level's own pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide
from wsi_specdec.slides.openslide_reader import OpenSlideReader
from wsi_specdec.slides.whole_pixels import unshifted

Image = NDArray[np.uint8]
Write = Callable[[Size], tuple[Path, Image]]


@pytest.fixture
def write(tmp_path: Path, aperio: Path) -> Write:
    """Write real tissue, 800 x 600 px, with a second level of the size given; return that, too."""
    with open_slide(aperio) as slide:
        tissue = slide.read_region(700, 900, 0, Size(800, 600))

    def write(size: Size) -> tuple[Path, Image]:
        small = cv2.resize(tissue, (size.width, size.height), interpolation=cv2.INTER_AREA)
        path = tmp_path / "a.svs"
        with tifffile.TiffWriter(path) as writer:
            # Second, as in Aperio's files, a thumbnail.
            for pixels, tile in ((tissue, (64, 64)), (small[::4, ::4], None), (small, (64, 64))):
                writer.write(
                    pixels,
                    tile=tile,
                    photometric="rgb",
                    compression="adobe_deflate",
                    description="Aperio Image Library v1.0\r\n|AppMag = 20|MPP = 0.5",
                    metadata=None,
                )
        return path, np.asarray(small, np.uint8)

    return write


@pytest.mark.parametrize(
    ("reader", "most"), [("openslide", 3), ("tiffslide", 0)], ids=["openslide", "tiffslide"]
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    level=st.sampled_from([Size(399, 300), Size(200, 149), Size(265, 200), Size(50, 37)]),
    corner=st.tuples(st.integers(-60, 400), st.integers(-60, 300)),
    size=st.builds(Size, st.integers(1, 90), st.integers(1, 90)),
)
@example(Size(200, 149), (-20, 100), Size(20, 20))
@example(Size(200, 149), (-3, 100), Size(90, 90))
@example(Size(200, 149), (150, 100), Size(90, 90))
def test_regions_are_the_levels_pixels(
    write: Write,
    reader: Literal["openslide", "tiffslide"],
    most: int,
    level: Size,
    corner: tuple[int, int],
    size: Size,
) -> None:
    path, pixels = write(level)
    left, top = corner
    with open_slide(path, reader) as slide:
        downsample = slide.info.level_downsamples[1]
        assert downsample % 1
        read = slide.read_region(round(left * downsample), round(top * downsample), 1, size)
    padded = np.pad(pixels, ((60, 450), (60, 450), (0, 0)), constant_values=255)
    expected = padded[top + 60 :, left + 60 :][: size.height, : size.width]
    assert read.flags.c_contiguous
    assert read.shape == (size.height, size.width, 3)
    assert np.abs(read.astype(int) - expected).max() <= most


def test_what_openslide_draws_in_parts_or_lays_out_otherwise_is_left_as_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pixels = write(Size(200, 149))
    asked: list[tuple[int, int, Size]] = []
    real = OpenSlideReader._read

    def watched(self: OpenSlideReader, x: int, y: int, level: int, size: Size) -> Image:
        asked.append((x, y, size))
        return real(self, x, y, level, size)

    monkeypatch.setattr(OpenSlideReader, "_read", watched)
    with open_slide(path) as slide:
        for x, size in ((0, Size(200, 149)), (301, Size(4090, 10))):
            slide.read_region(x, 0, 1, size)
        slide.read_region(301, 0, 1, Size(10, 10))
        monkeypatch.setattr("wsi_specdec.slides.openslide_reader._PLAIN_GRIDS", frozenset())
        slide.read_region(301, 0, 1, Size(10, 10))
    nearest = round(round(301 / slide.info.level_downsamples[1]) * slide.info.level_downsamples[1])
    assert asked[0] == (0, 0, Size(200, 149))
    assert asked[1] == (nearest, 0, Size(4090, 10))
    assert asked[2][2].width > 10
    assert asked[3] == (nearest, 0, Size(10, 10))
    assert pixels.shape == (149, 200, 3)


@pytest.mark.parametrize("shift", [-0.3, -0.1, 0.0, 0.001, 0.3])
def test_a_known_shift_is_undone(shift: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3)).astype(float)
    # Without rounding but for the last, the series' cut is all that is left.
    beyond = np.roll(pixels, -1 if shift > 0 else 1, axis=1)
    shifted = (1 - abs(shift)) * pixels + abs(shift) * beyond
    found = unshifted(np.rint(shifted).astype(np.uint8), shift, 0.0)[:, 8:-8]
    # Half a grey level of rounding, at most amplified by 1 / (1 - 2 * shift).
    assert np.abs(found - pixels[:, 8:-8]).max() <= 1 + 0.5 / (1 - 2 * abs(shift))
