"""Corrupted files are read or refused, never more: seeded cuts, flips and zeroed ranges."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide

Image = NDArray[np.uint8]
VARIANTS = 100


def corrupted(data: bytes, seed: int) -> bytes:
    """Cut, flip bits in, or zero a part of the file, often near its ends, where headers lie."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    kind, place = rng.integers(3), rng.integers(3)
    if kind == 0:
        return bytes(out[: rng.integers(1, len(out))])
    span = min(4000, len(out))
    start = int([0, len(out) - span, 0][place] + rng.integers([span, span, len(out)][place]))
    if kind == 1:
        for offset in rng.integers(0, 200, rng.integers(1, 20)):
            out[min(len(out) - 1, start + int(offset))] ^= 1 << int(rng.integers(8))
        return bytes(out)
    stop = min(len(out), start + int(rng.integers(1, 10 ** rng.integers(1, 6))))
    out[start:stop] = bytes(stop - start)
    return bytes(out)


def read_whole(path: Path) -> bool:
    """Tell whether a slide can be read; any other error than ours fails the test."""
    try:
        with open_slide(path) as slide:
            size = slide.info.level_sizes[0]
            whole = Size(min(size.width, 4096), min(size.height, 4096))
            slide.read_region(0, 0, 0, whole)
    except SlideReadError as error:
        message = str(error)
    else:
        return True
    assert str(path) in message
    assert "\n" not in message
    return False


def write_png(path: Path, pixels: Image) -> None:
    Pillow.fromarray(pixels).save(path)


def write_jpeg(path: Path, pixels: Image) -> None:
    Pillow.fromarray(pixels).save(path)


def write_striped(path: Path, pixels: Image) -> None:
    tifffile.imwrite(path, pixels, rowsperstrip=16, compression="zlib", photometric="rgb")


def write_tiled(path: Path, pixels: Image) -> None:
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="jpeg", photometric="rgb")


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".png", write_png),
        (".jpg", write_jpeg),
        (".tif", write_striped),
        (".tiff", write_tiled),
    ],
)
def test_corrupted_pictures(
    tmp_path: Path,
    image: Image,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    write: Callable[[Path, Image], Any],
) -> None:
    good, bad = tmp_path / f"good{suffix}", tmp_path / f"bad{suffix}"
    write(good, image[::2, ::2])
    assert read_whole(good)
    readable = 0
    for seed in range(VARIANTS):
        bad.write_bytes(corrupted(good.read_bytes(), seed))
        readable += read_whole(bad)
    assert readable < VARIANTS - 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_corrupted_slides(aperio: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.svs"
    readable = 0
    for seed in range(VARIANTS):
        bad.write_bytes(corrupted(aperio.read_bytes(), seed))
        readable += read_whole(bad)
    assert 10 < readable < VARIANTS - 20


def test_corrupted_dicom(dicom: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    readable = 0
    for seed in range(VARIANTS):
        bad.write_bytes(corrupted(dicom.read_bytes(), seed))
        readable += read_whole(bad)
    assert readable < VARIANTS - 20
