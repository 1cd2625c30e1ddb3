"""Where a run directory keeps its tiles."""

from pathlib import Path

from wsi_specdec.keys import TILES_DIR


def run_dir(tiles: Path) -> Path:
    """Return the run directory, given it or its folder of stores."""
    return tiles.parent if tiles.name == TILES_DIR else tiles
