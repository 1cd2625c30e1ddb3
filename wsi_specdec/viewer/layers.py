"""What lies over a slide, as the page reads it: tile scores and their colours, outlines."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from wsi_specdec.annotations import read_regions
from wsi_specdec.geometry import Box, Size
from wsi_specdec.keys import PROB_PREFIX, STRIDE_LEVEL0, TILE_SIZE_LEVEL0, X, Y
from wsi_specdec.store import read_scores, read_scores_metadata

# As in the report: magma reversed and without its blackest end, even in lightness.
_COLOURMAP: Final = cv2.COLORMAP_MAGMA
_DARKEST_LEVEL: Final = 51
_STEPS: Final = 64
_DIGITS: Final = 6


def score_colours() -> list[str]:
    """Colours from score 0 to score 1 in even steps, in hex; told apart with any colour vision."""
    levels = np.rint(np.linspace(255, _DARKEST_LEVEL, _STEPS)).astype(np.uint8)
    ramp = cv2.applyColorMap(levels[:, None], _COLOURMAP)[:, 0, ::-1]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in ramp.tolist()]


def tile_scores(path: Path) -> dict[str, Any]:
    """Read a slide's tile scores.

    Returns
    -------
    dict[str, Any]
        `x`, `y`: corners in level-0 pixels; `size`: side of a tile, `stride`: from one to the
        next, in level-0 pixels; `classes`: probabilities of each class, by name.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    frame, metadata = read_scores(path), read_scores_metadata(path)
    size = float(metadata.get(TILE_SIZE_LEVEL0) or 0)
    stride = float(metadata.get(STRIDE_LEVEL0) or size)
    x, y = (frame[name].to_numpy(np.int64) for name in (X, Y))
    if not size:
        # Written before the size was kept with the scores.
        size = stride = float(min(_least_step(x), _least_step(y)))
    classes = {
        name.removeprefix(PROB_PREFIX): [
            round(value, _DIGITS) if np.isfinite(value) else None
            for value in frame[name].to_numpy(np.float64).tolist()
        ]
        for name in frame.columns
        if name.startswith(PROB_PREFIX)
    }
    return {"x": x.tolist(), "y": y.tolist(), "size": size, "stride": stride, "classes": classes}


def outlines(path: Path, level0: Size, bounds: Box) -> list[dict[str, Any]]:
    """Read outlines in level-0 pixels: each its class and rings of x, y.

    Raises
    ------
    ManifestError
        If the file cannot be read.
    """
    found = read_regions(path, level0, bounds)
    return [
        {
            "class": region.class_name or region.name,
            "polygons": [[ring.tolist() for ring in rings] for rings in region.polygons],
        }
        for region in found.regions
    ]


def _least_step(values: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """Smallest distance between different values; 256 where there is but one."""
    steps = np.diff(np.unique(values))
    return int(steps.min()) if steps.size else 256
