"""TIFF directories, against tifffile; and damaged ones, which may cost nothing but an error."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.slides import locate_encoded, open_slide
from wsi_specdec.slides.encoded_directory import (
    BITS_PER_SAMPLE,
    IMAGE_WIDTH,
    JPEG_TABLES,
    SUB_DIRECTORIES,
    TILE_BYTE_COUNTS,
    TILE_OFFSETS,
    read_directories,
)

Image = NDArray[np.uint8]


def test_a_real_files_directories_are_tifffiles(aperio: Path) -> None:
    found = read_directories(aperio)
    with tifffile.TiffFile(aperio) as tiff:
        pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
        assert len(found) == len(pages) == 4
        for tags, page in zip(found, pages, strict=True):
            assert tags[IMAGE_WIDTH].tolist() == [page.imagewidth]
        assert found[0][TILE_OFFSETS].tolist() == list(pages[0].dataoffsets)
        assert found[0][TILE_BYTE_COUNTS].tolist() == list(pages[0].databytecounts)
        assert found[0][JPEG_TABLES].astype(np.uint8).tobytes() == pages[0].jpegtables


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_layout_is_read_with_what_hangs_below(
    bigtiff: bool,
    byteorder: Any,  # noqa: ANN401
    image: Image,
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
        writer.write(image, subifds=2, **options)
        writer.write(image[::2, ::2], subfiletype=1, **options)
        writer.write(image[::4, ::4], subfiletype=1, **options)
        writer.write(image[::8, ::8], **options)
    found = read_directories(path)
    assert [int(tags[IMAGE_WIDTH][0]) for tags in found] == [640, 320, 160, 80]
    assert len(found[0][SUB_DIRECTORIES]) == 2
    assert [tags[BITS_PER_SAMPLE].tolist() for tags in found] == [[8, 8, 8]] * 4
    with tifffile.TiffFile(path) as tiff:
        assert found[3][TILE_OFFSETS].tolist() == list(tiff.pages[1].dataoffsets)


def directory(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A classic little-endian TIFF of one directory at byte 8."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + body + struct.pack("<I", following)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no TIFF"),
        (b"not a TIFF at all, but text", "no TIFF"),
        (b"II" + struct.pack("<H", 44) + bytes(12), "version 44"),
        (struct.pack("<2sHI", b"II", 42, 10_000) + bytes(8), "lie outside"),
        (struct.pack("<2sHIH", b"II", 42, 8, 60_000) + bytes(20), "lie outside"),
        (directory([(324, 4, 2**31, 8)]), "lie outside"),
        (directory([(324, 4, 100, 2**32 - 8)]), "lie outside"),
    ],
)
def test_damaged_directories_are_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_directories(path)


def test_directories_in_a_circle_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for data in (directory([(256, 4, 1, 7)], following=8), directory([(330, 4, 1, 8)])):
        path.write_bytes(data)
        assert len(read_directories(path)) == 1


def test_a_claim_beyond_reason_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        file.write(directory([(324, 16, 2**26, 8)]))
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(ValueError, match="lie outside"):
        read_directories(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_whatever_bits_are_flipped_it_is_pixels_or_one_clear_error(
    write_pyramid: Callable[..., Path], image: Image
) -> None:
    path = write_pyramid(pixels=image[:128, :192], downsamples=(1,))
    whole = path.read_bytes()
    with open_slide(path) as reader:
        size = reader.info.level_sizes[0]
    outcomes = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        # The directory lies at the start: half of the damage is to it.
        reach = 400 if seed % 2 else len(data)
        for at in rng.integers(0, reach, rng.integers(1, 12)):
            data[at] ^= 1 << rng.integers(8)
        path.write_bytes(data if seed % 3 else data[: rng.integers(1, len(data))])
        outcomes.append(_outcome(path))
    assert size.width == 192
    assert set(outcomes) == {"decoded", "left to the reader", "refused"}


def _outcome(path: Path) -> str:
    try:
        with open_slide(path, mpp=0.5) as reader:
            level, reason = locate_encoded(reader, 0)
            if level is None:
                assert reason
                return "left to the reader"
            tiles = np.flatnonzero(~level.missing(np.arange(level.columns * level.rows)))
            for index in tiles.tolist():
                pixels = level.decode(index % level.columns, index // level.columns)
                assert pixels.shape == (level.tile.height, level.tile.width, 3)
            return "decoded"
    except (SlideReadError, UnsupportedSlideError):
        return "refused"
