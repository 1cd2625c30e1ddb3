from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi_specdec.errors import ImageError, ManifestError
from wsi_specdec.images import base, find_images, open_image

GREY: NDArray[np.uint8] = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
RGB: NDArray[np.uint8] = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def saved(path: Path, pixels: NDArray[Any], exif: Image.Exif | None = None) -> Path:
    Image.fromarray(pixels).save(path, exif=exif or Image.Exif())
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_lossless_pictures_are_read_as_they_are(
    tmp_path: Path, suffix: str, pixels: NDArray[np.uint8]
) -> None:
    picture = open_image(saved(tmp_path / f"a.{suffix}", pixels))
    assert picture.pixels.dtype == np.uint8
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.pixel_aspect, picture.patient_id, picture.view) == (1.0, None, None)


def test_a_jpeg_is_read_near_to_what_was_written(tmp_path: Path) -> None:
    picture = open_image(saved(tmp_path / "a.jpg", GREY))
    assert picture.pixels.shape == GREY.shape
    assert np.abs(picture.pixels.astype(int) - GREY).mean() < 3


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", RGB).rename(tmp_path / "a.jpg")
    assert np.array_equal(open_image(tmp_path / "a.jpg").pixels, RGB)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_stretched_to_the_whole_range(tmp_path: Path, suffix: str) -> None:
    # Twelve bits in sixteen, as detectors give them.
    values = np.array([[100, 2100], [4100, 1100]], np.uint16)
    picture = open_image(saved(tmp_path / f"a.{suffix}", values))
    assert picture.pixels.tolist() == [[0, 32768], [65535, 16384]]


def test_without_contrast_all_is_black(tmp_path: Path) -> None:
    picture = open_image(saved(tmp_path / "a.png", np.full((2, 2), 700, np.uint16)))
    assert picture.pixels.tolist() == [[0, 0], [0, 0]]


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / "a.png")
    assert np.array_equal(open_image(tmp_path / "a.png").pixels, np.where(GREY > 100, 255, 0))


def test_transparency_shows_white(tmp_path: Path) -> None:
    layered = np.dstack([RGB, np.zeros_like(GREY)])
    layered[:3, :, 3] = 255
    picture = open_image(saved(tmp_path / "a.png", layered))
    assert np.array_equal(picture.pixels[:3], RGB[:3])
    assert (picture.pixels[3:] == 255).all()


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode=None).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [40, 50, 60]], [[40, 50, 60], [10, 20, 30]]]
    assert open_image(tmp_path / "a.png").pixels.tolist() == expected


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    assert np.array_equal(open_image(path).pixels, np.rot90(GREY, -1))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.png is no readable PNG, JPEG or TIFF"):
        open_image(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no image")
    with pytest.raises(ImageError, match=r"a\.png is no readable"):
        open_image(path)
    with pytest.raises(ImageError, match="no such image"):
        open_image(tmp_path / "b.png")
    path.rename(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match=r"a\.dcm is no DICOM file"):
        open_image(tmp_path / "a.dcm")


def test_pixels_of_other_kinds_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 4), np.uint8), mode=None).convert("CMYK").save(
        tmp_path / "a.jpg"
    )
    with pytest.raises(ImageError, match=r"a\.jpg has pixels of the kind CMYK"):
        open_image(tmp_path / "a.jpg")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match=r"a\.tif holds 2 pages"):
        open_image(tmp_path / "a.tif")


def test_what_is_too_large_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_PIXELS", 47)
    path = saved(tmp_path / "a.png", GREY)
    with pytest.raises(ImageError, match="a size of 8 by 6 pixels"):
        open_image(path)


def test_folders_are_searched_by_suffix_and_by_content(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "1.2.840.99").write_bytes(b"\0" * 128 + b"DICM")
    assert [path.name for path in find_images(tmp_path)] == ["1.2.840.99", "a.jpg", "b.PNG"]
    with pytest.raises(ManifestError, match="cannot read the folder"):
        find_images(tmp_path / "missing")
