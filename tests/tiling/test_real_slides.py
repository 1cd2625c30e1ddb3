"""Real vendor files that ship with the tests."""

from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.errors import UnsupportedSlideError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import open_slide, read_overview
from wsi_specdec.store import open_store
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide
from wsi_specdec.tissue import check_brightfield

DATA = Path(__file__).parents[1] / "data"
BRIGHTFIELD = DATA / "CMU-1-Small-Region.svs"
FLUORESCENCE = DATA / "stritt_DAPI.ndpi"


def job_for(path: Path, out: Path, config: TileConfig) -> TileJob:
    slide = Slide(path.stem, path, path.stem)
    return TileJob(slide, out, config, params_of(slide, config), {})


def test_an_aperio_slide_is_tiled_where_its_tissue_is(tmp_path: Path) -> None:
    job = job_for(BRIGHTFIELD, tmp_path, TileConfig(codec="lossless"))
    result = tile_slide(job)
    store = open_store(job.store_path)
    assert (result.state, store.n_tiles) == ("done", result.tiles)
    # The tissue lies in a band from the top left to the bottom right: 35 to 45 % of the slide.
    assert 30 <= store.n_tiles <= 45
    tiles = store.read(np.arange(store.n_tiles))
    assert tiles.mean() < 225
    with open_slide(BRIGHTFIELD) as slide:
        for index in (0, store.n_tiles // 2, store.n_tiles - 1):
            x, y = (int(value) for value in store.coords[index])
            alone = slide.read_region(x, y, 0, Size(256, 256))
            assert (tiles[index] == alone).all()


def test_a_fluorescence_slide_is_refused_and_leaves_an_empty_store(tmp_path: Path) -> None:
    job = job_for(FLUORESCENCE, tmp_path, TileConfig())
    with pytest.raises(UnsupportedSlideError, match="its metadata say fluorescence"):
        tile_slide(job)
    store = open_store(job.store_path)
    assert store.n_tiles == len(store.coords) == len(store.tissue_fraction) == 0
    assert "its metadata say fluorescence" in store.attributes["reason"]
    # The second time, by what the store says.
    written = (job.store_path / "zarr.json").stat().st_mtime_ns
    with pytest.raises(UnsupportedSlideError, match="its metadata say fluorescence"):
        tile_slide(job)
    assert (job.store_path / "zarr.json").stat().st_mtime_ns == written
    with open_slide(FLUORESCENCE) as slide:
        overview, _ = read_overview(slide, 1024, 8.0)
    with pytest.raises(UnsupportedSlideError, match="dark background"):
        check_brightfield(overview)
