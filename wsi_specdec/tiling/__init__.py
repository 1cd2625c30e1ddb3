"""Slides to tile stores: grid, pixels, labels and previews."""

from wsi_specdec.tiling.cohort import tile_slides
from wsi_specdec.tiling.extract import read_tiles
from wsi_specdec.tiling.grid import grid_coords

__all__ = ["grid_coords", "read_tiles", "tile_slides"]
