import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig, make_config
from wsi_specdec.errors import (
    ManifestError,
    ResolutionError,
    SlideNotFoundError,
    SlideReadError,
    UnsupportedSlideError,
)
from wsi_specdec.runner import TaskResult
from wsi_specdec.store import open_store
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

MakeSlide = Callable[..., Path]
Image = NDArray[np.uint8]

ATTRIBUTES = {
    "slide_id", "slide_path", "slide_fingerprint", "slide_vendor", "scanner", "level0_width",
    "level0_height", "mpp_level0", "mpp_source", "mpp", "mpp_effective", "read_level",
    "tile_size_px", "tile_size_level0_px", "stride_px", "bounds_x", "bounds_y", "pixel_path",
    "pixel_path_reason", "jpeg_quality", "read_size_px", "objective_power",
    "stain_applied", "params_sha256", "provenance", "complete", "schema_version",
}  # fmt: skip


def job_for(
    path: Path, config: Mapping[str, Any] | None = None, columns: Mapping[str, Any] | None = None
) -> TileJob:
    settings = make_config(TileConfig, {"tile_size": 128, **(config or {})}, "test")
    slide = Slide(path.stem, path, "patient", **(columns or {}))
    params = params_of(slide, settings)
    return TileJob(slide, path.parent / "out", settings, params, {"versions": {}})


def test_store_holds_the_tissues_tiles_and_every_attribute(
    make_slide: MakeSlide, image: Image
) -> None:
    job = job_for(make_slide(), {"codec": "lossless", "min_tissue": 0.9}, {"scanner": "S1"})
    assert tile_slide(job) == TaskResult("done", tiles=16)
    store = open_store(job.store_path)
    xs, ys = np.meshgrid(np.arange(256, 768, 128), np.arange(128, 640, 128))
    assert store.coords.tolist() == np.stack([xs.ravel(), ys.ravel()], 1).tolist()
    expected = np.stack([image[y : y + 128, x : x + 128] for x, y in store.coords])
    assert (store.read(np.arange(16)) == expected).all()
    assert store.tissue_fraction.min() >= 0.9
    assert store.label.tolist() == [-1] * 16
    assert set(store.attributes) >= ATTRIBUTES
    found = {name: store.attributes[name] for name in ("mpp_level0", "mpp_source", "scanner")}
    assert found == {"mpp_level0": 0.5, "mpp_source": "metadata", "scanner": "S1"}
    assert store.attributes["provenance"]["inputs"] == {
        "slide": store.attributes["slide_fingerprint"]
    }


def test_previews_show_the_tissue(make_slide: MakeSlide) -> None:
    job = job_for(make_slide())
    tile_slide(job)
    previews = job.out / "previews"
    assert sorted(p.name for p in previews.iterdir()) == [
        "a.thumbnail.jpg",
        "a.tissue.geojson",
        "a.tissue.png",
    ]
    mask = cv2.imread(str(previews / "a.tissue.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert set(np.unique(mask).tolist()) == {0, 255}
    assert (mask > 0).mean() == pytest.approx(512 * 512 / (1024 * 768), rel=0.1)
    thumbnail = cv2.imread(str(previews / "a.thumbnail.jpg"))
    assert thumbnail is not None
    centre = thumbnail[thumbnail.shape[0] // 2, thumbnail.shape[1] // 2]
    # OpenCV reads BGR: blue and red of purple tissue, green lowest.
    assert centre[1] < min(centre[0], centre[2])
    (feature,) = json.loads((previews / "a.tissue.geojson").read_text())["features"]
    (ring,) = feature["geometry"]["coordinates"]
    corners = np.array(ring)
    assert np.abs(corners.min(axis=0) - [256, 128]).max() <= 32
    assert np.abs(corners.max(axis=0) - [768, 640]).max() <= 32


def test_tiles_of_a_coarser_mpp(make_slide: MakeSlide) -> None:
    job = job_for(make_slide(), {"mpp": 1.0, "tile_size": 64, "overlap": 32, "min_tissue": 1.0})
    tile_slide(job)
    store = open_store(job.store_path)
    assert (store.mpp, store.tile_size, store.tile_size_level0) == (1.0, 64, 128)
    assert store.attributes["stride_px"] == 32
    assert set(np.diff(np.unique(store.coords[:, 0]))) == {64}


def test_labels_come_from_the_annotation(make_slide: MakeSlide, tmp_path: Path) -> None:
    truth = tmp_path / "truth.png"
    pixels = np.zeros((96, 128), np.uint8)
    pixels[:, :64] = 255
    cv2.imwrite(str(truth), pixels)
    job = job_for(make_slide(), {"min_tissue": 0.9}, {"annotation_path": truth})
    tile_slide(job)
    store = open_store(job.store_path)
    assert (store.label == (store.coords[:, 0] < 512)).all()


def test_a_tissue_mask_given_is_used_as_it_is(make_slide: MakeSlide, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    pixels = np.zeros((6, 8), np.uint8)
    pixels[0, :2] = 1
    cv2.imwrite(str(path), pixels)
    job = job_for(make_slide(), columns={"tissue_mask_path": path})
    tile_slide(job)
    store = open_store(job.store_path)
    assert store.coords.tolist() == [[0, 0], [128, 0]]
    assert store.tissue_fraction.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("column", ["annotation_path", "tissue_mask_path"])
def test_a_missing_mask_is_named_and_leaves_no_store(column: str, make_slide: MakeSlide) -> None:
    job = job_for(make_slide(), columns={column: Path("gone.png")})
    with pytest.raises(ManifestError, match=r"gone\.png"):
        tile_slide(job)
    assert not job.store_path.exists()


@pytest.mark.parametrize(
    ("pixels", "config", "reason"),
    [
        (np.full((512, 512, 3), 241, np.uint8), {}, "no tissue found"),
        (np.full((512, 512, 3), 241, np.uint8), {"min_tissue": 0.0}, "no tissue found"),
        (None, {"tile_size": 2048}, "smaller than one tile of 2048 level-0 px"),
        (None, {"tile_size": 640, "min_tissue": 1.0}, "no tile has a tissue fraction of 1"),
    ],
)
def test_a_slide_without_tiles_is_empty_for_a_reason(
    pixels: Image | None, config: dict[str, Any], reason: str, make_slide: MakeSlide
) -> None:
    job = job_for(make_slide(pixels=pixels), config)
    result = tile_slide(job)
    assert (result.state, result.tiles) == ("empty", 0)
    assert result.reason.startswith(reason)
    store = open_store(job.store_path)
    assert (store.n_tiles, store.coords.shape) == (0, (0, 2))
    assert tile_slide(job) == TaskResult("empty", result.reason, 0, reused=True)


def test_missing_slide_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError, match=r"gone\.svs"):
        tile_slide(job_for(tmp_path / "gone.svs"))


def test_text_file_named_svs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.svs"
    path.write_text("Dear pathologist,\n" * 100)
    with pytest.raises(SlideReadError, match=r"letter\.svs"):
        tile_slide(job_for(path))


def test_truncated_slide_leaves_no_store(make_slide: MakeSlide) -> None:
    path = make_slide()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    job = job_for(path)
    with pytest.raises(SlideReadError):
        tile_slide(job)
    assert not job.store_path.exists()


def test_dark_background_is_refused(make_slide: MakeSlide) -> None:
    pixels = np.zeros((512, 512, 3), np.uint8)
    pixels[100:300, 100:300, 2] = 200
    with pytest.raises(UnsupportedSlideError, match="fluorescence"):
        tile_slide(job_for(make_slide(pixels=pixels)))


def test_a_slide_without_mpp_needs_one_where_mpp_is_asked_for(make_slide: MakeSlide) -> None:
    path = make_slide(mpp=None)
    with pytest.raises(ResolutionError, match=r"--slide-mpp or in the manifest's column 'mpp'"):
        tile_slide(job_for(path, {"mpp": 1.0}))
    job = job_for(path, {"mpp": 1.0, "tile_size": 64, "slide_mpp": 1.0})
    tile_slide(job)
    assert open_store(job.store_path).attributes["mpp_source"] == "flag"
    manifest = job_for(path, {"mpp": 1.0, "tile_size": 64, "slide_mpp": 1.0}, {"mpp": 0.5})
    tile_slide(manifest)
    attributes = open_store(manifest.store_path).attributes
    assert (attributes["mpp_source"], attributes["mpp_level0"]) == ("manifest", 0.5)


def test_the_same_again_reuses_and_a_change_redoes(make_slide: MakeSlide, tmp_path: Path) -> None:
    truth = tmp_path / "truth.png"
    cv2.imwrite(str(truth), np.zeros((96, 128), np.uint8))
    path = make_slide()
    columns = {"annotation_path": truth}
    first = tile_slide(job_for(path, columns=columns))
    assert tile_slide(job_for(path, columns=columns)) == replace(first, reused=True)
    assert not tile_slide(replace(job_for(path, columns=columns), overwrite=True)).reused

    cv2.imwrite(str(truth), np.ones((96, 128), np.uint8))
    job = job_for(path, columns=columns)
    assert not tile_slide(job).reused
    assert open_store(job.store_path).label.min() == 1

    make_slide(pixels=np.full((768, 1024, 3), 241, np.uint8))
    assert tile_slide(job_for(path, columns=columns)).state == "empty"


def test_a_store_of_a_slide_since_replaced_by_a_broken_one_is_removed(
    make_slide: MakeSlide,
) -> None:
    path = make_slide()
    job = job_for(path)
    tile_slide(job)
    path.write_text("overwritten")
    with pytest.raises(SlideReadError):
        tile_slide(job)
    assert not job.store_path.exists()
