"""Masks from images of every layout, and from regions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi_specdec.annotations import mask_blocks, mask_image, read_mask
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size

LEVEL0 = Size(400, 200)
LEVEL0_SQUARE = Size(640, 640)
Save = Callable[..., Path]


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    mask = np.zeros((50, 100), np.uint8)
    mask[:, :30] = 7
    return mask


@pytest.mark.parametrize("kind", ["grey.png", "colour.png", "alpha.png", "16bit.png", "grey.tif"])
def test_whatever_is_not_black_is_marked(
    kind: str, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / kind
    red = np.stack([mask * 0, mask * 0, mask], axis=2)
    images: dict[str, NDArray[np.integer[Any]]] = {
        "grey.png": mask,
        "colour.png": red,
        "alpha.png": np.dstack([red, np.full_like(mask, 255)]),
        "16bit.png": mask.astype(np.uint16) * 256,
        "grey.tif": mask,
    }
    cv2.imwrite(str(path), images[kind])
    found = read_mask(path, LEVEL0)
    assert (found.pixels == (mask > 0)).all()
    assert found.scale == (4.0, 4.0)


LAYOUTS: dict[str, dict[str, Any]] = {
    "mapped": {},
    "big-endian": {"byteorder": ">"},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 32), "compression": "lzw"},
    "predictor": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "big": {"bigtiff": True, "tile": (48, 16)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "samples"),
    [(np.bool_, 1), (np.uint8, 1), (np.uint8, 3), (np.uint16, 3), (np.int32, 1), (np.float32, 1)],
)
def test_every_layout_of_a_tiff_reads_alike(
    layout: str, dtype: type[np.generic], samples: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    values = (rng.random((50, 100)) < 0.3).astype(dtype)
    image = values
    if samples == 3:
        image = np.zeros((50, 100, 3), dtype)
        image[..., 0] = values
    settings = dict(LAYOUTS[layout])
    if dtype in {np.bool_, np.float32}:
        settings.pop("predictor", None)
    opening = {name: settings.pop(name) for name in ("byteorder", "bigtiff") if name in settings}
    with tifffile.TiffWriter(tmp_path / "mask.tif", **opening) as tif:
        tif.write(image, photometric="rgb" if samples == 3 else "minisblack", **settings)
    found = read_mask(tmp_path / "mask.tif", LEVEL0)
    assert (found.pixels == (values != 0)).all()


def test_of_a_pyramid_the_finest_level_within_bounds_is_read(
    mask: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(np.kron(mask, np.ones((4, 4), np.uint8)), subifds=1, tile=(64, 64))
        tif.write(mask, subfiletype=1, tile=(64, 64))
    assert read_mask(path, LEVEL0).scale == (1.0, 1.0)
    monkeypatch.setattr(mask_image, "_MAX_SIDE", 200)
    assert read_mask(path, LEVEL0).scale == (4.0, 4.0)


@pytest.mark.parametrize("side", [34, 50, 99, 7])
@pytest.mark.parametrize("name", ["mask.tif", "mask.png"])
def test_a_large_mask_is_reduced_by_majority(
    side: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_image, "_MAX_SIDE", side)
    monkeypatch.setattr(mask_blocks, "_BLOCK_SIDE", 23)
    image = (np.random.default_rng(side).random((51, 100)) < 0.5).astype(np.uint8) * 3
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, image, tile=(16, 32), compression="zlib")
    else:
        cv2.imwrite(str(path), image)
    found = read_mask(path, Size(1000, 510))
    factor = -(-100 // side)
    expected = np.array(
        [
            [
                (image[y : y + factor, x : x + factor] > 0).mean() >= 0.5
                for x in range(0, 100, factor)
            ]
            for y in range(0, 51, factor)
        ]
    )
    assert (found.pixels == expected).all()
    assert max(found.pixels.shape) <= side
    assert found.scale == (10.0 * factor, 10.0 * factor)


def test_sides_rounded_to_whole_pixels_fit(tmp_path: Path) -> None:
    path = tmp_path / "tiny.png"
    cv2.imwrite(str(path), np.ones((5, 9), np.uint8))
    assert read_mask(path, Size(1000, 520)).pixels.all()


@pytest.mark.parametrize("name", ["gone.png", "gone.tif", "gone.geojson"])
def test_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"not found: .*{name}"):
        read_mask(tmp_path / name, LEVEL0)


@pytest.mark.parametrize("name", ["bad.png", "bad.tif"])
def test_unreadable_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("not an image")
    with pytest.raises(ManifestError, match=rf"cannot read the mask .*{name}"):
        read_mask(tmp_path / name, LEVEL0)


@pytest.mark.parametrize("layout", ["mapped", "strips", "tiles"])
def test_a_damaged_tiff_is_read_or_named(
    layout: str, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, mask, **LAYOUTS[layout])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(100):
        damaged = bytearray(whole)
        start = int(rng.integers(len(whole)))
        damaged[start : start + 40] = rng.bytes(len(damaged[start : start + 40]))
        path.write_bytes(damaged)
        try:
            read_mask(path, LEVEL0)
        except ManifestError as error:
            refused.append(str(error))
    assert refused
    assert all("mask.tif" in message for message in refused)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_tiff_is_named(layout: str, mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    settings = dict(LAYOUTS[layout])
    opening = {name: settings.pop(name) for name in ("byteorder", "bigtiff") if name in settings}
    with tifffile.TiffWriter(path, **opening) as tif:
        tif.write(mask, photometric="minisblack", **settings)
    whole = path.read_bytes()
    for kept in (0, 9, 100, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(ManifestError, match=r"mask\.tif"):
            read_mask(path, LEVEL0)


def test_what_a_decoder_would_make_up_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    tifffile.imwrite(path, image, tile=(64, 64), compression="jpeg")
    whole = path.read_bytes()
    path.write_bytes(whole[:-600])
    with pytest.raises(ManifestError, match="pieces of it are missing"):
        read_mask(path, LEVEL0_SQUARE)


def test_fewer_tiles_than_there_should_be_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.ones((64, 64), np.uint8), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag in ("TileOffsets", "TileByteCounts"):
            entry = tif.pages.first.tags[tag]
            entry.overwrite(entry.value[:5])
    with pytest.raises(ManifestError, match="pieces of it are missing"):
        read_mask(path, LEVEL0_SQUARE)


def test_a_sparse_tile_is_zero(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    blocks = [np.full((16, 16), 1, np.uint8).tobytes() if i % 2 else b"" for i in range(4)]
    tifffile.imwrite(path, iter(blocks), shape=(32, 32), dtype=np.uint8, tile=(16, 16))
    found = read_mask(path, Size(64, 64)).pixels
    assert not found[:, :16].any()
    assert found[:, 16:].all()


def test_mask_of_another_shape_is_refused(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    cv2.imwrite(str(path), mask.T)
    with pytest.raises(ManifestError, match=r"turned\.png is 50 by 100 px, which does not fit"):
        read_mask(path, LEVEL0)


@pytest.mark.parametrize("name", ["huge.png", "huge.bmp", "huge.tif"])
def test_a_piece_too_large_to_decode_is_refused(
    name: str, mask: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, mask, compression="zlib", rowsperstrip=50)
    else:
        cv2.imwrite(str(path), mask)
    monkeypatch.setattr(mask_blocks, "MAX_MASK_PIXELS", 100)
    with pytest.raises(ManifestError, match="save it as a tiled TIFF, or at a lower resolution"):
        read_mask(path, LEVEL0)


def test_stack_of_planes_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((3, 50, 100), np.uint8), photometric="minisblack")
    with pytest.raises(ManifestError, match="one plane of pixels"):
        read_mask(path, LEVEL0)


def test_regions_are_drawn(save: Save) -> None:
    hole = square(60, 60, 20)
    path = save(
        [
            ("Tissue", [square(40, 40, 80), hole]),
            (None, [square(200, 40, 20)]),
            ("Normal", [square(200, 60, 20)]),
            ("x", [square(220, 40, 20)]),
            ("2", [square(220, 60, 20)]),
            ("Ignore*", [square(100, 40, 20)]),
            ("Region*", [square(300, 40, 40)]),
        ]
    )
    expected = np.zeros((200, 400), bool)
    expected[40:120, 40:120] = True
    expected[60:80, 60:80] = False
    expected[40:60, 100:120] = False
    expected[40:80, 200:240] = True
    found = read_mask(path, LEVEL0)
    assert found.scale == (1.0, 1.0)
    assert (found.pixels == expected).all()
    moved = read_mask(path, LEVEL0, Box(10, 5, 390, 195))
    assert (moved.pixels[5:, 10:] == expected[:-5, :-10]).all()


def test_regions_of_a_large_slide_are_drawn_coarser(save: Save) -> None:
    path = save([("Tissue", [square(20_000, 10_000, 60_000)])])
    found = read_mask(path, Size(100_000, 81_920))
    assert max(found.pixels.shape) <= 8192
    covered = found.pixels.sum() * found.scale[0] * found.scale[1]
    assert covered == pytest.approx(60_000**2, rel=1e-3)
    row, column = (np.flatnonzero(found.pixels.any(axis=axis)) for axis in (1, 0))
    assert row[0] * found.scale[1] == pytest.approx(10_000, abs=found.scale[1])
    assert (column[-1] + 1) * found.scale[0] == pytest.approx(80_000, abs=found.scale[0])
