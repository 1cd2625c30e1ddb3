"""PNG and JPEG pictures as slides of one level."""

import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import base, open_slide

Image = NDArray[np.uint8]


def save(path: Path, pixels: NDArray[Any], mode: str | None = None, **options: Any) -> Path:  # noqa: ANN401
    picture = Pillow.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def read(path: Path) -> Image:
    with open_slide(path) as slide:
        return slide.read_region(0, 0, 0, slide.info.level_sizes[0])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("name", "density", "mpp"),
    [
        ("a.png", 50_800, 0.5),
        ("a.jpg", 50_800, 0.5),
        ("a.JPEG", 72, None),
        ("a.png", 300, None),
        ("a.png", None, None),
    ],
)
def test_a_picture_is_a_slide_of_one_level(
    tmp_path: Path, image: Image, name: str, density: int | None, mpp: float | None
) -> None:
    options: dict[str, Any] = {} if density is None else {"dpi": (density, density)}
    with open_slide(save(tmp_path / name, image, **options)) as slide:
        info = slide.info
    assert (info.reader, info.vendor) == ("image", "png" if name.endswith("png") else "jpeg")
    assert (info.level_sizes, info.level_downsamples) == ((Size(640, 480),), (1.0,))
    assert info.bounds == Box(0, 0, 640, 480)
    # PNG counts whole pixels per metre.
    assert info.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-5))
    assert info.mpp_source == (None if mpp is None else "metadata")


def test_a_density_that_is_contradicted_warns(tmp_path: Path, image: Image) -> None:
    path = save(tmp_path / "a.png", image, dpi=(50_800, 50_800))
    with open_slide(path, mpp=0.25) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (0.25, "flag")
        assert "the file states 0.5" in slide.info.warnings[0]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    x=st.integers(-60, 700),
    y=st.integers(-60, 500),
    size=st.builds(Size, st.integers(1, 80), st.integers(1, 80)),
)
def test_regions_are_its_pixels_and_white_outside(
    tmp_path: Path, image: Image, x: int, y: int, size: Size
) -> None:
    path = tmp_path / "a.png"
    if not path.exists():
        save(path, image)
    padded = np.pad(image, ((200, 200), (200, 200), (0, 0)), constant_values=255)
    with open_slide(path) as slide:
        region = slide.read_region(x, y, 0, size)
    top, left = y + 200, x + 200
    assert np.array_equal(region, padded[top : top + size.height, left : left + size.width])


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_every_kind_of_8_bit_pixels_becomes_rgb(tmp_path: Path, image: Image, mode: str) -> None:
    path = save(tmp_path / "a.png", image[::4, ::4], mode)
    expected = np.asarray(Pillow.open(path).convert("RGB"))
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparency_shows_white(tmp_path: Path, alpha: int) -> None:
    pixels = np.full((8, 8, 4), (200, 10, 60, alpha), np.uint8)
    expected = alpha / 255 * np.array([200, 10, 60]) + (1 - alpha / 255) * 255
    assert np.abs(read(save(tmp_path / "a.png", pixels)) - expected).max() <= 0.5


def test_a_colour_that_is_named_transparent_shows_white(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), (200, 10, 60), np.uint8)
    pixels[:4] = (1, 2, 3)
    found = read(save(tmp_path / "a.png", pixels, transparency=(1, 2, 3)))
    assert (found[:4] == 255).all()
    assert np.array_equal(found[4:], pixels[4:])


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_16_bit_pixels_are_unsupported(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "deep.png"
    if kind == "grey":
        save(path, np.zeros((4, 4), np.uint16))
    else:
        rows = zlib.compress(b"".join(b"\0" + bytes(4 * 6) for _ in range(4)))
        header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", rows)
            + chunk(b"IEND", b"")
        )
    with pytest.raises(UnsupportedSlideError, match=r"deep\.png has 16-bit pixels"):
        open_slide(path)


def test_cmyk_is_unsupported(tmp_path: Path, image: Image) -> None:
    with pytest.raises(UnsupportedSlideError, match="of kind CMYK"):
        open_slide(save(tmp_path / "a.jpg", image, "CMYK"))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_picture_to_be_turned_is_unsupported(tmp_path: Path, image: Image, name: str) -> None:
    for orientation in (1, 6):
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / name, image, exif=exif)
        if orientation == 1:
            open_slide(path).close()
        else:
            with pytest.raises(UnsupportedSlideError, match="EXIF orientation 6"):
                open_slide(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x" * 100))
    tracemalloc.start()
    with pytest.raises(UnsupportedSlideError, match=r"60000 x 60000 px.*tiled TIFF"):
        open_slide(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_the_limit_itself_is_still_read(
    tmp_path: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", image)
    monkeypatch.setattr(base, "MAX_DECODED_PX", 640 * 480)
    open_slide(path).close()
    monkeypatch.setattr(base, "MAX_DECODED_PX", 640 * 480 - 1)
    with pytest.raises(UnsupportedSlideError, match="the limit is 307,199 px"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_truncation_is_found_when_it_is_read(tmp_path: Path, image: Image, name: str) -> None:
    path = save(tmp_path / name, image)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideReadError, match=r"cannot read .*corrupt or truncated"):
                slide.read_region(0, 0, 0, Size(8, 8))


def test_other_files_are_named_to_the_image_reader(aperio: Path) -> None:
    with pytest.raises(SlideReadError, match="neither PNG nor JPEG: leave out --reader image"):
        open_slide(aperio, "image")


def test_a_level_that_it_does_not_have(tmp_path: Path, image: Image) -> None:
    with open_slide(save(tmp_path / "a.png", image)) as slide, pytest.raises(IndexError):
        slide.read_region(0, 0, 1, Size(8, 8))


def test_threads_share_a_picture(tmp_path: Path, image: Image) -> None:
    places = [(x, y) for x in range(0, 600, 50) for y in range(0, 400, 50)]
    path = save(tmp_path / "a.png", image)
    with open_slide(path) as slide, ThreadPoolExecutor(4) as pool:
        regions = list(pool.map(lambda p: slide.read_region(p[0], p[1], 0, Size(32, 32)), places))
    for (x, y), region in zip(places, regions, strict=True):
        assert np.array_equal(region, image[y : y + 32, x : x + 32])
