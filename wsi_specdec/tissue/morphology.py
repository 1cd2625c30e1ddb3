"""Masks grown, shrunk and rid of small parts, in time that hardly depends on the distance.

Masks are (h, w) uint8, 0 or 1. Distances are in pixels; discs are octagons, a square and a diamond
one after the other, no more than 8 % off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

# Share of its square in a regular octagon's inner radius.
_SQUARE_SHARE = 2**0.5 - 1


def dilate(mask: Mask, radius: int) -> Mask:
    """Grow a mask; a radius of 0 leaves it as it is."""
    square = round(_SQUARE_SHARE * radius)
    if square > 0:
        mask = np.asarray(cv2.dilate(mask, _square(square)), np.uint8)
    if radius > square:
        # What is ours is grown in place.
        grown = mask if square > 0 else None
        mask = np.asarray(cv2.dilate(mask, _cross(), grown, iterations=radius - square), np.uint8)
    return mask


def erode(mask: Mask, radius: int) -> Mask:
    """Shrink a mask, though not from the image's edge."""
    outside = np.subtract(1, mask, dtype=np.uint8)
    # A mask that nobody else holds need not wait.
    del mask
    outside = dilate(outside, radius)
    return np.subtract(1, outside, out=outside)


def close(mask: Mask, radius: int) -> Mask:
    """Join what lies within twice the radius."""
    return erode(dilate(mask, radius), radius)


def open_up(mask: Mask, radius: int) -> Mask:
    """Leave out what is narrower than about twice the radius."""
    return dilate(erode(mask, radius), radius)


def without_small_parts(mask: Mask, min_object_px: float, max_hole_px: float) -> Mask:
    """Leave out small objects, then fill small holes.

    Parameters
    ----------
    mask
        The mask; objects are connected by sides and corners, holes by sides.
    min_object_px
        Pixels, holes not counted, below which an object is left out.
    max_hole_px
        Pixels up to which a hole is filled; what touches the image's edge is no hole.

    Returns
    -------
    Mask
        Another mask.
    """
    mask = mask.copy()
    rings, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not rings:
        return mask
    parents = np.asarray(hierarchy[0, :, 3], np.int64)
    is_hole = parents >= 0
    pixels = _pixels(rings, is_hole)
    objects = np.where(is_hole, 0, pixels)
    np.subtract.at(objects, parents[is_hole], pixels[is_hole])
    for index in np.flatnonzero(~is_hole & (objects < min_object_px)).tolist():
        # With its holes, so that what lies in them stays.
        cv2.drawContours(mask, rings, index, 0, cv2.FILLED, cv2.LINE_8, hierarchy, 1)
    kept = objects[parents] >= min_object_px
    for index in np.flatnonzero(is_hole & kept & (pixels <= max_hole_px)).tolist():
        cv2.drawContours(mask, rings, index, 1, cv2.FILLED)
    return mask


@dataclass(frozen=True, slots=True)
class Piece:
    """A connected area: its mask, 0 or 1, within a window of the image."""

    mask: Mask
    window: tuple[slice, slice]

    @property
    def width(self) -> float:
        """Width where it is widest, in pixels."""
        within = cv2.distanceTransform(np.pad(self.mask, 1), cv2.DIST_L2, 3)
        return max(1.0, 2 * float(within.max()) - 1)

    @property
    def length(self) -> float:
        """Length in pixels, were it of that width throughout: no more than it is."""
        return float(self.mask.sum()) / self.width

    def is_band(self, least_length: float, elongation: float) -> bool:
        """Whether it is so long, in pixels, and so many times as long as it is wide."""
        # Once, since finding it is most of the work.
        width = self.width
        length = float(self.mask.sum()) / width
        return length >= least_length and length >= elongation * width


def pieces(mask: Mask, min_px: float, margin: int) -> Iterator[Piece]:
    """Yield a mask's connected areas of at least `min_px`, with so much of an empty margin."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for label in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_px) + 1:
        left, top, width, height = (int(value) for value in stats[label, :4])
        window = (
            slice(max(0, top - margin), top + height + margin),
            slice(max(0, left - margin), left + width + margin),
        )
        yield Piece((labels[window] == label).astype(np.uint8), window)


def _pixels(rings: Sequence[cv2.typing.MatLike], is_hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count pixels by Pick's theorem (1899), from rings through pixel centres.

    A polygon of area A with B lattice points on its outline has A - B / 2 + 1 within: those are a
    hole's pixels; an object has those on its outline besides.
    """
    area = np.array([cv2.contourArea(ring) for ring in rings])
    outline = np.array([len(ring) for ring in rings])
    return np.asarray(area + np.where(is_hole, -outline / 2, outline / 2) + 1, np.float64)


def _square(half: int) -> NDArray[np.uint8]:
    return np.ones((2 * half + 1, 2 * half + 1), np.uint8)


def _cross() -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)
