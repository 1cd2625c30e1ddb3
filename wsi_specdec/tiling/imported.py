"""Tiles at coordinates that other software chose."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import SlideInfo
from wsi_specdec.store import read_coords


@dataclass(frozen=True, eq=False)
class ImportedCoords:
    """(N, 2) int64 x, y in level-0 pixels, sorted by y, then x; and the tiles' side there."""

    coords: NDArray[np.int64]
    size_level0_px: int


def coords_file(folder: Path, slide_id: str) -> Path:
    """Return a slide's file: `<slide_id>.h5` as CLAM names it, or TRIDENT's `_patches.h5`."""
    names = (f"{slide_id}.h5", f"{slide_id}_patches.h5")
    found = (folder / name for name in names)
    return next((path for path in found if path.is_file()), folder / names[0])


def import_coords(path: Path, info: SlideInfo) -> ImportedCoords:
    """Read a slide's coordinates; a tile that is named twice counts once.

    Raises
    ------
    StoreError
        If the file is missing, is not HDF5, or does not say how large tiles are.
    ConfigError
        If the file states another slide's size, or a tile lies wholly outside the slide.
    """
    if not path.is_file():
        msg = (
            f"no coordinates for this slide: {path} is missing "
            f"(nor is there {path.stem}_patches.h5); see --coords"
        )
        raise StoreError(msg)
    read = read_coords(path)
    size = _size_level0(path, read.attributes, info)
    _check_slide(path, read.attributes, info.level_sizes[0])
    coords = np.unique(read.coords[:, ::-1], axis=0)[:, ::-1]
    _check_inside(path, coords, size, info.level_sizes[0])
    return ImportedCoords(np.ascontiguousarray(coords), size)


def _size_level0(path: Path, attributes: Mapping[str, Any], info: SlideInfo) -> int:
    """TRIDENT states the side at level 0, CLAM that in pixels of a level."""
    try:
        if "patch_size_level0" in attributes:
            size = round(float(attributes["patch_size_level0"]))
        else:
            downsample = info.level_downsamples[int(attributes["patch_level"])]
            size = round(float(attributes["patch_size"]) * downsample)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        msg = (
            f"{path} does not say how large its tiles are: its dataset 'coords' needs the "
            "attribute patch_size_level0, or patch_size and patch_level of this slide"
        )
        raise StoreError(msg) from error
    if size < 1:
        msg = f"{path} says that its tiles are {size} level-0 px wide"
        raise StoreError(msg)
    return size


def _check_slide(path: Path, attributes: Mapping[str, Any], level0: Size) -> None:
    stated = (attributes.get("level0_width"), attributes.get("level0_height"))
    if None not in stated and stated != (level0.width, level0.height):
        msg = (
            f"{path} is of a slide of {stated[0]} x {stated[1]} px, and this one has "
            f"{level0.width} x {level0.height}: another slide, or another version of it"
        )
        raise ConfigError(msg)


def _check_inside(path: Path, coords: NDArray[np.int64], size: int, level0: Size) -> None:
    outside = (coords >= (level0.width, level0.height)) | (coords + size <= 0)
    if outside.any():
        x, y = coords[outside.any(axis=1)][0].tolist()
        msg = (
            f"{path} has a tile at ({x}, {y}), outside the slide's {level0.width} x "
            f"{level0.height} px: are its coordinates those of another slide?"
        )
        raise ConfigError(msg)
