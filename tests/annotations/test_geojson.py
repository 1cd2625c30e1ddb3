"""GeoJSON out: as QuPath reads it, and back again."""

import gzip
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.annotations import (
    polygons_to_geojson,
    read_regions,
    tiles_to_geojson,
    write_geojson,
)
from wsi_specdec.geometry import Box, Size

LEVEL0 = Size(1000, 1000)
OUTER = np.array([[0, 0], [10, 0], [10, 10]])
HOLE = np.array([[4, 2], [8, 2], [8, 6], [4, 2]])


def test_feature_collection_as_qupath_writes_it() -> None:
    found = json.loads(json.dumps(polygons_to_geojson([(OUTER, HOLE), (OUTER + 20,)], "Tissue")))
    assert found["type"] == "FeatureCollection"
    first, second = found["features"]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [
            [[0, 0], [10, 0], [10, 10], [0, 0]],
            [[4, 2], [8, 2], [8, 6], [4, 2]],
        ],
    }
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Tissue", "color": [0, 128, 0]},
    }
    assert second["geometry"]["coordinates"] == [[[20, 20], [30, 20], [30, 30], [20, 20]]]


def test_no_polygons_are_a_valid_collection() -> None:
    assert polygons_to_geojson([], "Tumour") == {"type": "FeatureCollection", "features": []}


def test_a_scored_tile_as_qupath_writes_it() -> None:
    (feature,) = tiles_to_geojson(
        np.array([[512, 256]]), 128, {"prob_tumour": np.array([0.3], np.float32)}, "Tumor"
    )
    assert json.loads(json.dumps(feature)) == {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[512, 256], [640, 256], [640, 384], [512, 384], [512, 256]]],
        },
        "properties": {
            "objectType": "tile",
            "classification": {"name": "Tumor", "color": [200, 0, 0]},
            "measurements": {"prob_tumour": 0.3},
        },
    }


def test_what_json_lacks_is_left_out() -> None:
    coords = np.array([[0, 0], [8, 0]])
    first, second = tiles_to_geojson(coords, 8, {"a": [np.nan, 1], "b": [np.inf, np.nan]})
    assert first["properties"] == {"objectType": "tile"}
    assert second["properties"] == {"objectType": "tile", "measurements": {"a": 1.0}}


def test_numbers_that_do_not_fit_are_refused_at_once() -> None:
    coords = np.zeros((2, 2), np.int64)
    with pytest.raises(ValueError, match="measurement 'p' has 3 entries for 2 objects"):
        tiles_to_geojson(coords, 8, {"p": [1, 2, 3]})
    with pytest.raises(ValueError, match="classification has 1 entries for 2 objects"):
        tiles_to_geojson(coords, 8, {}, ["Tumor"])
    with pytest.raises(ValueError, match="measurement 'p' has 2 entries for 1 objects"):
        polygons_to_geojson([(OUTER,)], "Tumor", measurements={"p": [1, 2]})


@pytest.mark.parametrize("name", ["tiles.geojson", "tiles.geojson.gz"])
def test_tiles_survive_the_round_trip(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coords = rng.integers(0, 900, (50, 2))
    scores = rng.random(50).astype(np.float32)
    classes = [("Tumor", "Normal – µ", None)[i % 3] for i in range(50)]
    bounds = Box(30, 40, 900, 900)
    path = tmp_path / name
    write_geojson(path, tiles_to_geojson(coords, 64, {"p": scores}, classes, bounds=bounds))
    found = read_regions(path, LEVEL0, bounds).regions
    assert [region.class_name for region in found] == classes
    assert {region.kind for region in found} == {"tile"}
    read = np.array([region.measurements["p"] for region in found], np.float32)
    assert (read == scores).all()
    assert [region.polygons[0][0][0].tolist() for region in found] == coords.tolist()
    assert all(np.ptp(region.polygons[0][0], axis=0).tolist() == [64, 64] for region in found)


numbers = st.floats(-500, 500).map(lambda x: round(x, 2))
ring = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8, unique=True)


@given(polygons=st.lists(st.lists(ring, min_size=1, max_size=3), min_size=1, max_size=4))
def test_polygons_survive_the_round_trip(
    polygons: list[list[list[tuple[float, float]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = [[np.array(points) for points in rings] for rings in polygons]
    made[0][0] = np.array([[0.0, 0], [9, 0], [9, 9]])
    sizes = np.arange(len(made)) / 3
    path = tmp_path_factory.mktemp("round") / "a.geojson"
    collection = polygons_to_geojson(
        made, "Stroma", object_type="detection", measurements={"size": sizes}
    )
    write_geojson(path, collection["features"])
    found = read_regions(path, LEVEL0).regions
    assert len(found) == len(made)
    for region, rings, size in zip(found, made, sizes, strict=True):
        assert (region.class_name, region.kind) == ("Stroma", "detection")
        assert region.measurements["size"] == size
        ((*read,),) = region.polygons
        assert [r.tolist() for r in read] == [r.tolist() for r in rings]


def test_both_ways_to_write_hold_the_same(tmp_path: Path) -> None:
    features = polygons_to_geojson([(OUTER, HOLE)], "Tissue")["features"]
    write_geojson(tmp_path / "a.geojson", features)
    write_geojson(tmp_path / "a.geojson.gz", iter(features))
    plain = (tmp_path / "a.geojson").read_bytes()
    packed = (tmp_path / "a.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert json.loads(plain) == polygons_to_geojson([(OUTER, HOLE)], "Tissue")
    # Equal in any folder and at any time: the header's time is 0.
    assert packed[4:8] == bytes(4)
    (tmp_path / "b").mkdir()
    write_geojson(tmp_path / "b" / "other.geojson.gz", features)
    assert (tmp_path / "b" / "other.geojson.gz").read_bytes() == packed


def test_no_features_are_a_valid_collection(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", [])
    found = json.loads((tmp_path / "a.geojson").read_text())
    assert found == {"type": "FeatureCollection", "features": []}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    write_geojson(path, [])
    old = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_geojson(path, [{"type": "Feature", "x": float("nan")}])
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.geojson.gz"]


def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 5_000):
        coords = np.arange(2 * count).reshape(count, 2)
        scores = np.linspace(0, 1, count)
        tracemalloc.start()
        write_geojson(tmp_path / "a.geojson.gz", tiles_to_geojson(coords, 8, {"p": scores}, "T"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # But for the list of 8-byte references to their class.
    assert peaks[1] < peaks[0] + 8 * 5_000 + 100_000


def test_a_hundred_thousand_tiles_take_seconds(tmp_path: Path) -> None:
    coords = np.zeros((100_000, 2), np.int64)
    begin = time.perf_counter()
    write_geojson(tmp_path / "a.geojson", tiles_to_geojson(coords, 8, {"p": np.ones(100_000)}))
    assert time.perf_counter() - begin < 20
