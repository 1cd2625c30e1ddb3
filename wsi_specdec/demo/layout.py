"""Where the patches of a composed slide lie: tissue fragments and tumour on a grid of cells.

A cell is (row, column); one cell holds one patch. Nothing here knows pixels.
"""

import heapq
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Cell = tuple[int, int]

_MARGIN_CELLS: Final = 2
# Sides are whole multiples of this, so that every pyramid level is exact.
_SIDE_MULTIPLE: Final = 2
_TWO_FRAGMENTS: Final = 0.35
_TWO_CLUSTERS: Final = 0.35
_MIN_TUMOUR_FOR_TWO: Final = 30


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells of one slide.

    Attributes
    ----------
    tissue
        Shape (rows, columns), bool: cells that hold a patch. Two cells of glass lie around them.
    tumour
        Same shape: the tissue cells that hold tumour, in one or a few clusters.
    """

    tissue: NDArray[np.bool_]
    tumour: NDArray[np.bool_]


def make_layout(n_tumour: int, n_normal: int, rng: np.random.Generator) -> Layout:
    """Grow one or two fragments of tissue, and the tumour within them."""
    n_cells = n_tumour + n_normal
    if rng.random() < _TWO_FRAGMENTS:
        first = round(n_cells * float(rng.uniform(0.58, 0.7)))
        fragments = [_fragment(first, rng), _fragment(n_cells - first, rng)]
        tissue = _beside(fragments, gap=int(rng.integers(1, 3)), rng=rng)
    else:
        tissue = _fragment(n_cells, rng)
    tissue = _framed(tissue)
    return Layout(tissue, _tumour_cells(tissue, n_tumour, rng))


def depth_in(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each cell to the outside of the mask, in cells; 0 outside."""
    padded = np.pad(mask, 1)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    return depth


def _fragment(n_cells: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Grow one irregular, roughly elliptic fragment without holes, cut to its own box."""
    side = 2 * int(np.ceil(np.sqrt(n_cells))) + 6
    centre = (side // 2, side // 2)
    cost = _distance(side, centre, stretch=float(rng.uniform(0.75, 1.35)))
    cost *= 1 + 0.45 * _smooth_noise((side, side), 2.0, rng)
    mask = np.zeros((side, side), dtype=bool)
    for cell in _growth(cost, {*np.ndindex(side, side)}, centre):
        mask[cell] = True
        # Filling a hole may take the fragment past its size, so the size is checked after it.
        filled = ndimage.binary_fill_holes(mask)
        if filled.sum() >= n_cells:
            break
    mask = _trimmed(filled, n_cells, cost)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _trimmed(mask: NDArray[np.bool_], n_cells: int, cost: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Take cells off the border, the costliest first, that leave it in one piece."""
    mask = mask.copy()
    while mask.sum() > n_cells:
        border = np.argwhere(mask & (depth_in(mask) <= 1))
        for row, column in sorted(border.tolist(), key=lambda c: -cost[c[0], c[1]]):
            mask[row, column] = False
            if ndimage.label(mask)[1] == 1:
                break
            mask[row, column] = True
    return mask


def _beside(
    fragments: list[NDArray[np.bool_]], gap: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Place fragments side by side, or one above the other, with glass between them."""
    if rng.random() < 0.5:
        return _beside_columns(fragments, gap, rng)
    return _beside_columns([fragment.T for fragment in fragments], gap, rng).T


def _beside_columns(
    fragments: list[NDArray[np.bool_]], gap: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    height = max(len(fragment) for fragment in fragments)
    parts: list[NDArray[np.bool_]] = []
    for fragment in fragments:
        top = int(rng.integers(0, height - len(fragment) + 1))
        below = height - len(fragment) - top
        parts += [np.zeros((height, gap), dtype=bool), np.pad(fragment, ((top, below), (0, 0)))]
    return np.hstack(parts[1:])


def _framed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add glass all round, up to a side that every level divides."""
    pads = []
    for side in mask.shape:
        total = side + 2 * _MARGIN_CELLS
        pads.append((_MARGIN_CELLS, _MARGIN_CELLS + -total % _SIDE_MULTIPLE))
    return np.pad(mask, pads)


def _tumour_cells(
    tissue: NDArray[np.bool_], n_tumour: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Grow one or two clusters from cells well within the tissue."""
    tumour = np.zeros_like(tissue)
    if n_tumour == 0:
        return tumour
    two = n_tumour >= _MIN_TUMOUR_FOR_TWO and rng.random() < _TWO_CLUSTERS
    second = round(n_tumour * float(rng.uniform(0.25, 0.4))) if two else 0
    for target in (n_tumour - second, n_tumour):
        while tumour.sum() < target:
            _grow_cluster(tissue, tumour, target, rng)
    return tumour


def _grow_cluster(
    tissue: NDArray[np.bool_],
    tumour: NDArray[np.bool_],
    target: int,
    rng: np.random.Generator,
) -> None:
    """Add cells to `tumour` until there are `target`, or the fragment is full."""
    free = tissue & ~tumour
    depth = depth_in(free)
    deepest = np.argwhere(free & (depth >= 0.8 * depth.max()))
    row, column = (int(v) for v in deepest[rng.integers(len(deepest))])
    cost = _distance(max(tissue.shape), (row, column), stretch=float(rng.uniform(0.8, 1.25)))
    cost *= 1 + 0.4 * _smooth_noise(cost.shape, 1.5, rng)
    allowed = {(int(r), int(c)) for r, c in np.argwhere(free)}
    for cell in _growth(cost, allowed, (row, column)):
        tumour[cell] = True
        if tumour.sum() == target:
            return


def _growth(cost: NDArray[np.float64], allowed: AbstractSet[Cell], start: Cell) -> Iterator[Cell]:
    """Yield connected cells from `start`, always the cheapest neighbour of those yielded."""
    queue = [(0.0, start)]
    seen = {start}
    while queue:
        _, (row, column) = heapq.heappop(queue)
        yield row, column
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if cell in allowed and cell not in seen:
                seen.add(cell)
                heapq.heappush(queue, (float(cost[cell]), cell))


def _distance(side: int, centre: Cell, stretch: float) -> NDArray[np.float64]:
    """Elliptic distance of every cell of a square grid to `centre`."""
    rows, columns = np.indices((side, side), dtype=np.float64)
    return np.hypot((rows - centre[0]) * stretch, (columns - centre[1]) / stretch)


def _smooth_noise(
    shape: tuple[int, ...], sigma: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian noise smoothed over `sigma` cells, in about −1 to 1."""
    noise: NDArray[np.float64] = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    scaled: NDArray[np.float64] = np.clip(noise / (2 * noise.std()), -1, 1)
    return scaled
