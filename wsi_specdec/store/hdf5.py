"""Coordinates as HDF5, under the names that CLAM and TRIDENT read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import COORDS
from wsi_specdec.store.reader import TileStore

# Ours to theirs, copied where the store has it.
_COPIED = {
    "tile_size_px": "patch_size",
    "tile_size_level0_px": "patch_size_level0",
    "read_level": "patch_level",
    "level0_width": "level0_width",
    "level0_height": "level0_height",
    "objective_power": "level0_magnification",
    "mpp_level0": "level0_mpp",
}


@dataclass(frozen=True, eq=False)
class Hdf5Coords:
    """Coordinates read from HDF5.

    Attributes
    ----------
    coords
        int64, (N, 2): x, y in level-0 pixels.
    attributes
        Those of the dataset `coords`, as plain Python values.
    """

    coords: NDArray[np.int64]
    attributes: Mapping[str, Any]


def export_coords(store: TileStore, path: Path) -> None:
    """Write a store's coordinates as HDF5 that CLAM's and TRIDENT's readers open.

    The dataset `coords` carries `patch_size`, `patch_size_level0`, `patch_level`, `overlap` (in
    pixels of the tile), `level0_width`, `level0_height`, `name`, `savetodir`, and where known
    `level0_magnification`, `level0_mpp` and `target_mpp`. CLAM reads regions of `patch_size` at
    `patch_level`, which are our tiles only where they were not resampled.
    """
    import h5py

    given = store.attributes
    attributes = {theirs: given[ours] for ours, theirs in _COPIED.items() if ours in given}
    attributes |= {
        "target_mpp": store.mpp,
        "overlap": _overlap(store),
        "name": store.slide_id,
        "savetodir": str(path.parent),
    }
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        dataset = file.create_dataset(COORDS, data=store.coords)
        for name, value in attributes.items():
            if value is not None:
                dataset.attrs[name] = value


def read_coords(path: Path) -> Hdf5Coords:
    """Read coordinates that CLAM, TRIDENT or `export_coords` wrote.

    Raises
    ------
    StoreError
        If the file is missing, is not HDF5, or has no dataset `coords` of shape (N, 2).
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            dataset = file[COORDS]
            coords = np.asarray(dataset[...], np.int64)
            attributes = {name: _plain(value) for name, value in dataset.attrs.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        msg = f"no readable coordinates in {path}: {error}"
        raise StoreError(msg) from error
    if coords.ndim != 2 or coords.shape[1] != 2:
        msg = f"the coordinates in {path} must have the shape (N, 2), got {coords.shape}"
        raise StoreError(msg)
    return Hdf5Coords(coords, MappingProxyType(attributes))


def _overlap(store: TileStore) -> int:
    """Overlap in pixels of the tile; `stride_px` is in the same pixels."""
    stride = store.attributes.get("stride_px", store.tile_size)
    return max(0, store.tile_size - int(stride))


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
