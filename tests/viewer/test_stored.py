"""JPEGs of the slide go out as they are, where they are just the tile that is asked for."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from viewed import tissue

from wsi_specdec.config import ViewConfig
from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide
from wsi_specdec.viewer.catalogue import Entry, read_catalogue
from wsi_specdec.viewer.content import Content
from wsi_specdec.viewer.pool import OpenSlide
from wsi_specdec.viewer.pyramid import Place, Pyramid
from wsi_specdec.viewer.stored import stored_jpeg

SIZE = Size(1300, 1102)


def write_jpegs(path: Path, downsamples: tuple[float, ...] = (1, 4), tile: int = 256) -> Path:
    """Write a pyramid of JPEG tiles whose levels are cut where a pixel is not whole."""
    pixels = tissue(SIZE.height, SIZE.width, 3)
    with tifffile.TiffWriter(path) as writer:
        for downsample in downsamples:
            size = (int(SIZE.width / downsample), int(SIZE.height / downsample))
            writer.write(
                cv2.resize(pixels, size, interpolation=cv2.INTER_AREA),
                photometric="ycbcr",
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"level": 95},
                subfiletype=int(downsample > 1),
                metadata=None,
            )
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[OpenSlide]:
    path = write_jpegs(tmp_path / "s.tif")
    opened = OpenSlide(lambda: open_slide(path))
    yield opened
    opened.close()


def decoded(data: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels[..., ::-1], np.uint8)


def test_whole_tiles_of_the_slides_levels_are_its_own(slide: OpenSlide) -> None:
    pyramid = Pyramid(SIZE, 256)
    assert pyramid.top == 3
    for place in (Place(3, 4, 2), Place(3, 0, 3), Place(1, 0, 0)):
        data = stored_jpeg(slide, pyramid, place)
        assert data is not None
        level = {3: 0, 1: 1}[place.level]
        box = pyramid.box(place)
        read = slide.reader().read_region(box.x, box.y, level, Size(256, 256))
        error = np.abs(decoded(data).astype(int) - read)
        assert error.mean() < 1.5


@pytest.mark.parametrize(
    "place",
    [
        Place(3, 5, 0),
        Place(3, 0, 4),
        Place(1, 1, 0),
        Place(1, 0, 1),
        Place(2, 0, 0),
        Place(0, 0, 0),
    ],
)
def test_others_are_made(slide: OpenSlide, place: Place) -> None:
    pyramid = Pyramid(SIZE, 256)
    assert pyramid.holds(place)
    assert stored_jpeg(slide, pyramid, place) is None


def test_tiles_of_another_size_or_level_are_made(tmp_path: Path) -> None:
    for name, downsamples, tile in (("a", (1, 4), 128), ("b", (1, 4.2), 256)):
        path = write_jpegs(tmp_path / f"{name}.tif", downsamples, tile)
        opened = OpenSlide(partial(open_slide, path))
        place = Place(3, 0, 0) if name == "a" else Place(1, 0, 0)
        assert stored_jpeg(opened, Pyramid(SIZE, 256), place) is None
        opened.close()


def test_either_way_a_tile_is_what_the_slide_shows(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "s.tif")
    catalogue = read_catalogue(tmp_path)
    (entry,) = catalogue.entries.values()
    content = Content(catalogue, ViewConfig())
    pyramid = Pyramid(SIZE, 256)
    level0 = entry_pixels(entry)
    for place in (Place(3, 2, 1), Place(3, 5, 4), Place(2, 1, 1)):
        data = content.tile(entry, place)
        assert data is not None
        box, size = pyramid.box(place), pyramid.size(place)
        part = level0[box.y : box.y + box.height, box.x : box.x + box.width]
        expected = cv2.resize(part, (size.width, size.height), interpolation=cv2.INTER_AREA)
        found = decoded(data)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() < 3
    content.pool.close()


def entry_pixels(entry: Entry) -> NDArray[np.uint8]:
    with entry.open() as reader:
        return reader.read_region(0, 0, 0, SIZE)
