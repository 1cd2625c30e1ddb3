"""Tiles at coordinates of CLAM's and TRIDENT's files, and ours for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import RunnerConfig, TileConfig, make_config
from wsi_specdec.errors import ConfigError, ResolutionError, StoreError
from wsi_specdec.store import TileStore, open_store, read_coords
from wsi_specdec.tiling import tile_slides
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

MakeSlide = Callable[..., Path]
Image = NDArray[np.uint8]
PLACES = [[300, 200], [10, 20], [400, 20], [10, 20], [1000, 700]]


def write_coords(path: Path, coords: Any, **attributes: Any) -> Path:  # noqa: ANN401
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("coords", data=np.asarray(coords))
        dataset.attrs.update(attributes)
    return path


def job_for(path: Path, folder: Path, **settings: Any) -> TileJob:  # noqa: ANN401
    values = {"tile_size": 64, "codec": "lossless", "coords": folder, **settings}
    config = make_config(TileConfig, values, "test")
    slide = Slide(path.stem, path, "patient")
    return TileJob(slide, path.parent / "out", config, params_of(slide, config), {})


def tiled(job: TileJob) -> TileStore:
    tile_slide(job)
    return open_store(job.store_path)


@pytest.mark.parametrize("name", ["a.h5", "a_patches.h5"])
@pytest.mark.parametrize(
    "attributes",
    [{"patch_size": 64, "patch_size_level0": 64}, {"patch_size": 64, "patch_level": 0}],
)
def test_every_coordinate_becomes_a_tile_once_in_order(
    name: str, attributes: dict[str, int], make_slide: MakeSlide, image: Image, tmp_path: Path
) -> None:
    write_coords(tmp_path / "h5" / name, PLACES, **attributes)
    store = tiled(job_for(make_slide(), tmp_path / "h5"))
    assert store.coords.tolist() == [[10, 20], [400, 20], [300, 200], [1000, 700]]
    padded = np.pad(image, ((0, 64), (0, 64), (0, 0)), constant_values=255)
    expected = [padded[y : y + 64, x : x + 64] for x, y in store.coords]
    assert (store.read(np.arange(4)) == np.stack(expected)).all()
    # On glass, too: what is tissue is told, and the choice was another's.
    assert store.tissue_fraction[0] == 0
    assert store.tissue_fraction[2] == 1


@pytest.mark.parametrize(
    ("size", "level", "read"), [(128, 1, 64), (256, 1, 128), (96, 0, 96), (65, 0, 64)]
)
def test_tiles_cover_what_the_file_says(
    size: int, level: int, read: int, make_slide: MakeSlide, tmp_path: Path
) -> None:
    write_coords(tmp_path / "h5" / "a.h5", PLACES, patch_size=1, patch_size_level0=size)
    attributes = tiled(job_for(make_slide(), tmp_path / "h5")).attributes
    assert (attributes["read_level"], attributes["read_size_px"]) == (level, read)
    assert attributes["mpp"] == pytest.approx(0.5 * size / 64)
    assert attributes["mpp_effective"] == pytest.approx(0.5 * 2**level * read / 64)


def test_a_file_without_tiles_gives_an_empty_store(make_slide: MakeSlide, tmp_path: Path) -> None:
    write_coords(tmp_path / "h5" / "a.h5", np.empty((0, 2), int), patch_size_level0=64)
    store = tiled(job_for(make_slide(), tmp_path / "h5"))
    assert store.n_tiles == 0
    assert store.attributes["reason"].startswith("its file of coordinates holds none")


def test_coordinates_that_cannot_be_used_are_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    path, folder = make_slide(), tmp_path / "h5"
    with pytest.raises(StoreError, match=r"no coordinates for this slide: .*a\.h5 .*a_patches\.h5"):
        tiled(job_for(path, folder))
    write_coords(folder / "a.h5", PLACES, patch_size=64, patch_level=7)
    with pytest.raises(StoreError, match="does not say how large"):
        tiled(job_for(path, folder))
    write_coords(folder / "a.h5", PLACES, patch_size_level0=0)
    with pytest.raises(StoreError, match="0 level-0 px wide"):
        tiled(job_for(path, folder))
    write_coords(folder / "a.h5", PLACES, patch_size_level0=32)
    with pytest.raises(ResolutionError, match="tile size of 32 or less"):
        tiled(job_for(path, folder))
    write_coords(folder / "a.h5", [[0, 0], [1024, 5]], patch_size_level0=64)
    with pytest.raises(ConfigError, match=r"tile at \(1024, 5\), outside the slide's 1024 x 768"):
        tiled(job_for(path, folder))
    write_coords(folder / "a.h5", [[0, 0]], patch_size_level0=64, level0_width=9, level0_height=9)
    with pytest.raises(ConfigError, match="of a slide of 9 x 9 px, and this one has 1024 x 768"):
        tiled(job_for(path, folder))
    with pytest.raises(ConfigError, match="leave out mpp and overlap"):
        job_for(path, folder, mpp=1.0)
    assert not list(tmp_path.rglob("*.zarr"))


def test_other_coordinates_make_a_slide_anew_and_the_same_elsewhere_do_not(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    path = make_slide()
    for folder in ("h5", "copied"):
        write_coords(tmp_path / folder / "a.h5", PLACES, patch_size_level0=64)
    assert not tile_slide(job_for(path, tmp_path / "h5")).reused
    assert tile_slide(job_for(path, tmp_path / "copied")).reused
    write_coords(tmp_path / "h5" / "a.h5", PLACES[1:], patch_size_level0=64)
    assert not tile_slide(job_for(path, tmp_path / "h5")).reused


def test_our_coordinates_give_the_same_tiles_again(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_slide()
    config = TileConfig(tile_size=64, mpp=1.0, codec="lossless")
    job = replace(job_for(path, tmp_path), config=config)
    assert not tile_slide(job).reused
    # Asked for later, they are written without tiling again.
    assert tile_slide(replace(job, hdf5=True)).reused
    first = open_store(job.store_path)
    assert (read_coords(job.out / "coords" / "a.h5").coords == first.coords).all()
    # A folder named relative to here is found by a worker wherever it runs.
    monkeypatch.chdir(tmp_path)
    again = TileConfig(tile_size=64, codec="lossless", coords=Path("out/coords"))
    slides = [Slide("a", path, "a")]
    assert tile_slides(slides, tmp_path / "again", again, RunnerConfig(workers=1)).ok
    second = open_store(tmp_path / "again" / "tiles" / "a.zarr")
    indices = np.arange(first.n_tiles)
    assert (first.coords == second.coords).all()
    assert (first.read(indices) == second.read(indices)).all()
