"""Lung fields of chest radiographs, by a classical segmentation: no network, nothing learned.

Pure functions of grey images. Lungs hold air and are dark: the image is made even, cut at many
levels, and of all dark regions that result the two are taken that look most like a right and a
left lung. A lung that is white with disease is not dark: where no plausible pair is found a central
box stands in for the fields, and that is said (`LungFields.found`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Bools = NDArray[np.bool_]

# Side at which fields are looked for, pixels; finer detail is ribs and vessels.
_SIDE: Final = 128
# Levels at which the evened image is cut, in its own standard deviations.
_LEVELS: Final = np.linspace(-1.2, 0.4, 17)
# The evening's and the noise's standard deviations, as shares of the side.
_EVEN, _SMOOTH = 0.25, 0.012
# A typical lung: its middle and half axes as shares of the side, seen at the image's left.
_MIDDLE: Final = (0.29, 0.45)
_AXES: Final = (0.15, 0.29)
# Bounds of what a lung can be: its area as a share of the image, and its height as one of the side.
_AREA: Final = (0.03, 0.26)
_HEIGHT: Final = (0.25, 0.95)
# Least share of its convex hull that a lung fills, and least agreement with the typical one.
_SOLID: Final = 0.7
_ALIKE: Final = 0.35
# Most of a lung's outline that may lie on the image's edge.
_ON_EDGE: Final = 0.12
# Least that the lower one of two lungs shares of the other's extent from top to bottom.
_LEVEL: Final = 0.5
# What stands in for fields that were not found: left, top, right, bottom.
_CENTRAL: Final = (0.1, 0.1, 0.9, 0.8)


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, eq=False)
class LungFields:
    """Where the lungs of one image are.

    Attributes
    ----------
    mask
        bool, (T, T): the two fields, or the central box.
    found
        Whether two fields were found; if not, `mask` is the central box.
    """

    mask: Bools
    found: bool

    def box(self, margin: float = 0.04) -> Box:
        """Return the smallest square around the mask, with a margin in shares of the image's side.

        It lies within the image, and is as large as the image at most.
        """
        size = len(self.mask)
        spans = []
        for axis in (0, 1):
            at = np.flatnonzero(self.mask.any(axis=axis))
            spans.append((int(at[0]), int(at[-1]) + 1))
        side = max(end - start for start, end in spans) + 2 * round(margin * size)
        side = min(size, side)
        (left, top) = (min(max(0, (a + b - side) // 2), size - side) for a, b in spans)
        return Box(left, top, left + side, top + side)


def lung_fields(image: Grey) -> LungFields:
    """Find the lung fields of a radiograph, lungs dark and upright.

    Parameters
    ----------
    image
        uint8, (T, T).

    Raises
    ------
    ValueError
        If it is not a square grey image.
    """
    if image.ndim != 2 or image.shape[0] != image.shape[1] or image.dtype != np.uint8:
        msg = f"lung fields are looked for in a square grey uint8 image, got {image.shape}"
        raise ValueError(msg)
    size = len(image)
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    pair = _best_pair(_evened(np.asarray(small, np.uint8)))
    if pair is None:
        return LungFields(_central(size), found=False)
    both = (pair[0].mask | pair[1].mask).astype(np.float32)
    mask = cv2.resize(both, (size, size), interpolation=cv2.INTER_LINEAR) >= 0.5
    return LungFields(mask, found=True)


class _Lung(NamedTuple):
    mask: Bools
    score: float
    top: int
    bottom: int


def _evened(small: Grey) -> NDArray[np.float32]:
    """Take away the exposure's slow changes, and scale to a standard deviation of 1."""
    pixels = cv2.GaussianBlur(small.astype(np.float32), (0, 0), _SMOOTH * _SIDE)
    even = pixels - cv2.GaussianBlur(pixels, (0, 0), _EVEN * _SIDE, borderType=cv2.BORDER_REFLECT)
    middle = even[_SIDE // 10 : -_SIDE // 10, _SIDE // 10 : -_SIDE // 10]
    spread = float(middle.std())
    return (even - float(middle.mean())) / max(spread, 1e-3)


def _best_pair(even: NDArray[np.float32]) -> tuple[_Lung, _Lung] | None:
    """Return the plausible lungs of both sides that score best together."""
    sides: tuple[list[_Lung], list[_Lung]] = ([], [])
    for level in _LEVELS:
        for region in _regions(even < level):
            for side, into in enumerate(sides):
                if (lung := _judged(region, side)) is not None:
                    into.append(lung)
    pairs = [(a, b) for a in sides[0] for b in sides[1] if _level(a, b) >= _LEVEL]
    return max(pairs, key=lambda p: (p[0].score + p[1].score) * _level(*p), default=None)


def _regions(dark: Bools) -> Iterator[Bools]:
    """Yield the connected dark regions, thin bridges cut."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    opened = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, names, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    least, most = (share * _SIDE**2 for share in _AREA)
    for number in range(1, count):
        if least <= stats[number, cv2.CC_STAT_AREA] <= most:
            yield names == number


def _judged(region: Bools, side: int) -> _Lung | None:
    """Score a region as the lung of a side (0: the image's left); None where it can be none."""
    closed, solidity = _closed(region)
    rows, columns = np.nonzero(closed)
    area, height = rows.size / _SIDE**2, int(rows.max() - rows.min() + 1) / _SIDE
    on_left = columns.mean() < _SIDE / 2
    if on_left != (side == 0) or solidity < _SOLID:
        return None
    if not (_AREA[0] <= area <= _AREA[1] and _HEIGHT[0] <= height <= _HEIGHT[1]):
        return None
    if _on_edge(closed) > _ON_EDGE:
        return None
    typical = _typical(side)
    alike = 2 * np.count_nonzero(closed & typical) / (rows.size + np.count_nonzero(typical))
    if alike < _ALIKE:
        return None
    return _Lung(closed, float(alike * solidity), int(rows.min()), int(rows.max()) + 1)


def _closed(region: Bools) -> tuple[Bools, float]:
    """Fill a region's notches of ribs and vessels, and say how much of its hull it fills."""
    outlines, _ = cv2.findContours(
        region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(outline))
    solidity = cv2.contourArea(outline) / max(hull, 1.0)
    filled = np.zeros(region.shape, np.uint8)
    cv2.drawContours(filled, [outline], -1, 1, thickness=cv2.FILLED)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    return cv2.morphologyEx(filled, cv2.MORPH_CLOSE, kernel) > 0, float(solidity)


def _on_edge(mask: Bools) -> float:
    """Share of a region's outline that lies on the image's edge."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    outline = mask & ~inner
    edge = np.ones_like(mask)
    edge[1:-1, 1:-1] = False
    return int((outline & edge).sum()) / max(1, int(outline.sum()))


@cache
def _typical(side: int) -> Bools:
    """Return the ellipse of a typical lung."""
    y, x = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _SIDE
    across = _MIDDLE[0] if side == 0 else 1 - _MIDDLE[0]
    inside = ((x - across) / _AXES[0]) ** 2 + ((y - _MIDDLE[1]) / _AXES[1]) ** 2 <= 1
    return np.asarray(inside, np.bool_)


def _level(one: _Lung, other: _Lung) -> float:
    """Extent from top to bottom that two lungs share, over that of both."""
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    whole = max(one.bottom, other.bottom) - min(one.top, other.top)
    return max(0.0, shared / whole)


def _central(size: int) -> Bools:
    left, top, right, bottom = (round(share * size) for share in _CENTRAL)
    mask = np.zeros((size, size), np.bool_)
    mask[top:bottom, left:right] = True
    return mask
