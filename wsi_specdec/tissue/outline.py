"""Outlines of a mask, for viewers and annotations."""

import cv2
import numpy as np
from numpy.typing import NDArray

# An outer ring, then the rings of its holes; each (k, 2) x, y in level-0 pixels.
Polygon = tuple[NDArray[np.int64], ...]

_STRIP_PX = 1 << 18

# How many outlines turn in a corner, by which of the four pixels around are set; see `_turns`.
_TURNS = np.array([0, 1, 1, 0, 1, 0, 2, 1, 1, 2, 0, 1, 0, 1, 1, 0], np.uint8)


def contours(mask: NDArray[np.bool_], downsample: float) -> list[Polygon]:
    """Trace the outlines of a mask along its pixels' borders, each with its holes.

    Drawn back at the mask's resolution, they give the mask again. No ring meets itself, so the
    polygons are valid ones (OGC): areas that touch by a corner alone are polygons of their own.

    Parameters
    ----------
    mask
        (h, w) bool.
    downsample
        Level-0 pixels per mask pixel.

    Returns
    -------
    list[Polygon]
        Per connected area the outer ring first, then its holes, in the order of their topmost
        points. A ring is (k, 2) int64 x, y in level-0 pixels, k >= 4, without the first point
        repeated; all its sides are horizontal or vertical.
    """
    if not mask.any():
        return []
    mask = np.ascontiguousarray(mask)
    corners, beside, above, labels = _corners(mask.view(np.uint8))
    polygons: dict[int, list[NDArray[np.int64]]] = {}
    holes: list[tuple[int, NDArray[np.int64]]] = []
    for ring in _rings(beside, above):
        points = corners[ring]
        level0 = np.rint(points * downsample).astype(np.int64)
        # Rings start at the leftmost of their topmost corners.
        x, y = (int(value) for value in points[0])
        if mask[y, x]:
            polygons[int(labels[y, x])] = [level0]
        else:
            holes.append((int(labels[y - 1, x]), level0))
    for label, level0 in holes:
        polygons[label].append(level0)
    return [tuple(rings) for rings in polygons.values()]


def _corners(
    mask: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.integer]]:
    """Find where outlines turn, and how the turns hang together.

    Corner (x, y) is the upper left one of the pixel in row y, column x. Where two areas, or two
    gaps, meet in a corner, two outlines pass it, and it is listed twice.

    Returns
    -------
    corners : int64, (n, 2)
        x, y, in the order of y, then x.
    beside, above : int64, (n,)
        Index of the corner at the other end of the horizontal and of the vertical side.
    labels : uint16 or int32, (h, w)
        Number of each pixel's area.
    """
    y, x, around = _turns(mask)
    # Numbered only now: the numbers are by far the largest. Each area has a leftmost of its topmost
    # pixels, with nothing to the left or above.
    n_areas = np.count_nonzero((around == 8) | (around == 9))
    kind, dtype = (cv2.CV_16U, np.uint16) if n_areas < 1 << 16 else (cv2.CV_32S, np.int32)
    labels: NDArray[np.integer] = np.asarray(
        cv2.connectedComponents(mask, connectivity=4, ltype=kind)[1], dtype
    )
    twice = _TURNS[around] == 2
    index = np.repeat(np.arange(len(y)), 1 + twice)
    y, x, twice, around = y[index], x[index], twice[index], around[index]
    # Of a corner listed twice, the first ends its row's side from the left, the second begins the
    # next one. The first goes up where two areas meet there whose upper one lies left, or two gaps
    # of one area whose upper one does.
    second = np.zeros(len(y), dtype=bool)
    second[1:] = index[1:] == index[:-1]
    left_above = around == 9
    # Between areas all four pixels lie within the mask; elsewhere it is of no matter.
    right, below = np.minimum(x, mask.shape[1] - 1), np.minimum(y, mask.shape[0] - 1)
    one = labels[y - 1, np.where(left_above, x - 1, right)]
    other = labels[below, np.where(left_above, right, x - 1)]
    first_goes_up = (one != other) == left_above
    down = twice & (second == first_goes_up)
    corners = np.stack([x, y], axis=1).astype(np.int64)
    beside = _partners(np.lexsort((second, x, y)))
    return corners, beside, _partners(np.lexsort((down, y, x))), labels


def _turns(
    mask: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Find the corners where outlines turn, strip by strip for the sake of memory.

    Returns
    -------
    y, x : int64, (n,)
        In the order of y, then x.
    around : uint8, (n,)
        Which of the four pixels around are set: bits for the upper left 1, upper right 2, lower
        left 4, lower right 8.
    """
    height, width = mask.shape
    rows = max(1, _STRIP_PX // width)
    found = []
    for top in range(0, height + 1, rows):
        # With the row above, and empty borders: corner (x, y) is in row y, column x of `around`.
        inside = mask[max(0, top - 1) : top + rows]
        missing = (int(top == 0), max(0, top + rows - height))
        strip = np.pad(inside, (missing, (1, 1)))
        around = strip[:-1, :-1] | strip[:-1, 1:] << 1 | strip[1:, :-1] << 2 | strip[1:, 1:] << 3
        y, x = np.nonzero(_TURNS[around])
        found.append((y + top, x, around[y, x]))
    ys, xs, kinds = zip(*found, strict=True)
    return np.concatenate(ys), np.concatenate(xs), np.concatenate(kinds)


def _partners(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pair the corners of one line in their order: an outline's side runs from one to the next."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners


def _rings(beside: NDArray[np.int64], above: NDArray[np.int64]) -> list[list[int]]:
    """Follow the sides from corner to corner until all are used."""
    across, down = beside.tolist(), above.tolist()
    used = bytearray(len(across))
    rings = []
    for start in range(len(across)):
        if used[start]:
            continue
        ring = []
        corner = start
        while not used[corner]:
            beyond = across[corner]
            used[corner] = used[beyond] = 1
            ring += [corner, beyond]
            corner = down[beyond]
        rings.append(ring)
    return rings
