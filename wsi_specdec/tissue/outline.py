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
    if not mask.any():
        return []
    found, hierarchy = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    rings = [_to_level0(np.asarray(ring), downsample) for ring in found]
    parents = [int(parent) for parent in hierarchy[0, :, 3]]
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0 and len(ring) >= 3:
            holes.setdefault(parent, []).append(ring)
    return [
        (ring, *holes.get(index, ()))
        for index, (ring, parent) in enumerate(zip(rings, parents, strict=True))
        if parent < 0 and len(ring) >= 3
    ]


def _to_level0(ring: NDArray[np.generic], downsample: float) -> NDArray[np.int64]:
    points = ring.reshape(-1, 2).astype(np.float64)
    return np.floor((points + 0.5) * downsample).astype(np.int64)
