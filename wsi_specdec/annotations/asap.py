"""ASAP's XML, the format of the CAMELYON annotations.

An `Annotation` has a `Type`, a group (`PartOfGroup`, "None" for none) and `Coordinates`. Polygon,
Rectangle and Spline are read as the polygon through their points: a spline's bows between two
points are cut off. Dots, point sets and measurements enclose nothing and are counted. The class is
the group itself, whatever group that is part of.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from wsi_specdec.annotations.regions import (
    MAX_TEXT_BYTES,
    Region,
    Regions,
    Tally,
    fail,
    to_ring,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROOT = "ASAP_Annotations"
_AREAS = frozenset({"polygon", "rectangle", "spline"})
_SKIPPED = {"dot": "points", "pointset": "points", "measurement": "lines", "none": "empty"}
_NO_GROUP = frozenset({"", "none"})


def read_asap(path: Path) -> Regions:
    """Read regions from ASAP's XML.

    Raises
    ------
    ManifestError
        If the file is not ASAP's, declares a DTD or entities (which none of ASAP's does, and by
        which a small file can fill the memory), is too large, or has a coordinate that is none.
    """
    tally = Tally()
    regions = []
    for number, element in enumerate(_annotations(path)):
        name = element.get("Name") or ""
        place = f"annotation {number}" + (f" ({name})" if name else "")
        if (region := _region(element, name, path, place, tally)) is not None:
            regions.append(region)
        # What is read is let go, so that memory holds the regions and not the tree.
        element.clear()
    return Regions(tuple(regions), tally.counts)


def _annotations(path: Path) -> Iterator["Element"]:
    # Only where needed: every worker process imports this module.
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise fail(path, "", f"is larger than {MAX_TEXT_BYTES >> 20} MiB")
        root = None
        with path.open("rb") as handle:
            for event, element in iterparse(handle, events=("start", "end"), forbid_dtd=True):
                if root is None:
                    root = element
                    _check_root(root, path)
                if event == "end" and element.tag == "Annotation":
                    yield element
    except DefusedXmlException as error:
        msg = "declares a DTD or entities, which no file of ASAP's does; it is not read"
        raise fail(path, "", msg) from error
    except (ParseError, OSError, LookupError, UnicodeError) as error:
        raise fail(path, "", f"is not XML that can be read: {error}") from error


def _check_root(root: "Element", path: Path) -> None:
    if root.tag != _ROOT:
        raise fail(path, "", f"its root is <{root.tag}>, not ASAP's <{_ROOT}>; save it with ASAP")


def _region(element: "Element", name: str, path: Path, place: str, tally: Tally) -> Region | None:
    kind = (element.get("Type") or "").casefold()
    if kind in _SKIPPED:
        tally.skip(_SKIPPED[kind])
        return None
    if kind not in _AREAS:
        raise fail(path, place, f"its Type {element.get('Type')!r} is none that ASAP draws")
    ring = to_ring(_points(element, path, place), path, place)
    if ring is None:
        tally.skip("empty")
        return None
    group = element.get("PartOfGroup") or ""
    return Region(((ring,),), None if group.casefold() in _NO_GROUP else group, name)


def _points(element: "Element", path: Path, place: str) -> list[tuple[float, float]]:
    points = []
    for position, coordinate in enumerate(element.iter("Coordinate")):
        try:
            order = int(coordinate.get("Order") or position)
            points.append((order, (float(coordinate.get("X", "")), float(coordinate.get("Y", "")))))
        except ValueError as error:
            msg = f"its coordinate {position} is not Order, X and Y as numbers: {error}"
            raise fail(path, place, msg) from error
    return [point for _, point in sorted(points, key=lambda entry: entry[0])]
