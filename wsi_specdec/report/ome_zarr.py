"""Score maps as OME-Zarr (NGFF 0.5), a pixel a tile, at their place on the slide.

A coordinate transformation takes an index, of a pixel's centre, to µm from the centre of the
slide's first level-0 pixel, so that a map lies over the slide in viewers that know its scale.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.report.layout import ScoreGrid

_VERSION: Final = "0.5"
_AXES: Final = ("c", "y", "x")
_CHUNK: Final = 512
# Coarser levels are added until a side is no longer than this.
_SMALL: Final = 64
_OURS: Final = "wsi_specdec"


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """A score map read from OME-Zarr.

    Attributes
    ----------
    grid
        The scores at the resolution of the tiles.
    slide_id
        The slide.
    mpp
        µm per level-0 pixel; None where it is not known, and the file's scale counts pixels.
    channel
        What the scores are of, such as `tumour`.
    """

    grid: ScoreGrid
    slide_id: str
    mpp: float | None
    channel: str

    def coords(self) -> NDArray[np.int64]:
        """Corners (N, 2) of the tiles with a score, level-0 pixels, sorted by y, then x."""
        rows, columns = np.nonzero(np.isfinite(self.grid.values))
        cells = np.stack([columns, rows], axis=1)
        corners = np.rint(cells * self.grid.step + np.array(self.grid.origin))
        return np.asarray(corners, np.int64)

    def scores(self) -> NDArray[np.float32]:
        """Scores (N,) in the order of `coords`."""
        values = self.grid.values
        return values[np.isfinite(values)]


def write_score_map(path: Path, score_map: ScoreMap) -> None:
    """Write a score map and its averaged halvings, atomically.

    Parameters
    ----------
    path
        The folder, for one `slide-1.ome.zarr`.
    score_map
        With one pixel or more.

    Raises
    ------
    StoreError
        If the map has no pixel: NGFF knows no empty image.
    """
    import zarr

    if not score_map.grid.values.size:
        msg = f"slide {score_map.slide_id} has no tile scores, so {path} cannot be written"
        raise StoreError(msg)
    levels = list(_levels(score_map.grid.values))
    with atomic_path(path) as temporary:
        group = zarr.create_group(
            temporary, zarr_format=3, attributes=_attributes(score_map, levels)
        )
        for index, values in enumerate(levels):
            array = group.create_array(
                str(index),
                shape=(1, *values.shape),
                chunks=(1, min(_CHUNK, values.shape[0]), min(_CHUNK, values.shape[1])),
                dtype="float32",
                fill_value=float("nan"),
                dimension_names=_AXES,
            )
            array[0] = values


def read_score_map(path: Path) -> ScoreMap:
    """Read a score map that `write_score_map` wrote.

    Raises
    ------
    StoreError
        If it is missing, damaged, or not ours.
    """
    import zarr

    try:
        metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        ours = metadata[_OURS]
        name = metadata["ome"]["multiscales"][0]["datasets"][0]["path"]
        values = np.asarray(zarr.open_group(path, mode="r")[name][0], np.float32)  # type: ignore[index]
        grid = ScoreGrid(
            values,
            float(ours["step_level0_px"]),
            (float(ours["origin_level0_px"][0]), float(ours["origin_level0_px"][1])),
            int(ours["tile_size_level0_px"]),
        )
        channel = str(metadata["ome"]["omero"]["channels"][0]["label"])
        return ScoreMap(grid, str(ours["slide_id"]), ours["mpp_level0"], channel)
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        msg = f"no readable score map at {path}: {error}; export it again"
        raise StoreError(msg) from error


def _levels(values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    yield values
    while max(values.shape) > _SMALL:
        values = _halved(values)
        yield values


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average squares of 2 by 2 over the pixels that have a score."""
    height, width = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=np.nan)
    squares = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    known = np.isfinite(squares)
    count = known.sum(axis=(1, 3))
    total = np.where(known, squares, 0).sum(axis=(1, 3))
    out = np.full(count.shape, np.nan, np.float32)
    np.divide(total, count, out=out, where=count > 0)
    return out


def _attributes(score_map: ScoreMap, levels: list[NDArray[np.float32]]) -> dict[str, Any]:
    grid = score_map.grid
    unit = {} if score_map.mpp is None else {"unit": "micrometer"}
    multiscale = {
        "name": score_map.slide_id,
        "type": "mean",
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", **unit},
            {"name": "x", "type": "space", **unit},
        ],
        "datasets": [
            {"path": str(index), "coordinateTransformations": _placed(score_map, 2**index)}
            for index in range(len(levels))
        ],
    }
    channel = {
        "label": score_map.channel,
        "color": "D55E00",
        "active": True,
        "window": {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0},
    }
    return {
        "ome": {
            "version": _VERSION,
            "multiscales": [multiscale],
            "omero": {"channels": [channel]},
        },
        _OURS: {
            "slide_id": score_map.slide_id,
            "mpp_level0": score_map.mpp,
            "tile_size_level0_px": grid.tile_size,
            "step_level0_px": grid.step,
            "origin_level0_px": list(grid.origin),
        },
    }


def _placed(score_map: ScoreMap, times: int) -> list[dict[str, Any]]:
    """Scale and translation of a level `times` coarser than the tiles."""
    grid, unit = score_map.grid, score_map.mpp or 1.0
    step = grid.step * unit
    # Centre of the first pixel's tile, counted from the centre of the slide's first pixel; that of
    # a coarser pixel lies in the middle of those it averages.
    first = [(corner + (grid.tile_size - 1) / 2) * unit for corner in grid.origin]
    x, y = (place + (times - 1) / 2 * step for place in first)
    return [
        {"type": "scale", "scale": [1.0, step * times, step * times]},
        {"type": "translation", "translation": [0.0, y, x]},
    ]
