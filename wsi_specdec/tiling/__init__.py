"""Slides to tile stores: grid, pixels, labels and previews."""

from wsi_specdec.tiling.cohort import tile_slides
from wsi_specdec.tiling.grid import grid_coords
from wsi_specdec.tiling.paths import choose_path, read_tiles
from wsi_specdec.tiling.selection import plan_grid
from wsi_specdec.tiling.stream import SlideSource

__all__ = [
    "SlideSource",
    "choose_path",
    "grid_coords",
    "plan_grid",
    "read_tiles",
    "tile_slides",
]
