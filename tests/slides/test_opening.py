import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi_specdec.config import ReaderName
from wsi_specdec.errors import (
    ResolutionError,
    SlideNotFoundError,
    SlideReadError,
    UnsupportedSlideError,
)
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import open_slide

Image = NDArray[np.uint8]
WritePyramid = Callable[..., Path]
Reader = Literal["openslide", "tiffslide"]

READERS: tuple[Reader, ...] = ("openslide", "tiffslide")
ANY: tuple[ReaderName, ...] = ("auto", *READERS, "image")


@pytest.mark.parametrize("reader", READERS)
def test_aperio(aperio: Path, reader: Reader) -> None:
    with open_slide(aperio, reader) as slide:
        info = slide.info
    assert slide.path == aperio
    assert (info.reader, info.vendor, info.scanner) == (reader, "aperio", "CPAPERIOCS")
    assert info.level_sizes == (Size(2220, 2967),)
    assert info.level_downsamples == (1.0,)
    assert (info.mpp, info.mpp_source, info.objective_power) == (0.499, "metadata", 20.0)
    assert info.bounds == Box(0, 0, 2220, 2967)
    assert not info.fluorescence


@pytest.mark.parametrize(("reader", "levels"), [("openslide", 7), ("tiffslide", 4)])
def test_hamamatsu_says_that_it_is_fluorescence(
    fluorescence_ndpi: Path, reader: Reader, levels: int
) -> None:
    with open_slide(fluorescence_ndpi, reader) as slide:
        info = slide.info
    assert info.fluorescence
    assert (info.vendor, info.scanner, info.objective_power) == ("hamamatsu", "C9600-12", 40.0)
    assert info.mpp == pytest.approx(10_000 / 43_826)
    assert info.level_downsamples == tuple(2.0**i for i in range(levels))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20_000, 20_000), "CENTIMETER", 0.5),
        ((101_600, 101_600), "INCH", 0.25),
        ((20_000, 20_200), "CENTIMETER", (0.5 + 10_000 / 20_200) / 2),
        ((72, 72), "INCH", None),
        ((1, 1), "NONE", None),
        ((1e6, 1e6), "CENTIMETER", None),
    ],
)
def test_mpp_of_a_generic_tiff_is_its_resolution_where_plausible(
    write_pyramid: WritePyramid,
    reader: Reader,
    resolution: tuple[float, float],
    unit: str,
    mpp: float | None,
) -> None:
    with open_slide(write_pyramid(resolution=resolution, resolutionunit=unit), reader) as slide:
        info = slide.info
    assert info.vendor == "generic-tiff"
    assert info.mpp == (None if mpp is None else pytest.approx(mpp))
    assert info.mpp_source == (None if mpp is None else "metadata")


@pytest.mark.parametrize("reader", READERS)
def test_levels_of_a_pyramid(write_pyramid: WritePyramid, reader: Reader) -> None:
    with open_slide(write_pyramid(), reader) as slide:
        assert slide.info.level_sizes == (Size(640, 480), Size(320, 240), Size(160, 120))
        assert slide.info.level_downsamples == (1.0, 2.0, 4.0)


@pytest.mark.parametrize("reader", READERS)
def test_mpp_given_overrides(write_pyramid: WritePyramid, reader: Reader) -> None:
    path = write_pyramid(resolution=(20_000, 10_000))
    with open_slide(path, reader, mpp=0.3, mpp_source="manifest") as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (0.3, "manifest")
    with open_slide(path, reader, mpp=0.3) as slide:
        assert slide.info.mpp_source == "flag"


@pytest.mark.parametrize("reader", READERS)
def test_pixels_that_are_not_square_are_refused(
    write_pyramid: WritePyramid, reader: Reader
) -> None:
    path = write_pyramid(resolution=(20_000, 10_000))
    with pytest.raises(ResolutionError, match=r"not square: mpp 0\.5 by 1") as caught:
        open_slide(path, reader)
    assert str(path) in str(caught.value)


def test_an_implausible_mpp_is_refused_and_named(aperio: Path) -> None:
    with pytest.raises(ResolutionError, match=r"mpp 500 from the manifest for .*CMU-1"):
        open_slide(aperio, mpp=500, mpp_source="manifest")


@pytest.mark.parametrize("mpp", [b"MPP = 0.0001", b"MPP = 9999.9"])
def test_implausible_vendor_metadata_is_refused(aperio: Path, tmp_path: Path, mpp: bytes) -> None:
    path = tmp_path / "s.svs"
    path.write_bytes(aperio.read_bytes().replace(b"MPP = 0.4990", mpp))
    with pytest.raises(ResolutionError, match="is not plausible"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.info.mpp == 0.5


@pytest.mark.parametrize("reader", READERS)
def test_aperio_without_mpp_has_none(aperio: Path, tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "s.svs"
    path.write_bytes(aperio.read_bytes().replace(b"MPP = 0.4990", b"XPP = 0.4990"))
    with open_slide(path, reader) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (None, None)


def test_openslide_comes_first(write_pyramid: WritePyramid) -> None:
    with open_slide(write_pyramid()) as slide:
        assert slide.info.reader == "openslide"


@pytest.mark.parametrize("shape", [(100, 140, 3), (100, 140), (100, 140, 4)])
def test_a_plain_tiff_falls_to_tiffslide(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if shape[-1] == 4:
        pixels[..., 3] = 255
    kind = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "p.tif", pixels, photometric=kind)
    with open_slide(tmp_path / "p.tif") as slide:
        assert slide.info.reader == "tiffslide"
        assert slide.info.mpp is None
        read = slide.read_region(0, 0, 0, Size(140, 100))
    expected = pixels[..., :3] if len(shape) == 3 else np.stack([pixels] * 3, axis=-1)
    assert np.array_equal(read, expected)


@pytest.mark.parametrize(
    ("dtype", "shape"), [("uint16", (64, 64, 3)), ("float32", (64, 64)), ("uint8", (64, 64, 5))]
)
def test_pixels_of_other_kinds_are_unsupported(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, np.zeros(shape, dtype), photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnsupportedSlideError, match="8-bit grey, RGB and RGBA") as caught:
        open_slide(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("reader", ANY)
def test_a_missing_slide(tmp_path: Path, reader: ReaderName) -> None:
    with pytest.raises(SlideNotFoundError, match=r"no such slide: .*none\.svs"):
        open_slide(tmp_path / "none.svs", reader)


@pytest.mark.parametrize("reader", ANY)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.svs", b"These are not the pixels you are looking for.\n" * 50),
        ("empty.svs", b""),
        ("short.tif", b"II*\0"),
        ("wild.tif", b"II*\0" + b"\xff" * 500),
        ("random.ndpi", b"MM\0*" + bytes(range(256)) * 4),
        ("empty.dcm", b"\0" * 128 + b"DICM"),
        ("short.png", b"\x89PNG\r\n\x1a\n"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1"),
        ("short.jpg", b"\xff\xd8\xff\xe0"),
    ],
)
def test_what_is_no_slide_gets_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    reader: ReaderName,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SlideReadError) as caught:
        open_slide(path, reader)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_folder_is_no_slide(tmp_path: Path) -> None:
    with pytest.raises(SlideReadError, match=r"a folder without DICOM files \(\.dcm\)"):
        open_slide(tmp_path)


@pytest.mark.parametrize("reader", ANY)
def test_a_slide_that_may_not_be_read(tmp_path: Path, reader: ReaderName) -> None:
    path = tmp_path / "loop.svs"
    path.symlink_to(path)
    with pytest.raises(SlideReadError, match=r"cannot read the slide .*loop\.svs: Too many levels"):
        open_slide(path, reader)


def test_an_error_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0" + b"\xff" * 500)
    with pytest.raises(SlideReadError, match=r"copy it again.*OpenSlide: .*TiffSlide: "):
        open_slide(tmp_path / "a.tif")
    (tmp_path / "a.svs").write_text("text")
    with pytest.raises(SlideReadError, match=r"OpenSlide: .*\. Only TIFFs are tried with"):
        open_slide(tmp_path / "a.svs")


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_colours_that_would_come_out_wrong_are_unsupported(
    tmp_path: Path, photometric: str
) -> None:
    colours = np.zeros((3, 256), np.uint16) if photometric == "palette" else None
    tifffile.imwrite(
        tmp_path / "p.tif",
        np.zeros((64, 64), np.uint8),
        photometric=photometric,
        colormap=colours,
    )
    with pytest.raises(UnsupportedSlideError, match=f"stores colours as {photometric.upper()}"):
        open_slide(tmp_path / "p.tif")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_aperio_slide(
    aperio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], share: float
) -> None:
    path = tmp_path / "cut.svs"
    data = aperio.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideReadError, match=r"cut\.svs is corrupt, truncated") as caught:
        open_slide(path)
    assert "it is truncated" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_pyramid(write_pyramid: WritePyramid, share: float) -> None:
    path = write_pyramid()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideReadError, match="truncated"):
        open_slide(path)


def test_a_plain_tiff_with_its_pixels_cut(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, np.zeros((200, 200, 3), np.uint8), photometric="rgb")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SlideReadError, match="pixels lie beyond its end"):
        open_slide(path)


@pytest.mark.parametrize("reader", READERS)
def test_corruption_found_late_is_a_read_error(
    aperio: Path, tmp_path: Path, reader: Reader
) -> None:
    path = tmp_path / "bad.svs"
    data = bytearray(aperio.read_bytes())
    data[400_000:900_000] = np.random.default_rng(0).bytes(500_000)
    path.write_bytes(data)
    with open_slide(path, reader) as slide:
        # OpenSlide's handle stays poisoned: the same clear error again.
        for _ in range(2):
            with pytest.raises(SlideReadError, match=r"bad\.svs at .*corrupt or truncated"):
                slide.read_region(0, 0, 0, Size(2220, 2967))


def test_importing_slides_loads_nothing_heavy() -> None:
    code = "import sys, wsi_specdec.slides; print('|'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "timm", "matplotlib", "sklearn", "pandas", "tiffslide", "tifffile", "zarr"}
    assert heavy.isdisjoint(done.stdout.split("|"))


@pytest.mark.parametrize("reader", READERS)
def test_closing_twice_is_harmless(aperio: Path, reader: Reader) -> None:
    with open_slide(aperio, reader) as slide:
        slide.read_region(0, 0, 0, Size(8, 8))
        slide.close()
