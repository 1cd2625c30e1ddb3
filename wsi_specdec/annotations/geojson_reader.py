"""GeoJSON as QuPath writes it, of every version since 0.2, and plain GeoJSON polygons.

Read: FeatureCollection, Feature, a bare geometry, or a list of either; Polygon, MultiPolygon and
GeometryCollection. The class is `properties.classification`: an object with `name` or (a derived
class, since 0.4) `names`, or a string. Measurements are an object (since 0.4) or a list of name
and value. Child objects of a hierarchy are read too; a cell's nucleus is not.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsi_specdec.annotations.regions import (
    MAX_TEXT_BYTES,
    Region,
    Regions,
    Rings,
    Tally,
    fail,
    to_ring,
)
from wsi_specdec.errors import ManifestError

_SKIPPED = {
    "Point": "points",
    "MultiPoint": "points",
    "LineString": "lines",
    "MultiLineString": "lines",
}
_GEOMETRIES = frozenset({*_SKIPPED, "Polygon", "MultiPolygon", "GeometryCollection"})
# Before 0.3 the kind of object stood where its id stands now.
_OLD_KINDS = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmaCore",
}
_CLASS_SEPARATOR = ": "


def read_geojson(path: Path, origin: tuple[int, int] = (0, 0)) -> Regions:
    """Read regions from `.geojson`, `.json` or either with `.gz`.

    Parameters
    ----------
    path
        The file.
    origin
        Level-0 x, y of the point that the file calls (0, 0).

    Raises
    ------
    ManifestError
        If the file is no GeoJSON, too large, or a polygon's coordinates are not numbers.
    """
    tally = Tally()
    reader = _Reader(path, origin, tally)
    try:
        regions = tuple(reader.regions(_load(path)))
    except RecursionError as error:
        raise fail(path, "", "is nested too deeply; export it again") from error
    return Regions(regions, tally.counts)


def _load(path: Path) -> object:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as handle:
            data = handle.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise fail(path, "", f"cannot be read: {error}") from error
    if len(data) > MAX_TEXT_BYTES:
        msg = f"holds more than {MAX_TEXT_BYTES >> 20} MiB of text; export the annotations alone"
        raise fail(path, "", msg)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise fail(path, "", f"is not JSON: {error}; export it again") from error


class _Reader:
    """What is read from one file, and where it is in it."""

    def __init__(self, path: Path, origin: tuple[int, int], tally: Tally) -> None:
        self.path, self.origin, self.tally = path, origin, tally

    def regions(self, root: object) -> Iterator[Region]:
        """Regions of whatever stands at the top of the file."""
        if isinstance(root, dict) and root.get("type") == "FeatureCollection":
            root = root.get("features")
        items = [root] if isinstance(root, dict) else root
        if not isinstance(items, list):
            msg = "is no GeoJSON: expected features or geometries; in QuPath, File > Export objects"
            raise fail(self.path, "", msg)
        for number, item in enumerate(items):
            yield from self._feature(item, f"feature {number}")

    def _feature(self, item: object, place: str) -> Iterator[Region]:
        if not isinstance(item, dict):
            raise fail(self.path, place, f"is a {type(item).__name__}, not a feature")
        if item.get("type") in _GEOMETRIES:
            item = {"type": "Feature", "geometry": item}
        if item.get("type") != "Feature":
            raise fail(self.path, place, f"is of type {item.get('type')!r}, not a Feature")
        properties = item.get("properties") or {}
        if not isinstance(properties, dict):
            raise fail(self.path, place, "its properties are not an object")
        polygons = tuple(self._polygons(item.get("geometry"), place))
        if polygons:
            yield Region(
                polygons,
                self._class_name(properties.get("classification"), place),
                str(properties.get("name") or ""),
                _kind(item, properties),
                self._measurements(properties.get("measurements"), place),
            )
        children = properties.get("childObjects") or []
        if not isinstance(children, list):
            raise fail(self.path, place, "its childObjects are not a list")
        for number, child in enumerate(children):
            yield from self._feature(child, f"{place}, child {number}")

    def _polygons(self, geometry: object, place: str) -> Iterator[Rings]:
        if geometry is None:
            self.tally.skip("empty")
            return
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if not isinstance(geometry, dict) or kind not in _GEOMETRIES:
            raise fail(self.path, place, f"its geometry is of type {kind!r}, not a Polygon")
        if kind in _SKIPPED:
            self.tally.skip(_SKIPPED[kind])
        elif kind == "GeometryCollection":
            for part in self._list(geometry.get("geometries"), place):
                yield from self._polygons(part, place)
        else:
            given = self._list(geometry.get("coordinates"), place)
            for rings in [given] if kind == "Polygon" else given:
                yield from self._polygon(rings, place)

    def _polygon(self, given: object, place: str) -> Iterator[Rings]:
        rings = [
            to_ring(self._list(points, place), self.path, place)
            for points in self._list(given, place)
        ]
        if not rings or rings[0] is None:
            self.tally.skip("empty")
            return
        yield tuple(ring + self.origin for ring in rings if ring is not None)

    def _list(self, value: object, place: str) -> list[Any]:
        if not isinstance(value, list):
            raise fail(self.path, place, "its coordinates are not nested lists; export it again")
        return value

    def _class_name(self, value: object, place: str) -> str | None:
        if isinstance(value, dict):
            names = value.get("names")
            value = _CLASS_SEPARATOR.join(map(str, names)) if names else value.get("name")
        if value is None or isinstance(value, str):
            return value or None
        raise fail(
            self.path, place, f"its classification {value!r} is neither a name nor an object"
        )

    def _measurements(self, value: object, place: str) -> dict[str, float]:
        try:
            if isinstance(value, list):
                value = {entry["name"]: entry["value"] for entry in value}
            if isinstance(value, dict):
                return {str(name): float(x) for name, x in value.items() if x is not None}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._no_measurements(place) from error
        if value is not None:
            raise self._no_measurements(place)
        return {}

    def _no_measurements(self, place: str) -> ManifestError:
        msg = "its measurements are neither an object of numbers nor a list of name and value"
        return fail(self.path, place, msg)


def _kind(item: dict[str, Any], properties: dict[str, Any]) -> str:
    stated = properties.get("objectType") or properties.get("object_type")
    return str(stated or _OLD_KINDS.get(str(item.get("id")), "annotation"))
