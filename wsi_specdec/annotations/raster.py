"""Polygons on a pixel grid, and how much of each tile they cover, in bounded memory.

A pixel is inside a polygon if its centre is, by the even-odd rule: a scan line through the row's
centres changes sides wherever it crosses an edge. An edge owns its upper end and not its lower one,
and is always followed from top to bottom, so that polygons that share an edge neither overlap nor
leave a gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations.regions import Rings

# Sample rows and columns per tile. A point is on the wrong side only if it lies within half a
# sample's diagonal of a boundary: where a boundary of length L crosses a tile of side s, coverage
# errs by less than sqrt(2) * L / (s * 64), that is 2.2 % for L = s, and by a tenth of that usually.
SAMPLES = 64
# Tiles of one row are taken this many tile widths at a time.
_TILES_AT_ONCE = 64
# Bounds memory where many edges cross many rows.
_CROSSINGS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """A pixel grid: top-left corner and pitch in level-0 pixels, number of rows and columns."""

    x: float
    y: float
    pitch: float
    rows: int
    columns: int


class Shapes:
    """Polygons made ready to be painted: all their edges, from top to bottom."""

    def __init__(self, polygons: Sequence[Rings]) -> None:
        parts = [_edges(rings) for rings in polygons]
        extents = np.array([_extent(edges) for edges in parts], np.float64).reshape(-1, 2)
        edges = np.concatenate([np.empty((4, 0)), *parts], axis=1)
        owner = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
        order = np.argsort(edges[1], kind="stable")
        # x, y of the upper end and of the lower, sorted by the former's y: (4, E), and whose: (E,).
        self._edges, self._owner, self._extents = edges[:, order], owner[order], extents

    def paint(self, window: Window) -> NDArray[np.bool_] | None:
        """Mark what lies within any of the polygons: (rows, columns), None where nothing does."""
        right = window.x + window.columns * window.pitch
        bottom = window.y + window.rows * window.pitch
        stop = np.searchsorted(self._edges[1], bottom)
        chosen = np.flatnonzero(self._edges[3, :stop] > window.y)
        # Of a polygon all edges beside the window count, or none.
        leftmost, rightmost = self._extents[self._owner[chosen]].T
        chosen = chosen[(leftmost < right) & (rightmost > window.x)]
        if not len(chosen):
            return None
        edges, owner = self._edges[:, chosen], self._owner[chosen]
        painted = np.zeros((window.rows, window.columns), np.bool_)
        step = max(1, _CROSSINGS_AT_ONCE // len(chosen))
        for top in range(0, window.rows, step):
            _fill(painted[top : top + step], edges, owner, window, top)
        return painted


def coverage(
    layers: Mapping[int, Shapes],
    excluded: Shapes,
    coords: NDArray[np.int64],
    size_level0: int,
) -> dict[int, NDArray[np.float64]]:
    """Return the share of each tile that each layer covers.

    Parameters
    ----------
    layers
        Polygons by layer. Within a layer they are united; layers may overlap.
    excluded
        What is taken away from every layer.
    coords
        (N, 2) x, y of the tiles' top-left corners, in level-0 pixels; any order, any overlap.
    size_level0
        Side of a tile in level-0 pixels.

    Returns
    -------
    dict[int, NDArray[np.float64]]
        (N,) in [0, 1] by layer. Of `SAMPLES` rows and columns per tile, or one per level-0 pixel
        where a tile has fewer; see `SAMPLES` for the error.
    """
    shares = {layer: np.zeros(len(coords)) for layer in layers}
    samples = min(SAMPLES, size_level0)
    pitch = size_level0 / samples
    for tiles in _neighbours(coords, size_level0):
        x = coords[tiles, 0]
        left = int(x.min())
        columns = int(np.ceil((x.max() + size_level0 - left) / pitch))
        window = Window(left, int(coords[tiles[0], 1]), pitch, samples, columns)
        without = excluded.paint(window)
        for layer, shapes in layers.items():
            if (painted := shapes.paint(window)) is None:
                continue
            if without is not None:
                painted &= ~without
            shares[layer][tiles] = _shares(painted, (x - left) / pitch, samples)
    return shares


def _shares(
    painted: NDArray[np.bool_], left: NDArray[np.float64], samples: int
) -> NDArray[np.float64]:
    """Share of squares that begin at `left` columns; parts of a column count by their width."""
    total = np.concatenate(([0], np.cumsum(painted.sum(axis=0, dtype=np.int64))))
    columns = np.arange(len(total))
    covered = np.interp(left + samples, columns, total) - np.interp(left, columns, total)
    return np.asarray(covered / samples**2, np.float64)


def _neighbours(coords: NDArray[np.int64], size_level0: int) -> list[NDArray[np.int64]]:
    """Indexes of tiles that lie in one row and close together."""
    if not len(coords):
        return []
    stretch = coords[:, 0] // (_TILES_AT_ONCE * size_level0)
    order = np.lexsort((stretch, coords[:, 1]))
    key = np.stack((coords[order, 1], stretch[order]), axis=1)
    starts = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
    return np.split(order, starts)


def _edges(rings: Rings) -> NDArray[np.float64]:
    """Edges as (4, E): x, y of the upper end, x, y of the lower; level ones are never crossed."""
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    down = (start[:, 1] < end[:, 1])[:, None]
    edges = np.concatenate((np.where(down, start, end), np.where(down, end, start)), axis=1)
    return edges[edges[:, 1] < edges[:, 3]].T


def _extent(edges: NDArray[np.float64]) -> tuple[float, float]:
    """Leftmost and rightmost x."""
    x = edges[[0, 2]]
    return (float(x.min()), float(x.max())) if x.size else (np.inf, -np.inf)


def _fill(
    painted: NDArray[np.bool_],
    edges: NDArray[np.float64],
    owner: NDArray[np.int64],
    window: Window,
    top: int,
) -> None:
    """Mark some rows, the first of which is the window's row `top`.

    A polygon crosses a row an even number of times, and from every other crossing to the next is
    inside. All polygons' stretches are laid down at once: where more begin than end, some lie.
    """
    rows, columns = painted.shape
    edge, row, x = _crossings(edges, window, top, top + rows)
    column = np.clip(np.ceil(x), 0, columns).astype(np.int64)
    order = np.lexsort((column, row, owner[edge]))
    place = (row * (columns + 1) + column)[order]
    cells = rows * (columns + 1)
    begun = np.bincount(place[0::2], minlength=cells) - np.bincount(place[1::2], minlength=cells)
    lying = np.cumsum(begun.reshape(rows, columns + 1), axis=1)
    np.greater(lying[:, :-1], 0, out=painted)


def _crossings(
    edges: NDArray[np.float64], window: Window, top: int, bottom: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Every crossing of an edge with the centre line of a row: edge, row from `top`, x.

    x is in pixels, counted from the centre of the window's first.
    """
    y_from, y_to = ((edges[axis] - window.y) / window.pitch - 0.5 for axis in (1, 3))
    begin = np.clip(np.ceil(y_from), top, bottom).astype(np.int64)
    counts = np.clip(np.ceil(y_to), top, bottom).astype(np.int64) - begin
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + begin[edge]
    x_from, x_to = ((edges[axis, edge] - window.x) / window.pitch - 0.5 for axis in (0, 2))
    x = x_from + (row - y_from[edge]) * ((x_to - x_from) / (y_to[edge] - y_from[edge]))
    return edge, row - top, x
