"""Coordinates as HDF5, as CLAM and TRIDENT write and read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import COORDS
from wsi_specdec.store.reader import TileStore

# CLAM's older files hold the pixels too, and what is known of the tiles stands there.
_IMAGES: Final = "imgs"
# By convention an objective of 10 times gives 1 µm per pixel.
_MPP_AT_1X: Final = 10.0


@dataclass(frozen=True, eq=False)
class Hdf5Coords:
    """Coordinates read from HDF5.

    Attributes
    ----------
    coords
        int64, (N, 2): x, y in level-0 pixels, in the file's order.
    attributes
        Those of the dataset `coords`, as plain Python values. They hold `patch_size_level0`, the
        tiles' side in level-0 pixels, or `patch_size` and `patch_level`, their side in pixels of
        a level.
    """

    coords: NDArray[np.int64]
    attributes: Mapping[str, Any]


def export_coords(store: TileStore, path: Path) -> None:
    """Write a store's coordinates as HDF5 that TRIDENT and CLAM read.

    The dataset `coords`, (N, 2) int64, carries TRIDENT's attributes `patch_size`,
    `patch_size_level0`, `overlap` (in pixels of the tile), `level0_width`, `level0_height`, `name`,
    `savetodir`, and where the slide's resolution is known `level0_magnification` and
    `target_magnification`; and `level0_mpp` and `target_mpp`, which are exact.

    CLAM reads `patch_size` pixels of `patch_level`. Where tiles were resampled no such region is
    the tile, and `patch_level` is left out, so that CLAM refuses the file.
    """
    import h5py

    attributes = _sizes(store) | _magnifications(store) | _level(store)
    attributes |= {"name": store.slide_id, "savetodir": str(path.parent)}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        dataset = file.create_dataset(COORDS, data=store.coords)
        for name, value in attributes.items():
            if value is not None:
                dataset.attrs[name] = value


def _sizes(store: TileStore) -> dict[str, Any]:
    given = store.attributes
    stride = given.get("stride_px")
    return {
        "patch_size": store.tile_size,
        "patch_size_level0": store.tile_size_level0,
        "overlap": 0 if stride is None else max(0, store.tile_size - int(stride)),
        "level0_width": given.get("level0_width"),
        "level0_height": given.get("level0_height"),
    }


def _magnifications(store: TileStore) -> dict[str, Any]:
    """TRIDENT takes the ratio of the two for the tiles' scale, so it must be exact."""
    level0_mpp = store.attributes.get("mpp_level0")
    power = store.attributes.get("objective_power")
    if power is None and level0_mpp is not None:
        power = max(1, round(_MPP_AT_1X / level0_mpp))
    target = None if power is None else power * store.tile_size / store.tile_size_level0
    return {
        "level0_magnification": _whole(power),
        "target_magnification": _whole(target),
        "level0_mpp": level0_mpp,
        "target_mpp": store.mpp,
    }


def _level(store: TileStore) -> dict[str, Any]:
    """Return what CLAM reads, where a tile is a region of one level, pixel by pixel."""
    level = store.attributes.get("read_level")
    read_size = store.attributes.get("read_size_px")
    if level == 0 and read_size is None:
        read_size = store.tile_size_level0
    if level is None or read_size != store.tile_size:
        return {}
    downsample = store.tile_size_level0 / store.tile_size
    return {"patch_level": level, "downsample": (downsample, downsample)}


def _whole(value: float | None) -> float | None:
    """Peers write whole magnifications as integers, and some read them as such."""
    return int(value) if value is not None and float(value).is_integer() else value


def read_coords(path: Path) -> Hdf5Coords:
    """Read coordinates that TRIDENT, CLAM or `export_coords` wrote.

    No lock is taken, so files on network file systems and in read-only folders work, and others
    may read them at the same time.

    Parameters
    ----------
    path
        TRIDENT's `patches/<slide>_patches.h5`, or CLAM's `patches/<slide>.h5`, with or without the
        pixels in it.

    Raises
    ------
    StoreError
        If the file is missing, is not HDF5, has no dataset `coords` of shape (N, 2) of whole
        numbers, or does not say how large its tiles are.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            dataset = file[COORDS]
            values = np.asarray(dataset[...])
            attributes = _images(file) | _plain_attributes(dataset)
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        msg = f"no readable coordinates in {path}: {error}"
        raise StoreError(msg) from error
    coords = _checked(path, values)
    return Hdf5Coords(coords, MappingProxyType(_with_size(path, attributes)))


def _checked(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.size == 0:
        # TRIDENT writes (0,) for a slide without tissue.
        return np.empty((0, 2), np.int64)
    if values.ndim != 2 or values.shape[1] != 2:
        msg = f"the coordinates in {path} must have the shape (N, 2), got {values.shape}"
        raise StoreError(msg)
    numbers = values.astype(np.float64) if values.dtype.kind in "iuf" else np.full(1, np.nan)
    # NaN and infinity are not below, either.
    if not np.all((np.abs(numbers) < 2**53) & (numbers == np.rint(numbers))):
        msg = f"the coordinates in {path} must be whole level-0 pixels, got {values.dtype}"
        raise StoreError(msg)
    return values.astype(np.int64)


def _with_size(path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    """Complete the tiles' size; refuse a file that leaves it open."""
    try:
        if "patch_size_level0" not in attributes:
            size = float(attributes["patch_size"])
            if "patch_level" not in attributes:
                ratio = attributes["level0_magnification"] / attributes["target_magnification"]
                attributes["patch_size_level0"] = round(size * ratio)
        custom = float(attributes.get("custom_downsample") or 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        msg = (
            f"{path} does not say how large its tiles are: 'coords' needs the attribute "
            "patch_size_level0, or patch_size and either patch_level or both magnifications; "
            "files of features often lack them, those of patches have them"
        )
        raise StoreError(msg) from error
    if custom != 1:
        msg = f"{path} has tiles with a custom_downsample of {custom:g}, which is not supported"
        raise StoreError(msg)
    return attributes


def _images(file: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of CLAM's pixels under the names that its coordinates have elsewhere."""
    if _IMAGES not in file:
        return {}
    images = file[_IMAGES]
    attributes = _plain_attributes(images)
    renamed = {"patch_size": int(images.shape[1]), "name": attributes.pop("wsi_name", None)}
    return attributes | {name: value for name, value in renamed.items() if value is not None}


def _plain_attributes(dataset: Any) -> dict[str, Any]:  # noqa: ANN401 - h5py has no types
    """TRIDENT writes None as a text."""
    values = {name: _plain(value) for name, value in dataset.attrs.items()}
    return {name: value for name, value in values.items() if value != "None"}


def _plain(value: object) -> object:
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return plain.decode() if isinstance(plain, bytes) else plain
