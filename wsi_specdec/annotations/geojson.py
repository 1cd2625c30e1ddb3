"""Outlines as the GeoJSON that QuPath opens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COLOURS = {"Tissue": [0, 128, 0], "Tumour": [200, 0, 0]}
_OTHER_COLOUR = [64, 64, 200]


def polygons_to_geojson(
    polygons: Sequence[Sequence[NDArray[np.int64]]], name: str
) -> dict[str, Any]:
    """Describe polygons as a GeoJSON FeatureCollection of QuPath annotations.

    Parameters
    ----------
    polygons
        Per polygon its rings, the outer one first and then its holes; a ring is (k, 2) x, y in
        level-0 pixels, k >= 3, open or closed.
    name
        Name of the classification, for one ``"Tissue"``.

    Returns
    -------
    dict[str, Any]
        JSON-compatible; rings are closed, as GeoJSON (RFC 7946) asks.
    """
    classification = {"name": name, "color": _COLOURS.get(name, _OTHER_COLOUR)}
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [_closed(ring) for ring in rings]},
            "properties": {"objectType": "annotation", "classification": classification},
        }
        for rings in polygons
    ]
    return {"type": "FeatureCollection", "features": features}


def _closed(ring: NDArray[np.int64]) -> list[list[int]]:
    points: list[list[int]] = ring.tolist()
    return points if points[0] == points[-1] else [*points, points[0]]
