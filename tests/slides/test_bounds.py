"""The scanned part of a slide: a Leica SCN, written as Leica's own program does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import open_slide, read_overview

Image = NDArray[np.uint8]

NAMESPACE = "http://www.leica-microsystems.com/scn/2010/10/01"
NM_PER_PX = 500


def described(sizes: list[Size], place: Box, first_ifd: int, objective: float, light: str) -> str:
    """Describe one picture; `place` is in pixels of the finest level."""
    levels = "".join(
        f'<dimension sizeX="{s.width}" sizeY="{s.height}" r="{i}" ifd="{first_ifd + i}"/>'
        for i, s in enumerate(sizes)
    )
    x, y, width, height = (n * NM_PER_PX for n in (place.x, place.y, place.width, place.height))
    return (
        "<image><creationDate>2020-01-01T00:00:00Z</creationDate>"
        '<device model="Leica SCN400" version="1"/>'
        f'<pixels sizeX="{sizes[0].width}" sizeY="{sizes[0].height}">{levels}</pixels>'
        f'<view sizeX="{width}" sizeY="{height}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>'
        f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        f"<illuminationSource>{light}</illuminationSource></illuminationSettings></scanSettings>"
        "</image>"
    )


def write_leica(path: Path, pixels: Image, slide: Size, place: Box, light: str) -> Path:
    """Write `pixels`, in two levels, at `place` of a glass slide of size `slide`."""
    sizes = [Size(place.width, place.height), Size(place.width // 2, place.height // 2)]
    macro = described([Size(50, 100)], Box(0, 0, slide.width, slide.height), 0, 0.6, light)
    main = described(sizes, place, 1, 20, light)
    whole = f'sizeX="{slide.width * NM_PER_PX}" sizeY="{slide.height * NM_PER_PX}"'
    xml = (
        f'<?xml version="1.0"?><scn xmlns="{NAMESPACE}"><collection {whole}>'
        f"<barcode>MTIz</barcode>{macro}{main}</collection></scn>"
    )
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (64, 64),
        "compression": "zlib",
        "metadata": None,
    }
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(np.full((100, 50, 3), 200, np.uint8), description=xml, **options)
        writer.write(pixels, **options)
        writer.write(pixels[::2, ::2], **options)
    return path


@pytest.fixture
def scanned(image: Image) -> Image:
    return image[:384, :256]


def test_bounds_are_where_the_pixels_lie(tmp_path: Path, scanned: Image) -> None:
    place = Box(300, 500, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "brightfield")
    with open_slide(path) as slide:
        info = slide.info
        assert (info.vendor, info.scanner, info.objective_power) == ("leica", "Leica SCN400", 20)
        assert info.level_sizes[0] == Size(1000, 2000)
        assert info.bounds == place
        assert not info.fluorescence
        at_bounds = slide.read_region(place.x, place.y, 0, Size(place.width, place.height))
        assert np.array_equal(at_bounds, scanned)
        coarse = slide.read_region(place.x, place.y, 1, Size(128, 192))
        assert np.array_equal(coarse, scanned[::2, ::2])
        around = slide.read_region(place.x - 10, place.y - 10, 0, Size(276, 404))
        assert np.array_equal(around[10:-10, 10:-10], scanned)
        around[10:-10, 10:-10] = 255
        assert (around == 255).all()


def test_an_overview_shows_the_whole_slide(tmp_path: Path, scanned: Image) -> None:
    place = Box(300, 500, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "brightfield")
    with open_slide(path) as slide:
        overview, downsample = read_overview(slide, 1000, None)
    assert (overview.shape, downsample) == ((1000, 500, 3), 2)
    assert np.array_equal(overview[250:442, 150:278], scanned[::2, ::2])
    assert (overview[:250] == 255).all()


def test_a_leica_slide_says_that_it_is_fluorescence(tmp_path: Path, scanned: Image) -> None:
    place = Box(0, 0, 256, 384)
    path = write_leica(tmp_path / "s.scn", scanned, Size(1000, 2000), place, "fluorescence")
    with open_slide(path) as slide:
        assert slide.info.fluorescence
