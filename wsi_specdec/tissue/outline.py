"""Outlines of a mask, for viewers and annotations."""

import cv2
import numpy as np
from numpy.typing import NDArray

# An outer ring, then the rings of its holes; each (k, 2) x, y in level-0 pixels.
Polygon = tuple[NDArray[np.int64], ...]


def contours(mask: NDArray[np.bool_], downsample: float) -> list[Polygon]:
    """Trace the outlines of a mask, each with its holes.

    Parameters
    ----------
    mask
        (h, w) bool.
    downsample
        Level-0 pixels per mask pixel.

    Returns
    -------
    list[Polygon]
        Per connected area the outer ring first, then its holes. A ring is (k, 2) int64 x, y in
        level-0 pixels, k >= 3, through the centres of the area's border pixels, without the
        first point repeated; areas too small to have a ring are left out.
    """
    rings, hierarchy = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    if hierarchy is None:
        return []
    parents = hierarchy[0][:, 3]
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for index in np.flatnonzero(parents >= 0):
        holes.setdefault(int(parents[index]), []).append(_to_level0(rings[index], downsample))
    return [
        (_to_level0(rings[index], downsample), *(h for h in holes.get(index, []) if len(h) >= 3))
        for index in map(int, np.flatnonzero(parents < 0))
        if len(rings[index]) >= 3
    ]


def _to_level0(ring: NDArray[np.int32], downsample: float) -> NDArray[np.int64]:
    return np.rint((ring.reshape(-1, 2) + 0.5) * downsample).astype(np.int64)
