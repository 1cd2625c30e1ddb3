from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2hsv

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.store import open_store
from wsi_specdec.tiling.quality import MEASURES, measure_quality
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

Image = NDArray[np.uint8]
CMU = Path(__file__).parents[1] / "data" / "CMU-1-Small-Region.svs"


def of(tile: Image, mpp: float | None = 0.5) -> dict[str, float]:
    return dict(zip(MEASURES, measure_quality([tile], mpp)[0].tolist(), strict=True))


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    padded = np.pad(grey.astype(np.float64), 1, mode="reflect")
    laplacian = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        - 4 * padded[1:-1, 1:-1]
    )  # fmt: skip
    tile = np.repeat(grey[..., np.newaxis], 3, axis=2)
    assert of(tile)["sharpness"] == pytest.approx(laplacian.var(), rel=1e-5)


def test_blurring_makes_a_tile_less_sharp() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(tile, (0, 0), 2), np.uint8)
    assert of(blurred)["sharpness"] < 0.01 * of(tile)["sharpness"]
    assert of(np.full((64, 64, 3), 200, np.uint8))["sharpness"] == 0


def test_saturation_is_that_of_hsv() -> None:
    tile = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    assert of(tile)["saturation"] == pytest.approx(rgb2hsv(tile)[..., 1].mean(), abs=0.003)
    assert of(np.full((64, 64, 3), 200, np.uint8))["saturation"] == 0


def test_pen_is_the_share_of_pixels_inked() -> None:
    tile = np.full((256, 256, 3), 242, np.uint8)
    assert of(tile)["pen"] == 0
    tile[:, :64] = (40, 60, 160)
    assert of(tile)["pen"] == pytest.approx(0.25, abs=0.05)
    assert of(tile, None)["pen"] == pytest.approx(0.25, abs=0.05)


def test_no_tiles_have_no_measures() -> None:
    assert measure_quality([], 0.5).shape == (0, len(MEASURES))


@pytest.mark.parametrize(("size", "way"), [(240, "passthrough"), (256, "decode")])
def test_quality_is_stored_where_asked_for_and_tells_what_it_costs(
    size: int, way: str, tmp_path: Path
) -> None:
    def tiled(name: str, config: TileConfig) -> TileJob:
        slide = Slide("a", CMU, "a")
        job = TileJob(slide, tmp_path / name, config, params_of(slide, config), {}, threads=2)
        tile_slide(job)
        return job

    plain = open_store(tiled("plain", TileConfig(tile_size=size)).store_path)
    assert plain.quality == {}
    measured = open_store(tiled("quality", TileConfig(tile_size=size, quality=True)).store_path)
    assert measured.attributes["pixel_path"] == way
    assert ("decoded too" in measured.attributes["pixel_path_reason"]) == (way == "passthrough")
    tiles = measured.read(np.arange(measured.n_tiles))
    if way == "decode":
        # What is stored was compressed again after it was measured.
        assert measured.quality["sharpness"] == pytest.approx(
            measure_quality(list(tiles), 0.499)[:, 0], rel=0.3
        )
    else:
        expected = measure_quality(list(tiles), 0.499)
        for column, name in enumerate(MEASURES):
            assert (measured.quality[name] == expected[:, column]).all()
    assert all(values.dtype == np.float32 for values in measured.quality.values())
    assert (tiles == plain.read(np.arange(plain.n_tiles))).all()
