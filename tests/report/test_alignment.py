"""Slide, tiles, heatmaps and every export lie on one another, to the pixel."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
import zarr
from leica import write_leica
from numpy.typing import NDArray

from wsi_specdec.annotations import read_regions
from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.config import (
    ExportConfig,
    ProcessConfig,
    RunnerConfig,
    TileConfig,
    dump_config,
)
from wsi_specdec.files import write_json, write_text
from wsi_specdec.geometry import Box, Size
from wsi_specdec.report import Run, export_run, read_run, read_score_map, write_heatmaps
from wsi_specdec.report.images import read_rgb
from wsi_specdec.slides import SlideReader, open_slide
from wsi_specdec.store import open_store, read_coords, write_scores
from wsi_specdec.store.calls import Call, write_calls
from wsi_specdec.tiling import tile_slides

CMU = Path(__file__).parents[1] / "data" / "CMU-1-Small-Region.svs"
OFFSET = Box(302, 506, 768, 640)
FORMATS = ("regions", "tiles", "ome-tiff", "ome-zarr", "hdf5")
THRESHOLD = 0.5
# Stated for both: the composed slide names none.
MPP = 0.5


@dataclass(frozen=True)
class Made:
    """A run of one slide, its files written, and the truth about its tiles."""

    run: Run
    reader: SlideReader
    coords: NDArray[np.int64]
    scores: NDArray[np.float64]
    side: int
    mpp: float

    def file(self, suffix: str) -> Path:
        return self.run.path / "exports" / f"s{suffix}"

    def tiles(self, *, called: bool = False) -> NDArray[np.bool_]:
        """Where tiles, or the called ones, lie: (height, width) of level 0."""
        level0 = self.reader.info.level_sizes[0]
        mask = np.zeros((level0.height, level0.width), np.bool_)
        for (x, y), score in zip(self.coords, self.scores, strict=True):
            if score >= THRESHOLD or not called:
                mask[y : y + self.side, x : x + self.side] = True
        return mask


def offset_slide(folder: Path) -> Path:
    """Compose a slide of real tissue whose scanned area begins within the glass."""
    with open_slide(CMU) as slide:
        pixels = slide.read_region(900, 1000, 0, Size(OFFSET.width, OFFSET.height))
    return write_leica(folder / "s.scn", pixels, Size(1300, 1400), OFFSET)


@pytest.fixture(scope="module", params=["CMU-1", "offset"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("aligned")
    path = CMU if request.param == "CMU-1" else offset_slide(folder)
    tile = TileConfig(
        tile_size=100, min_tissue=0.3, codec="lossless", pixel_path="read_region", slide_mpp=MPP
    )
    slide = Slide("s", path, "p")
    out = folder / "run"
    assert tile_slides([slide], out, tile, RunnerConfig(workers=1)).ok
    write_manifest([slide], out / "slides.csv")
    write_text(out / "config.yaml", dump_config(ProcessConfig()))
    write_json(out / "provenance.json", {})
    coords = open_store(out / "tiles" / "s.zarr").coords
    scores = np.random.default_rng(0).random((len(coords), 1)).astype(np.float32)
    write_scores(out / "scores" / "s.parquet", coords, scores, scores, ["tumour"], {})
    done = Call("s", "p", None, 0.9, 1, 0.5, 0.8, len(coords), "done")
    write_calls(out / "calls.csv", [done])
    run = read_run(out)
    write_heatmaps(run)
    export_run(run, ExportConfig(formats=FORMATS, tile_threshold=THRESHOLD, max_px=512))
    with open_slide(path) as reader:
        yield Made(run, reader, coords, scores[:, 0].astype(np.float64), 100, MPP)


def by_centres(
    mask: NDArray[np.bool_], shape: tuple[int, ...], downsample: tuple[float, float]
) -> NDArray[np.bool_]:
    """What a picture's pixels show whose centres lie on marked level-0 pixels; outside nothing."""
    x = np.floor((np.arange(shape[1]) + 0.5) * downsample[0]).astype(int)
    y = np.floor((np.arange(shape[0]) + 0.5) * downsample[1]).astype(int)
    out = np.zeros(shape[:2], np.bool_)
    y, x = y[y < mask.shape[0]], x[x < mask.shape[1]]
    out[: len(y), : len(x)] = mask[np.ix_(y, x)]
    return out


def coloured(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(image.astype(int), axis=2) > 0)


def test_there_is_something_to_compare(made: Made) -> None:
    assert len(made.coords) > 20
    assert 0.05 < made.tiles().mean() < 0.95


def test_tiles_hold_the_pixels_that_geojson_says(made: Made) -> None:
    bounds, level0 = made.reader.info.bounds, made.reader.info.level_sizes[0]
    features = json.loads(made.file(".tiles.geojson").read_text())["features"]
    regions = read_regions(made.file(".tiles.geojson"), level0, bounds).regions
    store = made.run.store("s")
    pixels = store.read(np.arange(store.n_tiles))
    for index in range(0, len(made.coords), 7):
        # QuPath crops the slide to its bounds, so its (0, 0) is their corner.
        first = np.array(features[index]["geometry"]["coordinates"][0][0])
        x, y = (first + np.array((bounds.x, bounds.y))).tolist()
        there = made.reader.read_region(x, y, 0, Size(made.side, made.side))
        assert np.array_equal(there, pixels[index])
        assert regions[index].polygons[0][0].min(axis=0).tolist() == [x, y]
        called = made.scores[index] >= THRESHOLD
        assert regions[index].class_name == ("Tumour" if called else "Not tumour")
        assert regions[index].measurements["prob_tumour"] == pytest.approx(made.scores[index])


def test_regions_are_the_called_tiles(made: Made) -> None:
    bounds, level0 = made.reader.info.bounds, made.reader.info.level_sizes[0]
    found = read_regions(made.file(".regions.geojson"), level0, bounds).regions
    mask = np.zeros((level0.height, level0.width), np.bool_)
    for region in found:
        for ring in region.polygons[0]:
            corners = np.rint(ring).astype(int)
            for (x, y), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                if x == x2:
                    mask[min(y, y2) : max(y, y2), x:] ^= True
    assert np.array_equal(mask, made.tiles(called=True))
    area = sum(region.measurements["area mm^2"] for region in found)
    mpp = made.mpp
    assert area == pytest.approx(mask.sum() * mpp**2 / 1e6, rel=1e-3)
    assert sum(region.measurements["tiles"] for region in found) == (made.scores >= 0.5).sum()


def test_the_heatmap_colours_the_tiles_and_nothing_else(made: Made) -> None:
    image = read_rgb(made.run.path / "heatmaps" / "s.png")
    level0 = made.reader.info.level_sizes[0]
    downsample = (level0.width / image.shape[1], level0.height / image.shape[0])
    expected = by_centres(made.tiles(), image.shape, downsample)
    assert np.array_equal(coloured(image), expected)


def test_ome_tiff_colours_the_tiles_at_its_stated_scale(made: Made) -> None:
    with tifffile.TiffFile(made.file(".ome.tif")) as file:
        image = file.series[0].levels[0].asarray()
        root = ET.fromstring(file.ome_metadata or "")  # noqa: S314 - just written
    pixels = next(e for e in root.iter() if e.tag.endswith("Pixels"))
    mpp = made.mpp
    downsample = (
        float(pixels.attrib["PhysicalSizeX"]) / mpp,
        float(pixels.attrib["PhysicalSizeY"]) / mpp,
    )
    assert downsample[0] == pytest.approx(round(downsample[0]))
    whole = (round(downsample[0]), round(downsample[1]))
    assert np.array_equal(coloured(image), by_centres(made.tiles(), image.shape, whole))


def test_ome_zarr_places_every_tile(made: Made) -> None:
    found = read_score_map(made.file(".ome.zarr"))
    assert np.array_equal(found.coords(), made.coords)
    assert np.array_equal(found.scores(), made.scores.astype(np.float32))
    group = zarr.open_group(made.file(".ome.zarr"), mode="r")
    ome: Any = group.attrs["ome"]
    scale, move = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    mpp = made.mpp
    rows, columns = np.nonzero(np.isfinite(found.grid.values))
    centres = np.stack([columns, rows], axis=1) * scale["scale"][:0:-1]
    centres += move["translation"][:0:-1]
    np.testing.assert_allclose(centres, (made.coords + 49.5) * mpp)


def test_hdf5_holds_the_same_corners(made: Made) -> None:
    found = read_coords(made.run.path / "coords" / "s.h5")
    assert np.array_equal(found.coords, made.coords)
    assert found.attributes["patch_size_level0"] == made.side


def test_the_thumbnail_shows_the_slide_where_the_tiles_are(made: Made) -> None:
    """What is dark on the slide is dark on the thumbnail at the scale that heatmaps assume."""
    thumbnail = made.run.thumbnail("s").mean(axis=2)
    level0 = made.reader.info.level_sizes[0]
    whole = made.reader.read_region(0, 0, 0, level0).mean(axis=2)
    scale = (level0.width / thumbnail.shape[1], level0.height / thumbnail.shape[0])

    def shifted(dx: int, dy: int) -> float:
        """Mean difference to the slide, the thumbnail moved by so many of its pixels."""
        ys = ((np.arange(8, thumbnail.shape[0] - 8) + 0.5) * scale[1]).astype(int)
        xs = ((np.arange(8, thumbnail.shape[1] - 8) + 0.5) * scale[0]).astype(int)
        moved = thumbnail[
            8 + dy : thumbnail.shape[0] - 8 + dy, 8 + dx : thumbnail.shape[1] - 8 + dx
        ]
        return float(np.abs(moved - whole[np.ix_(ys, xs)]).mean())

    shifts = {(dx, dy): shifted(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    assert min(shifts, key=lambda each: shifts[each]) == (0, 0)
