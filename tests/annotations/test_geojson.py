import json

import numpy as np

from wsi_specdec.annotations import polygons_to_geojson


def test_feature_collection_as_qupath_writes_it() -> None:
    outer = np.array([[0, 0], [10, 0], [10, 10]])
    hole = np.array([[4, 2], [8, 2], [8, 6], [4, 2]])
    found = json.loads(json.dumps(polygons_to_geojson([(outer, hole), (outer + 20,)], "Tissue")))
    assert found["type"] == "FeatureCollection"
    first, second = found["features"]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [
            [[0, 0], [10, 0], [10, 10], [0, 0]],
            [[4, 2], [8, 2], [8, 6], [4, 2]],
        ],
    }
    assert first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"]["name"] == "Tissue"
    assert second["geometry"]["coordinates"] == [[[20, 20], [30, 20], [30, 30], [20, 20]]]


def test_no_polygons_are_a_valid_collection() -> None:
    assert polygons_to_geojson([], "Tumour") == {"type": "FeatureCollection", "features": []}
