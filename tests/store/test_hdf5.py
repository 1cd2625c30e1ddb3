from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import TileStore, export_coords, read_coords

MakeTiles = Callable[[int, int], NDArray[np.uint8]]
MakeStore = Callable[..., TileStore]


def test_peers_find_their_names(
    make_store: MakeStore, make_tiles: MakeTiles, tmp_path: Path
) -> None:
    given = {
        "read_level": 1,
        "level0_width": 1000,
        "level0_height": 800,
        "objective_power": 40.0,
        "mpp_level0": 0.25,
        "stride_px": 12,
    }
    store = make_store(make_tiles(4, 16), attributes=given)
    path = tmp_path / "h5" / "slide.h5"
    export_coords(store, path)
    with h5py.File(path, "r") as file:
        assert np.array_equal(file["coords"][...], store.coords)
        assert dict(file["coords"].attrs) == {
            "patch_size": 16,
            "patch_size_level0": 32,
            "patch_level": 1,
            "level0_width": 1000,
            "level0_height": 800,
            "level0_magnification": 40.0,
            "level0_mpp": 0.25,
            "target_mpp": 0.5,
            "overlap": 4,
            "name": "slide",
            "savetodir": str(path.parent),
        }


def test_coordinates_come_back(
    make_store: MakeStore, make_tiles: MakeTiles, tmp_path: Path
) -> None:
    store = make_store(make_tiles(4, 16))
    export_coords(store, tmp_path / "s.h5")
    read = read_coords(tmp_path / "s.h5")
    assert read.coords.dtype == np.int64
    assert np.array_equal(read.coords, store.coords)
    assert read.attributes["patch_size_level0"] == store.tile_size_level0
    assert read.attributes["overlap"] == 0
    assert "level0_magnification" not in read.attributes


def test_a_store_without_tiles_has_no_coordinates(make_store: MakeStore, tmp_path: Path) -> None:
    export_coords(make_store(np.empty((0, 16, 16, 3), np.uint8)), tmp_path / "s.h5")
    assert read_coords(tmp_path / "s.h5").coords.shape == (0, 2)


def test_files_of_clam_are_read(tmp_path: Path) -> None:
    path = tmp_path / "clam.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("coords", data=np.array([[0, 512], [512, 512]], np.int32))
        dataset.attrs["patch_size"] = 256
        dataset.attrs["level_dim"] = np.array([100, 200])
        dataset.attrs["name"] = "clam"
    read = read_coords(path)
    assert read.coords.tolist() == [[0, 512], [512, 512]]
    assert dict(read.attributes) == {"patch_size": 256, "level_dim": [100, 200], "name": "clam"}


def test_what_holds_no_coordinates_is_named(tmp_path: Path) -> None:
    missing, text, other, flat = (tmp_path / f"{name}.h5" for name in ("a", "b", "c", "d"))
    text.write_text("no HDF5")
    with h5py.File(other, "w") as file:
        file.create_dataset("features", data=np.zeros((2, 2)))
    with h5py.File(flat, "w") as file:
        file.create_dataset("coords", data=np.zeros(4))
    for path in (missing, text, other, flat):
        with pytest.raises(StoreError, match=str(path)):
            read_coords(path)
