"""OME-TIFF as QuPath and Bio-Formats expect it."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile

from wsi_specdec.report import write_ome_tiff
from wsi_specdec.report.ome_tiff import pyramid

OME = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (701, 1033, 3)).astype(np.uint8)


def test_levels_lie_in_sub_ifds_and_the_scale_in_the_xml(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "s.ome.tif"
    write_ome_tiff(path, image, "slide-1 prob_tumour", (8.0, 8.1))
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        (series,) = file.series
        assert series.axes == "YXS"
        assert [level.shape for level in series.levels] == [
            (701, 1033, 3),
            (351, 517, 3),
            (176, 259, 3),
            (88, 130, 3),
        ]
        assert len(file.pages) == 1
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        assert len(page.subifds or ()) == 3
        assert page.is_tiled
        assert np.array_equal(series.levels[0].asarray(), image)
        pixels_per_cm = page.tags["XResolution"].value
        assert pixels_per_cm[0] / pixels_per_cm[1] == pytest.approx(10_000 / 8.0)
        assert page.tags["ResolutionUnit"].value == 3
        reduced = series.levels[1].pages[0]
        assert isinstance(reduced, tifffile.TiffPage)
        assert reduced.tags["NewSubfileType"].value == 1
        assert file.ome_metadata is not None
        root = ET.fromstring(file.ome_metadata)  # noqa: S314 - just written
    (pixels,) = root.findall("ome:Image/ome:Pixels", OME)
    assert float(pixels.attrib["PhysicalSizeX"]) == 8.0
    assert float(pixels.attrib["PhysicalSizeY"]) == 8.1
    assert pixels.attrib.get("PhysicalSizeXUnit", "µm") == "µm"
    assert (pixels.attrib["SizeX"], pixels.attrib["SizeY"]) == ("1033", "701")
    assert (pixels.attrib["Type"], pixels.attrib["SizeC"]) == ("uint8", "3")
    assert root.find("ome:Image", OME).attrib["Name"] == "slide-1 prob_tumour"  # type: ignore[union-attr]


def test_without_resolution_no_scale_is_claimed(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "s.ome.tif"
    write_ome_tiff(path, image[:100, :100], "s", None)
    with tifffile.TiffFile(path) as file:
        assert "PhysicalSize" not in (file.ome_metadata or "")
        assert len(file.series[0].levels) == 1


def test_coarser_pixels_average_two_by_two_finer_ones(image: np.ndarray) -> None:
    first, second, *rest = pyramid(image)
    assert first is image
    assert rest[-1].shape[1] <= 256
    mean = image[:700, :1032].reshape(350, 2, 516, 2, 3).mean(axis=(1, 3))
    assert np.abs(second[:350, :516] - mean).max() <= 0.5
    # The last column and row of an odd side stand for themselves.
    assert np.abs(second[-1, -1].astype(float) - image[-1, -1]).max() == 0


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        write_ome_tiff(tmp_path / "s.ome.tif", np.zeros((0, 0, 3), np.uint8), "s", None)
    assert list(tmp_path.iterdir()) == []
