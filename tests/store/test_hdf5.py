import fcntl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import TileStore, export_coords, read_coords

MakeTiles = Callable[[int, int], NDArray[np.uint8]]
MakeStore = Callable[..., TileStore]

COORDS = np.array([[0, 512], [512, 512], [0, 1024]], np.int64)
LEVEL0 = {"level0_width": 1000, "level0_height": 800}
# What TRIDENT and CLAM write beside the coordinates.
TRIDENT: dict[str, Any] = {
    "patch_size": 256,
    "patch_size_level0": 512,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "slide",
    "savetodir": "out",
    **LEVEL0,
}
CLAM: dict[str, Any] = {
    "patch_size": 256,
    "patch_level": 1,
    "downsample": (2.0, 2.0),
    "downsampled_level_dim": (500, 400),
    "level_dim": (500, 400),
    "name": "slide",
    "save_path": "out",
}


def write(
    path: Path,
    attributes: Mapping[str, Any],
    coords: NDArray[Any] = COORDS,
    images: Mapping[str, Any] | None = None,
) -> Path:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("coords", data=coords)
        dataset.attrs.update(attributes)
        if images is not None:
            pixels = file.create_dataset("imgs", data=np.zeros((3, 256, 256, 3), np.uint8))
            pixels.attrs.update(images)
    return path


def without(attributes: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}


@pytest.mark.parametrize("objective", [{"objective_power": 40.0}, {"mpp_level0": 0.2492}])
def test_trident_finds_its_names(
    make_store: MakeStore, make_tiles: MakeTiles, tmp_path: Path, objective: dict[str, float]
) -> None:
    given = {**LEVEL0, **objective, "read_level": 1, "stride_px": 12}
    store = make_store(make_tiles(4, 16), attributes=given)
    path = tmp_path / "h5" / "slide.h5"
    export_coords(store, path)
    with h5py.File(path, "r") as file:
        assert np.array_equal(file["coords"][...], store.coords)
        found = dict(file["coords"].attrs)
    expected = {**TRIDENT, "patch_size": 16, "patch_size_level0": 32, "overlap": 4}
    expected |= {"savetodir": str(path.parent), "target_mpp": 0.5}
    assert without(found, "level0_mpp") == expected
    assert found.get("level0_mpp") == objective.get("mpp_level0")
    # It computes the size at level 0 like this, and h5py must give back whole numbers as such.
    assert (
        found["patch_size"] * found["level0_magnification"] // found["target_magnification"] == 32
    )
    assert found["target_magnification"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"read_level": 1, "read_size_px": 16}, {"patch_level": 1, "downsample": [2.0, 2.0]}),
        # Resampled: no region of 16 pixels is the tile, so CLAM must not find a level.
        ({"read_level": 1, "read_size_px": 20}, {}),
        ({"read_level": 0, "read_size_px": 32}, {}),
        ({"read_level": 0}, {}),
        ({"read_level": 1}, {}),
        (
            {"read_level": 0, "tile_size_level0_px": 16},
            {"patch_level": 0, "downsample": [1.0, 1.0]},
        ),
    ],
)
def test_clam_reads_whole_pixels_or_refuses(
    make_store: MakeStore,
    make_tiles: MakeTiles,
    tmp_path: Path,
    given: dict[str, int],
    expected: dict[str, Any],
) -> None:
    export_coords(make_store(make_tiles(4, 16), attributes=given), tmp_path / "s.h5")
    read = read_coords(tmp_path / "s.h5").attributes
    assert {name: read[name] for name in ("patch_level", "downsample") if name in read} == expected
    assert read["patch_size"] == 16


def test_coordinates_come_back(
    make_store: MakeStore, make_tiles: MakeTiles, tmp_path: Path
) -> None:
    store = make_store(make_tiles(4, 16), attributes={"mpp": None})
    export_coords(store, tmp_path / "s.h5")
    read = read_coords(tmp_path / "s.h5")
    assert read.coords.dtype == np.int64
    assert np.array_equal(read.coords, store.coords)
    assert read.attributes["patch_size_level0"] == store.tile_size_level0
    assert read.attributes["overlap"] == 0
    unknown = {"level0_magnification", "target_magnification", "level0_mpp", "target_mpp"}
    assert unknown.isdisjoint(read.attributes)


def test_a_store_without_tiles_has_no_coordinates(make_store: MakeStore, tmp_path: Path) -> None:
    export_coords(make_store(np.empty((0, 16, 16, 3), np.uint8)), tmp_path / "s.h5")
    assert read_coords(tmp_path / "s.h5").coords.shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.float64])
def test_files_of_trident_are_read(tmp_path: Path, dtype: type[np.generic]) -> None:
    read = read_coords(write(tmp_path / "s_patches.h5", TRIDENT, COORDS.astype(dtype)))
    assert np.array_equal(read.coords, COORDS)
    assert read.coords.dtype == np.int64
    assert dict(read.attributes) == TRIDENT


def test_trident_may_leave_the_size_at_level_0_to_the_magnifications(tmp_path: Path) -> None:
    given = without(TRIDENT, "patch_size_level0") | {"level0_width": "None"}
    read = read_coords(write(tmp_path / "s.h5", given))
    assert read.attributes["patch_size_level0"] == 512
    assert "level0_width" not in read.attributes


def test_trident_writes_a_slide_without_tissue(tmp_path: Path) -> None:
    read = read_coords(write(tmp_path / "s.h5", TRIDENT, np.array([])))
    assert read.coords.shape == (0, 2)


def test_files_of_clam_are_read(tmp_path: Path) -> None:
    read = read_coords(write(tmp_path / "s.h5", CLAM, COORDS.astype(np.int32)))
    assert np.array_equal(read.coords, COORDS)
    lists = {name: list(value) for name, value in CLAM.items() if isinstance(value, tuple)}
    assert dict(read.attributes) == CLAM | lists


def test_files_of_clam_with_pixels_are_read(tmp_path: Path) -> None:
    images = without(CLAM, "patch_size", "name", "save_path") | {"wsi_name": "slide"}
    read = read_coords(write(tmp_path / "s.h5", {}, images=images))
    assert read.attributes["patch_size"] == 256
    assert read.attributes["patch_level"] == 1
    assert read.attributes["name"] == "slide"


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        without(CLAM, "patch_size"),
        without(CLAM, "patch_level"),
        without(TRIDENT, "patch_size_level0", "target_magnification"),
        without(TRIDENT, "patch_size_level0") | {"target_magnification": 0},
        CLAM | {"patch_size": "large"},
        TRIDENT | {"patch_size_level0": "None", "level0_magnification": "None"},
    ],
)
def test_an_unknown_size_of_tiles_is_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="does not say how large its tiles are") as caught:
        read_coords(write(tmp_path / "s.h5", attributes))
    assert str(tmp_path / "s.h5") in str(caught.value)


def test_an_ambiguous_size_of_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="custom_downsample of 2"):
        read_coords(write(tmp_path / "s.h5", CLAM | {"custom_downsample": 2}))


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((2, 3)), "shape"),
        (np.array([[0.5, 1.0]]), "whole level-0 pixels"),
        (np.array([[np.nan, 1.0]]), "whole level-0 pixels"),
        (np.array([[1e300, 1.0]]), "whole level-0 pixels"),
        (np.array([[b"0", b"1"]]), "whole level-0 pixels"),
    ],
)
def test_what_are_no_coordinates_is_refused(
    tmp_path: Path, coords: NDArray[Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        read_coords(write(tmp_path / "s.h5", TRIDENT, coords))
    assert str(tmp_path / "s.h5") in str(caught.value)


def test_what_holds_no_coordinates_is_named(tmp_path: Path) -> None:
    missing, text, cut, other, group = (tmp_path / f"{name}.h5" for name in "abcde")
    text.write_text("no HDF5")
    whole = write(cut, TRIDENT).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with h5py.File(other, "w") as file:
        file.create_dataset("features", data=np.zeros((2, 2)))
    with h5py.File(group, "w") as file:
        file.create_group("coords")
    for path in (missing, text, cut, other, group):
        with pytest.raises(StoreError, match="no readable coordinates") as caught:
            read_coords(path)
        assert str(path) in str(caught.value)


def test_reading_takes_no_lock_and_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", TRIDENT)
    before = path.stat()
    with path.open("rb") as handle:
        # Were HDF5 to lock the file, it could not be opened while another holds it.
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert len(read_coords(path).coords) == 3
    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert list(tmp_path.iterdir()) == [path]
