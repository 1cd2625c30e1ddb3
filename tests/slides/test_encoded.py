"""Direct access to compressed tiles, against OpenSlide, tifffile and Pillow."""

import io
import pickle
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import (
    EncodedLevel,
    SlideReader,
    encoded_level,
    locate_encoded,
    open_slide,
)
from wsi_specdec.slides import (
    encoded as encoded_module,
)

Image = NDArray[np.uint8]
Write = Callable[..., Path]
APP14_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def found(reader: SlideReader, level: int = 0) -> EncodedLevel:
    encoded, why_not = locate_encoded(reader, level)
    assert encoded is not None, why_not
    assert why_not == ""
    return encoded


def scan_of(jpeg: bytes) -> bytes:
    """From SOS to the end."""
    return jpeg[jpeg.rindex(b"\xff\xda\x00\x0c\x03") :]


def assembled(level: EncodedLevel) -> Image:
    rows = [
        np.concatenate([level.decode(column, row) for column in range(level.columns)], axis=1)
        for row in range(level.rows)
    ]
    return np.concatenate(rows)[: level.size.height, : level.size.width]


def whole(reader: SlideReader, level: int = 0) -> Image:
    return reader.read_region(0, 0, level, reader.info.level_sizes[level])


def jpeg_tiles(image: Image, side: int, **options: Any) -> Iterator[bytes]:  # noqa: ANN401
    for y in range(0, image.shape[0], side):
        for x in range(0, image.shape[1], side):
            tile = image[y : y + side, x : x + side]
            missing = ((0, side - tile.shape[0]), (0, side - tile.shape[1]), (0, 0))
            tile = np.pad(tile, missing, mode="edge")
            yield bytes(imagecodecs.jpeg8_encode(tile, level=90, colorspace="RGB", **options))


def write_jpegs(path: Path, image: Image, tiles: list[bytes], photometric: str = "rgb") -> Path:
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter(tiles),
            shape=image.shape,
            dtype=np.uint8,
            tile=(64, 64),
            photometric=photometric,
            compression="jpeg",
            compressionargs={"outcolorspace": photometric},
            subsampling=(1, 1),
            metadata=None,
        )
    return path


@pytest.fixture
def smooth() -> Image:
    rows, columns = np.mgrid[0:200, 0:260]
    return np.stack([rows % 256, columns % 256, (rows + columns) // 2], axis=-1).astype(np.uint8)


def test_an_aperio_level_is_found_as_tifffile_sees_it(aperio: Path) -> None:
    with open_slide(aperio) as reader, tifffile.TiffFile(aperio) as tiff:
        level, page = found(reader), tiff.pages[0]
        assert level.offsets.ravel().tolist() == list(page.dataoffsets)
        assert level.counts.ravel().tolist() == list(page.databytecounts)
        assert (level.size, level.tile) == (Size(2220, 2967), Size(240, 240))
        assert (level.columns, level.rows, level.compression) == (10, 13, "jpeg")
        # The file's description says Q=30.
        assert level.quality == 30


@pytest.mark.parametrize("name", ["openslide", "tiffslide"])
def test_decoded_pixels_are_the_readers(name: Any, aperio: Path) -> None:  # noqa: ANN401
    with open_slide(aperio, name) as reader:
        assert (assembled(found(reader)) == whole(reader)).all()


def test_complete_jpegs_keep_the_scan_and_show_the_right_colours(aperio: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
        raw = level.read(np.arange(level.columns * level.rows))
        jpegs = level.read_jpegs(np.arange(level.columns * level.rows))
        for index in (0, 57, 129):
            assert scan_of(jpegs[index]) == scan_of(bytes(raw[index]))
            column, row = index % 10, index // 10
            alone = np.asarray(Pillow.open(io.BytesIO(jpegs[index])))
            assert (alone == level.decode(column, row)).all()
            assert jpegs[index] == level.read_jpeg(column, row)
        assert all(jpeg[2:18] == APP14_RGB for jpeg in jpegs)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"bigtiff": True}, {"compression": "lzw", "predictor": True}),
        ({"byteorder": ">"}, {"compression": "adobe_deflate", "predictor": True}),
        ({}, {"compression": "adobe_deflate"}),
        ({}, {"compression": None}),
        ({}, {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}),
        ({"bigtiff": True}, {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}),
        ({"byteorder": ">"}, {"compression": "jpeg", "photometric": "ycbcr"}),
    ],
)
@pytest.mark.parametrize("name", ["auto", "tiffslide"])
def test_every_kind_of_tile_gives_the_readers_pixels(
    name: Any,  # noqa: ANN401
    options: dict[str, Any],
    changes: dict[str, Any],
    smooth: Image,
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **options) as writer:
        for pixels in (smooth, smooth[::2, ::2]):
            settings = {"photometric": "rgb", "tile": (64, 80), **changes}
            writer.write(pixels, subfiletype=int(pixels is not smooth), metadata=None, **settings)
    with open_slide(path, name) as reader:
        for number in (0, 1):
            level = found(reader, number)
            assert level.tile == Size(80, 64)
            assert (assembled(level) == whole(reader, number)).all()
            if level.compression == "jpeg":
                alone = np.asarray(Pillow.open(io.BytesIO(level.read_jpeg(0, 0))))
                # Pillow's libjpeg may round chroma otherwise.
                assert np.abs(alone.astype(int) - level.decode(0, 0)).max() <= 3


def test_streams_with_tables_of_their_own_are_left_as_they_are(
    smooth: Image, tmp_path: Path
) -> None:
    tiles = list(jpeg_tiles(smooth, 64, outcolorspace="YCbCr", subsampling="444"))
    # Huffman tables made for each tile, so that no two headers are alike.
    optimised = [
        bytes(imagecodecs.jpeg8_encode(
            imagecodecs.jpeg8_decode(tile), level=90, colorspace="RGB", outcolorspace="YCbCr",
            subsampling="444", optimize=True,
        )) for tile in tiles
    ]  # fmt: skip
    path = write_jpegs(tmp_path / "a.tif", smooth, optimised, "ycbcr")
    with open_slide(path) as reader:
        level = found(reader)
        assert level.read_jpegs(np.arange(len(tiles))) == optimised
        assert (assembled(level) == whole(reader)).all()


def test_a_tile_of_another_size_or_colour_is_refused(smooth: Image, tmp_path: Path) -> None:
    tiles = list(jpeg_tiles(smooth, 64, outcolorspace="YCbCr", subsampling="444"))
    tiles[3] = next(jpeg_tiles(smooth, 64, outcolorspace="RGB"))
    tiles[5] = next(jpeg_tiles(smooth, 48, outcolorspace="YCbCr", subsampling="444"))
    path = write_jpegs(tmp_path / "a.tif", smooth, tiles, "ycbcr")
    with open_slide(path) as reader:
        level = found(reader)
    for index in (3, 5):
        with pytest.raises(SlideReadError, match="not those of the other tiles"):
            level.read_jpegs(np.array([0, index]))
        with pytest.raises(SlideReadError, match=rf"column {index % 5}, row {index // 5}"):
            level.decode(index % 5, index // 5)


def test_a_marker_that_contradicts_the_tiff_leaves_the_level_to_the_reader(
    smooth: Image, tmp_path: Path
) -> None:
    tiles = list(jpeg_tiles(smooth, 64, outcolorspace="YCbCr", subsampling="444"))
    assert all(tile[6:10] == b"JFIF" for tile in tiles)
    path = write_jpegs(tmp_path / "a.tif", smooth, tiles, "rgb")
    with open_slide(path) as reader:
        assert locate_encoded(reader, 0) == (
            None,
            "the JPEGs' own colour marker contradicts the TIFF's",
        )
        assert encoded_level(reader, 0) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tile": None}, "0 of its TIFF directories are tiled"),
        ({"compression": "zstd"}, "compression .* is not decoded"),
        ({"planarconfig": "separate"}, "not plain 8-bit colour"),
        ({"extratags": [(274, 3, 1, 6, True)]}, "not plain 8-bit colour"),
    ],
)
def test_what_cannot_be_decoded_alike_is_left_to_the_reader(
    changes: dict[str, Any], reason: str, write_pyramid: Write
) -> None:
    with open_slide(write_pyramid(**changes)) as reader:
        encoded, why_not = locate_encoded(reader, 0)
    assert encoded is None
    assert re.search(reason, why_not)


def test_other_formats_are_left_to_their_library(fluorescence_ndpi: Path) -> None:
    with open_slide(fluorescence_ndpi) as reader:
        assert locate_encoded(reader, 0)[1] == "hamamatsu slides are read by their library alone"


def test_two_levels_of_one_size_are_ambiguous(write_pyramid: Write) -> None:
    path = write_pyramid(downsamples=(1, 1))
    with open_slide(path) as reader:
        assert locate_encoded(reader, 0)[1].startswith("2 of its TIFF directories")


def test_reading_joins_neighbours_and_keeps_the_order_asked_for(
    write_pyramid: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(write_pyramid()) as reader:
        level = found(reader)
    data = level.path.read_bytes()
    indices = np.array([7, 2, 3, 30, 2, 0, 79])
    calls: list[int] = []
    real = encoded_module._pread

    def counted(descriptor: int, offset: int, length: int, path: Path) -> bytes:
        calls.append(length)
        return real(descriptor, offset, length, path)

    monkeypatch.setattr(encoded_module, "_pread", counted)
    views = level.read(indices)
    for index, view in zip(indices, views, strict=True):
        start, count = int(level.offsets.ravel()[index]), int(level.counts.ravel()[index])
        assert view == data[start : start + count]
    assert len(calls) == 1
    # Nor are many read at a time that are not wanted, or more than a bounded number of bytes.
    calls.clear()
    monkeypatch.setattr(encoded_module, "_GAP_BYTES", 100)
    monkeypatch.setattr(encoded_module, "_READ_BYTES", 10_000)
    assert [bytes(view) for view in level.read(indices)] == [bytes(view) for view in views]
    assert len(calls) > 3
    calls.clear()
    everything = np.arange(level.columns * level.rows)
    assert sum(map(len, level.read(everything))) == level.counts.sum() > 30_000
    assert max(calls) <= 10_000 + int(level.counts.max())
    assert level.read(np.empty(0, np.int64)) == []


@pytest.mark.parametrize(
    ("offset", "count"), [(2**63, 100), (2**64 - 50, 100), (0, 2**40), (10**9, 10)]
)
def test_a_damaged_table_is_one_clear_error(offset: int, count: int, aperio: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    offsets, counts = level.offsets.copy(), level.counts.copy()
    offsets[2, 1], counts[2, 1] = offset, count
    damaged = replace(level, offsets=offsets, counts=counts)
    with pytest.raises(SlideReadError, match=r"column 1, row 2 of level 0 of .*CMU-1.*claims"):
        damaged.read(np.arange(40))
    assert len(damaged.read(np.arange(20))) == 20


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "start"])
def test_damaged_jpegs_are_refused(damage: str, aperio: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    data = bytearray(level.read(np.array([44]))[0])
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "zeroed":
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    else:
        data[0:2] = b"\0\0"
    with pytest.raises(SlideReadError, match=r"column 4, row 4 of level 0.*start or end"):
        level.decode_bytes(bytes(data), 44)


def test_a_marker_within_the_scan_is_refused_by_who_copies(aperio: Path, tmp_path: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    start, count = int(level.offsets[4, 4]), int(level.counts[4, 4])
    data = bytearray(aperio.read_bytes())
    middle = start + count // 2
    path = tmp_path / "a.svs"
    copied = replace(level, path=path)
    harmless = {b"\xff\x00", b"\xff\xd3", b"\xff\xff\x00"}
    for planted in (*harmless, b"\xff\x12", b"\xff\xd9", b"\xff\xff\xc4"):
        damaged = data.copy()
        damaged[middle - 1 : middle + 4] = b"\x01" + planted + bytes(4 - len(planted))
        path.write_bytes(damaged)
        if planted in harmless:
            assert len(copied.read_jpegs(np.arange(60))) == 60
            continue
        with pytest.raises(SlideReadError, match=r"column 4, row 4 .*a marker stands within"):
            copied.read_jpegs(np.arange(60))
        # No other tile is blamed.
        assert len(copied.read_jpegs(np.delete(np.arange(60), 44))) == 59


def test_fill_bytes_before_the_end_are_no_damage(aperio: Path, tmp_path: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    start, count = int(level.offsets[4, 4]), int(level.counts[4, 4])
    data = bytearray(aperio.read_bytes())
    data[start + count - 3] = 0xFF
    path = tmp_path / "a.svs"
    path.write_bytes(data)
    (jpeg,) = replace(level, path=path).read_jpegs(np.array([44]))
    assert jpeg[-3:] == b"\xff\xff\xd9"


def test_progressive_jpegs_are_left_to_the_reader(smooth: Image, tmp_path: Path) -> None:
    tiles = [
        _pillow_jpeg(imagecodecs.jpeg8_decode(tile), progressive=True)
        for tile in jpeg_tiles(smooth, 64)
    ]
    with open_slide(write_jpegs(tmp_path / "a.tif", smooth, tiles, "ycbcr")) as reader:
        assert locate_encoded(reader, 0)[1] == "it is a JPEG of a kind that is not decoded directly"


def _pillow_jpeg(tile: Any, **options: Any) -> bytes:  # noqa: ANN401
    file = io.BytesIO()
    Pillow.fromarray(np.asarray(tile)).save(file, "jpeg", **options)
    return file.getvalue()


def test_padding_behind_a_stream_is_left_out(aperio: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    data = bytes(level.read(np.array([44]))[0]) + bytes(3)
    assert (level.decode_bytes(data, 44) == level.decode(4, 4)).all()


@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate", None])
def test_damaged_lossless_tiles_are_refused(compression: str | None, write_pyramid: Write) -> None:
    with open_slide(write_pyramid(compression=compression)) as reader:
        level = found(reader)
    with pytest.raises(SlideReadError, match="column 2, row 0"):
        level.decode_bytes(b"\xff\x12garbage", 2)


def test_a_jpeg_2000_header_is_believed_only_where_it_is_the_tiles(tmp_path: Path) -> None:
    tile = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    level = EncodedLevel(
        path=tmp_path / "a.svs",
        level=0,
        size=Size(64, 64),
        tile=Size(64, 64),
        columns=1,
        rows=1,
        offsets=np.zeros((1, 1), np.uint64),
        counts=np.ones((1, 1), np.uint64),
        compression="jpeg2000",
    )
    data = bytearray(imagecodecs.jpeg2k_encode(tile, codecformat="j2k", level=0, mct=False))
    assert (level.decode_bytes(bytes(data), 0) == tile).all()
    data[8:16] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(SlideReadError, match="no JPEG 2000 of the tile's size"):
        level.decode_bytes(bytes(data), 0)
    with pytest.raises(ValueError, match="holds jpeg2000, not JPEG"):
        level.read_jpegs(np.array([0]))


def test_a_level_crosses_process_boundaries(aperio: Path) -> None:
    with open_slide(aperio) as reader:
        level = found(reader)
    again = pickle.loads(pickle.dumps(level))  # noqa: S301 - our own
    assert (again.decode(3, 4) == level.decode(3, 4)).all()
