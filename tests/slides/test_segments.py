"""Strips and tiles of TIFFs that OpenSlide does not open: right pixels, bounded memory."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.errors import UnsupportedSlideError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import base, open_slide, segments

Image = NDArray[np.uint8]
WritePyramid = Callable[..., Path]
MIB = 2**20

LAYOUTS: dict[str, dict[str, Any]] = {
    "raw, one strip": {"rowsperstrip": 480},
    "raw, many strips": {"rowsperstrip": 7},
    "deflate": {"rowsperstrip": 7, "compression": "zlib"},
    "deflate with predictor": {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    "lzw": {"rowsperstrip": 480, "compression": "lzw"},
    "tiles": {"tile": (48, 64), "compression": "zlib"},
    "raw tiles": {"tile": (48, 64)},
}


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory, image: Image) -> dict[str, Path]:
    """One picture, laid out in every way."""
    folder = tmp_path_factory.mktemp("layouts")
    paths = {}
    for number, (name, options) in enumerate(LAYOUTS.items()):
        paths[name] = folder / f"{number}.tif"
        tifffile.imwrite(paths[name], image, photometric="rgb", metadata=None, **options)
    return paths


@contextmanager
def counted_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Record how many bytes each read of the file takes."""
    lengths: list[int] = []
    real = os.pread

    def pread(file: int, length: int, offset: int) -> bytes:
        lengths.append(length)
        return real(file, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        yield lengths


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that tells the highest memory since the start, in bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    x=st.integers(-40, 650),
    y=st.integers(-40, 490),
    size=st.builds(Size, st.integers(1, 90), st.integers(1, 90)),
)
def test_regions_are_the_pixels_whatever_the_layout(
    layouts: dict[str, Path], image: Image, layout: str, x: int, y: int, size: Size
) -> None:
    padded = np.pad(image, ((200, 200), (200, 200), (0, 0)), constant_values=255)
    with open_slide(layouts[layout], "tiffslide") as slide:
        read = slide.read_region(x, y, 0, size)
    top, left = y + 200, x + 200
    assert np.array_equal(read, padded[top : top + size.height, left : left + size.width])


def test_only_the_strips_that_are_needed_are_read(
    layouts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(layouts["raw, many strips"], "tiffslide") as slide:
        with counted_reads(monkeypatch) as lengths:
            slide.read_region(100, 70, 0, Size(50, 21))
        assert lengths == [150] * 21
    with open_slide(layouts["deflate"], "tiffslide") as slide:
        with counted_reads(monkeypatch) as lengths:
            slide.read_region(100, 69, 0, Size(50, 16))
        assert len(lengths) == 4
        # A neighbour needs the same strips, decoded already.
        with counted_reads(monkeypatch) as lengths:
            slide.read_region(150, 69, 0, Size(50, 16))
        assert lengths == []


def test_one_uncompressed_strip_is_read_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    # A sparse file: 1.2 GB that take no room.
    pixels = tifffile.memmap(path, shape=(20_000, 20_000, 3), dtype=np.uint8, photometric="rgb")
    pixels[19_990:, 19_990:] = (10, 20, 30)
    del pixels
    with open_slide(path) as slide, peak_memory() as peak:
        corner = slide.read_region(19_900, 19_900, 0, Size(200, 200))
        assert peak() < 20 * MIB
    assert (corner[90:100, 90:100] == (10, 20, 30)).all()
    assert (corner[100:] == 255).all()
    assert not corner[:90, :90].any()


def test_decoded_strips_are_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "strips.tif"
    pixels = np.zeros((25_600, 1000, 3), np.uint8)
    tifffile.imwrite(path, pixels, rowsperstrip=256, compression="zlib", photometric="rgb")
    monkeypatch.setattr(segments, "_CACHE_BYTES", 2 * MIB)
    with open_slide(path) as slide, peak_memory() as peak:
        for top in range(0, 25_600, 256):
            slide.read_region(0, top, 0, Size(64, 64))
        # Of 73 MiB in all.
        assert peak() < 20 * MIB


def test_a_segment_larger_than_the_cache_is_decoded_once(
    layouts: dict[str, Path], image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_CACHE_BYTES", 1000)
    with (
        open_slide(layouts["lzw"], "tiffslide") as slide,
        counted_reads(monkeypatch) as lengths,
    ):
        for x in (0, 100):
            assert np.array_equal(slide.read_region(x, 0, 0, Size(50, 50)), image[:50, x : x + 50])
        assert len(lengths) == 1


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
def test_tiles_too_large_to_decode_are_refused(
    write_pyramid: WritePyramid,
    monkeypatch: pytest.MonkeyPatch,
    reader: Any,  # noqa: ANN401
) -> None:
    path = write_pyramid()
    monkeypatch.setattr(base, "MAX_DECODED_PX", 64 * 64)
    open_slide(path, reader).close()
    monkeypatch.setattr(base, "MAX_DECODED_PX", 64 * 64 - 1)
    with pytest.raises(UnsupportedSlideError, match=r"pyramid\.tif .* tiles of 64 x 64 px.*vips"):
        open_slide(path, reader)


def test_strips_too_large_to_decode_are_refused_unless_uncompressed(
    layouts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_DECODED_PX", 640 * 479)
    for name in ("raw, one strip", "deflate"):
        open_slide(layouts[name]).close()
    with pytest.raises(UnsupportedSlideError, match="strips of 640 x 480 px"):
        open_slide(layouts["lzw"])
