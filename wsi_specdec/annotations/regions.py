"""Regions as annotation files of every format give them: polygons with a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Size

# The outer ring and then its holes; each (k, 2) float64 x, y, not closed. Filled even-odd.
Rings = tuple[NDArray[np.float64], ...]

# Unpacked. Reading takes some ten times as much memory; 100,000 outlined cells have 60 MB.
MAX_TEXT_BYTES = 1 << 27
# No slide comes near it; what is beyond is no pixel coordinate.
_MAX_COORDINATE = 1e9
_MIN_POINTS = 3


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated region.

    Attributes
    ----------
    polygons
        Each filled by the even-odd rule over its rings; together they are the region (union).
        Level-0 pixels.
    class_name
        QuPath's classification or ASAP's group, None where it has none.
    name
        What the annotator called this one region, mostly empty.
    kind
        QuPath's object type, such as "annotation", "detection" or "tile".
    measurements
        QuPath's measurements, by name.
    """

    polygons: tuple[Rings, ...]
    class_name: str | None = None
    name: str = ""
    kind: str = "annotation"
    measurements: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Regions:
    """What one annotation file holds.

    Attributes
    ----------
    regions
        In the file's order.
    skipped
        How many objects enclose no area and were left out, by what they are ("points", "lines",
        "empty").
    """

    regions: tuple[Region, ...]
    skipped: Mapping[str, int]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes found, sorted."""
        return tuple(sorted({r.class_name for r in self.regions if r.class_name is not None}))


class Tally:
    """Counts of what is left out while a file is read."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def skip(self, what: str) -> None:
        """Count one object of a kind."""
        self.counts[what] = self.counts.get(what, 0) + 1


def fail(path: Path, place: str, what: str) -> ManifestError:
    """Return the error for one place in an annotation file."""
    where = f"{path}, {place}" if place else str(path)
    return ManifestError(f"annotation file {where}: {what}")


def to_ring(points: Sequence[object], path: Path, place: str) -> NDArray[np.float64] | None:
    """Make a ring of x, y (and z, which is dropped); None where it encloses nothing.

    Raises
    ------
    ManifestError
        If the points are not pairs of finite numbers that can be pixels.
    """
    if not points:
        return None
    try:
        ring = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise fail(path, place, "a coordinate is not a pair of numbers; mend the file") from error
    if ring.ndim != 2 or ring.shape[1] < 2:
        raise fail(path, place, "coordinates must be a list of [x, y]; mend the file")
    ring = ring[:, :2]
    if not (np.abs(ring) <= _MAX_COORDINATE).all():
        raise fail(path, place, "a coordinate is NaN, infinite or beyond 1e9; mend the file")
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    return np.ascontiguousarray(ring) if len(ring) >= _MIN_POINTS else None


def check_on_slide(found: Regions, path: Path, level0: Size) -> None:
    """Refuse a file none of whose regions touches the slide: its coordinates are others.

    Raises
    ------
    ManifestError
        If there are regions and all lie outside; what only sticks out is fine.
    """
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for ring in (rings[0] for region in found.regions for rings in region.polygons):
        first, last = ring.min(axis=0), ring.max(axis=0)
        if (last > 0).all() and (first < (level0.width, level0.height)).all():
            return
        low, high = np.minimum(low, first), np.maximum(high, last)
    if not found.regions:
        return
    (left, top), (right, bottom) = low, high
    msg = (
        f"no region touches the slide of {level0.width} by {level0.height} px: they lie between "
        f"({left:g}, {top:g}) and ({right:g}, {bottom:g}). Coordinates must be level-0 pixels; "
        "is it another slide's file?"
    )
    raise fail(path, "", msg)
