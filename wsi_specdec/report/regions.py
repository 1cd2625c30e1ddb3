"""Called regions: the outlines of neighbouring tiles whose scores reach a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.tissue import contours

# Beyond it, corners of tiles that lie on no grid are rounded to a share of a tile.
_MAX_CELLS: Final = 1 << 26
_PARTS_OF_A_TILE: Final = 8

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CalledRegion:
    """Tiles at or above a threshold that touch one another by more than a corner.

    Attributes
    ----------
    rings
        The outer ring, then its holes, of the tiles' union; (k, 2) x, y in level-0 pixels.
    tiles
        Number of tiles in it.
    mean_score, max_score
        Of these tiles.
    area_px
        In level-0 pixels.
    """

    rings: tuple[Ints, ...]
    tiles: int
    mean_score: float
    max_score: float
    area_px: float


def called_regions(
    coords: Ints,
    scores: NDArray[np.floating],
    tile_size_level0: int,
    threshold: float,
    rounding_px: int = 1,
) -> list[CalledRegion]:
    """Unite the tiles whose score is at or above a threshold.

    Parameters
    ----------
    coords
        (N, 2) corners x, y in level-0 pixels.
    scores
        (N,) in [0, 1]; NaN is not called.
    tile_size_level0
        Side of a tile in level-0 pixels.
    threshold
        Least score of a called tile.
    rounding_px
        Gaps up to this wide between neighbours, left by the rounding of corners to pixels, are
        closed: the tile before reaches to the one after.

    Returns
    -------
    list[CalledRegion]
        The highest score first.
    """
    called = np.asarray(scores) >= threshold
    if not called.any():
        return []
    corners, values = coords[called], np.asarray(scores, np.float64)[called]
    starts, stops = _edges(corners, tile_size_level0, rounding_px)
    xs, ys = (np.unique(np.concatenate([starts[:, i], stops[:, i]])) for i in (0, 1))
    low, high = (
        np.stack([np.searchsorted(xs, each[:, 0]), np.searchsorted(ys, each[:, 1])], axis=1)
        for each in (starts, stops)
    )
    mask = _filled(low, high, (len(ys) - 1, len(xs) - 1))
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    owner = labels[low[:, 1], low[:, 0]]
    regions = []
    for rings in contours(mask, 1):
        # An outline starts at the leftmost of its topmost corners: of the pixel below right of it.
        x, y = rings[0][0].tolist()
        members = values[owner == labels[y, x]]
        level0 = tuple(np.stack([xs[r[:, 0]], ys[r[:, 1]]], axis=1) for r in rings)
        regions.append(
            CalledRegion(
                level0, len(members), float(members.mean()), float(members.max()), _area(level0)
            )
        )
    return sorted(regions, key=lambda r: (-r.max_score, -r.tiles, r.rings[0][0].tolist()))


def _edges(corners: Ints, side: int, rounding_px: int) -> tuple[Ints, Ints]:
    """Where tiles begin and end, (N, 2) each, gaps of rounding closed."""
    starts, stops = corners, corners + side
    if _n_cells(starts, stops) > _MAX_CELLS:
        part = max(1, side // _PARTS_OF_A_TILE)
        starts = np.rint(starts / part).astype(np.int64) * part
        stops = starts + max(part, round(side / part) * part)
    closed = [_reach(starts[:, i], stops[:, i], rounding_px) for i in (0, 1)]
    return starts, np.stack(closed, axis=1)


def _n_cells(starts: Ints, stops: Ints) -> int:
    columns, rows = (len(np.unique(np.concatenate([starts[:, i], stops[:, i]]))) for i in (0, 1))
    return columns * rows


def _reach(starts: Ints, stops: Ints, rounding_px: int) -> Ints:
    """Move an end to the next beginning where that lies no more than the rounding beyond."""
    begins = np.unique(starts)
    after = begins[np.minimum(np.searchsorted(begins, stops), len(begins) - 1)]
    gap = after - stops
    return np.where((gap > 0) & (gap <= rounding_px), after, stops)


def _filled(low: Ints, high: Ints, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the cells of every tile, [low, high) in x and y: by the corners of each, summed up."""
    steps = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    np.add.at(steps, (low[:, 1], low[:, 0]), 1)
    np.add.at(steps, (high[:, 1], high[:, 0]), 1)
    np.add.at(steps, (low[:, 1], high[:, 0]), -1)
    np.add.at(steps, (high[:, 1], low[:, 0]), -1)
    covered = steps.cumsum(axis=0, out=steps).cumsum(axis=1, out=steps)
    return np.asarray(covered[:-1, :-1] > 0, np.bool_)


def _area(rings: Sequence[Ints]) -> float:
    """Area of the outer ring less that of its holes, by the shoelace formula."""
    areas = []
    for ring in rings:
        x, y = ring.astype(np.float64).T
        areas.append(abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2)
    return areas[0] - sum(areas[1:])
