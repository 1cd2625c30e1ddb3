"""Outlines and tiles as the GeoJSON that QuPath opens.

Its conventions since 0.4: `properties.objectType` says what an object is, `classification` is an
object with `name` and `color` (red, green, blue), `measurements` an object of numbers. Coordinates
count from the corner of the scanned area, to which QuPath crops a slide that states one.
"""

import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.files import atomic_path
from wsi_specdec.geometry import Box

ObjectType = Literal["annotation", "detection", "tile"]

_COLOURS = {
    "Tissue": [0, 128, 0],
    "Tumour": [200, 0, 0],
    "Tumor": [200, 0, 0],
    "Normal": [0, 110, 200],
}
_OTHER_COLOUR = [64, 64, 200]

Numbers = NDArray[np.floating[Any]]


def polygons_to_geojson(
    polygons: Sequence[Sequence[NDArray[np.integer[Any]] | NDArray[np.floating[Any]]]],
    name: str,
    *,
    object_type: ObjectType = "annotation",
    measurements: Mapping[str, ArrayLike] | None = None,
    bounds: Box | None = None,
) -> dict[str, Any]:
    """Describe polygons as a GeoJSON FeatureCollection that QuPath opens.

    Parameters
    ----------
    polygons
        Per polygon its rings, the outer one first and then its holes; a ring is (k, 2) x, y in
        level-0 pixels, k >= 3, open or closed.
    name
        Name of the classification, for one ``"Tissue"``.
    object_type
        What QuPath makes of each.
    measurements
        One number per polygon, by name; NaN, which JSON lacks, is left out.
    bounds
        The slide's scanned area, from whose corner the coordinates written count; None counts from
        the slide's corner.

    Returns
    -------
    dict[str, Any]
        JSON-compatible; rings are closed, as GeoJSON (RFC 7946) asks.

    Raises
    ------
    ValueError
        If there are not as many of some measurement as of polygons.
    """
    origin = _origin(bounds)
    values = _values(measurements, len(polygons))
    features = [
        _feature(
            [_closed((np.asarray(ring) - origin).tolist()) for ring in rings],
            object_type,
            name,
            {key: column[index] for key, column in values.items()},
        )
        for index, rings in enumerate(polygons)
    ]
    return {"type": "FeatureCollection", "features": features}


def tiles_to_geojson(
    coords: NDArray[np.int64],
    size_level0: int,
    measurements: Mapping[str, ArrayLike],
    classification: str | Sequence[str | None] | None = None,
    *,
    bounds: Box | None = None,
) -> Iterator[dict[str, Any]]:
    """Describe scored tiles as QuPath's tile objects, one after another.

    Parameters
    ----------
    coords
        (N, 2) x, y of the tiles' top-left corners, in level-0 pixels.
    size_level0
        Side of a tile in level-0 pixels.
    measurements
        (N,) numbers by name, such as ``{"prob_tumour": …}``; NaN is left out.
    classification
        Class of all tiles, or of each; None for none.
    bounds
        As in `polygons_to_geojson`.

    Returns
    -------
    Iterator[dict[str, Any]]
        GeoJSON features, for `write_geojson`; memory does not grow with N.

    Raises
    ------
    ValueError
        If the numbers of tiles, measurements and classes differ.
    """
    values = _values(measurements, len(coords))
    if classification is None or isinstance(classification, str):
        classification = [classification] * len(coords)
    _check_length("classification", len(classification), len(coords))
    return _tiles(coords, size_level0, values, classification, _origin(bounds))


def write_geojson(path: Path, features: Iterable[Mapping[str, Any]]) -> None:
    """Write features as a FeatureCollection, atomically and one by one.

    Parameters
    ----------
    path
        Compressed if it ends in `.gz`; equal features give equal bytes.
    features
        For one what `tiles_to_geojson` gives, or a collection's ``["features"]``.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        if path.suffix.lower() == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=handle, mtime=0) as packed:
                packed.writelines(_lines(features))
        else:
            handle.writelines(_lines(features))


def _lines(features: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    yield b'{"type":"FeatureCollection","features":['
    for index, feature in enumerate(features):
        text = json.dumps(feature, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        yield (b",\n" if index else b"\n") + text.encode()
    yield b"\n]}\n"


def _tiles(
    coords: NDArray[np.int64],
    size: int,
    values: Mapping[str, Numbers],
    classes: Sequence[str | None],
    origin: NDArray[np.int64],
) -> Iterator[dict[str, Any]]:
    for index, name in enumerate(classes):
        x, y = (coords[index] - origin).tolist()
        ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
        yield _feature([ring], "tile", name, {key: values[key][index] for key in values})


def _feature(
    rings: list[Any],
    object_type: ObjectType,
    name: str | None,
    numbers: Mapping[str, np.floating[Any]],
) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": object_type}
    if name is not None:
        properties["classification"] = {"name": name, "color": _COLOURS.get(name, _OTHER_COLOUR)}
    # By way of text, a float32 has the few digits that tell it from others, and not 17.
    found = {key: float(str(v)) for key, v in numbers.items() if math.isfinite(v)}
    if found:
        properties["measurements"] = found
    geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _origin(bounds: Box | None) -> NDArray[np.int64]:
    return np.array((0, 0) if bounds is None else (bounds.x, bounds.y), np.int64)


def _values(measurements: Mapping[str, ArrayLike] | None, expected: int) -> dict[str, Numbers]:
    values: dict[str, Numbers] = {}
    for name, given in (measurements or {}).items():
        column = np.asarray(given)
        _check_length(f"measurement {name!r}", len(column), expected)
        is_float = np.issubdtype(column.dtype, np.floating)
        values[name] = column if is_float else column.astype(np.float64)
    return values


def _check_length(what: str, found: int, expected: int) -> None:
    if found != expected:
        msg = f"{what} has {found} entries for {expected} objects"
        raise ValueError(msg)


def _closed(points: list[list[float]]) -> list[list[float]]:
    return points if points[0] == points[-1] else [*points, points[0]]
