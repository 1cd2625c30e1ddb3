"""GeoJSON in: what QuPath of any version writes, and what nobody should."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_specdec.annotations import Region, geojson_reader, read_regions, regions
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size

LEVEL0 = Size(1000, 800)
RING = [[10, 20], [110, 20], [110, 120], [10, 120], [10, 20]]
HOLE = [[40, 50], [60, 50], [60, 70], [40, 50]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}


def feature(geometry: object = POLYGON, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read(folder: Path, content: object, name: str = "a.geojson") -> tuple[Region, ...]:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return read_regions(folder / name, LEVEL0).regions


def test_a_feature_of_qupath_06(tmp_path: Path) -> None:
    (region,) = read(
        tmp_path,
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": "49069bbb-a0ac-4343-96fe-15af45c30634",
                    "geometry": POLYGON | {"plane": {"c": -1, "z": 0, "t": 0}},
                    "properties": {
                        "objectType": "annotation",
                        "name": "left one",
                        "classification": {"name": "Tumor", "color": [200, 0, 0]},
                        "isLocked": True,
                        "measurements": {"Area µm^2": 12.5, "Solidity": 1},
                    },
                }
            ],
        },
    )
    assert (region.class_name, region.name, region.kind) == ("Tumor", "left one", "annotation")
    assert region.measurements == {"Area µm^2": 12.5, "Solidity": 1.0}
    ((outer, hole),) = region.polygons
    assert outer.tolist() == RING[:-1]
    assert hole.tolist() == HOLE[:-1]
    assert outer.dtype == np.float64


@pytest.mark.parametrize(
    ("classification", "name"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive"),
        ("Stroma", "Stroma"),
        (None, None),
        ({}, None),
    ],
)
def test_classes_of_all_versions(classification: object, name: str | None, tmp_path: Path) -> None:
    assert read(tmp_path, feature(classification=classification))[0].class_name == name


def test_version_02_wrote_a_list_with_kinds_as_ids(tmp_path: Path) -> None:
    old = feature(measurements=[{"name": "p", "value": 0.25}]) | {"id": "PathTileObject"}
    newer = feature(object_type="detection")
    first, second = read(tmp_path, [old, newer])
    assert (first.kind, first.measurements) == ("tile", {"p": 0.25})
    assert second.kind == "detection"


@pytest.mark.parametrize(
    ("geometry", "polygons"),
    [
        (POLYGON, 1),
        ({"type": "MultiPolygon", "coordinates": [[RING, HOLE], [RING]]}, 2),
        (
            {
                "type": "GeometryCollection",
                "geometries": [POLYGON, {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}],
            },
            3,
        ),
    ],
)
def test_all_geometries_bare_and_in_features(
    geometry: dict[str, Any], polygons: int, tmp_path: Path
) -> None:
    for content in (geometry, feature(geometry), [geometry], [feature(geometry)]):
        (region,) = read(tmp_path, content)
        assert len(region.polygons) == polygons


def test_what_encloses_nothing_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    geometries: list[Any] = [
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "MultiPoint", "coordinates": [[1, 2]]},
        {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [1, 2]]]},
        None,
        POLYGON,
    ]
    path.write_text(json.dumps([feature(geometry) for geometry in geometries]))
    found = read_regions(path, LEVEL0)
    assert len(found.regions) == 1
    assert found.skipped == {"points": 2, "lines": 1, "empty": 4}


def test_children_of_a_hierarchy_are_read(tmp_path: Path) -> None:
    child = feature(classification="Stroma")
    parent = feature(classification="Tumor", childObjects=[child])
    assert [region.class_name for region in read(tmp_path, parent)] == ["Tumor", "Stroma"]


def test_a_third_coordinate_is_dropped_and_rings_may_be_open(tmp_path: Path) -> None:
    ring = [[1, 2, 0], [9, 2, 0], [9, 8, 0]]
    (region,) = read(tmp_path, {"type": "Polygon", "coordinates": [ring]})
    assert region.polygons[0][0].tolist() == [[1, 2], [9, 2], [9, 8]]


def test_compressed_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    text = json.dumps(feature(classification="Krebs – µ"), ensure_ascii=False)
    path = tmp_path / "a.GEOJSON.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8-sig")))
    assert read_regions(path, LEVEL0).classes == ("Krebs – µ",)


def test_coordinates_count_from_the_scanned_area(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(feature()))
    (region,) = read_regions(path, LEVEL0, Box(300, 200, 500, 500)).regions
    assert region.polygons[0][1][0].tolist() == [340, 250]


def test_nan_among_measurements_as_qupath_writes_it(tmp_path: Path) -> None:
    (region,) = read(tmp_path, feature(measurements={"a": float("nan"), "b": 1}))
    assert np.isnan(region.measurements["a"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", r"a\.geojson: is not JSON"),
        ("[" * 100_000, r"a\.geojson: is not JSON"),
        ('"text"', r"a\.geojson: is no GeoJSON"),
        ('{"type": "FeatureCollection"}', r"a\.geojson: is no GeoJSON"),
        ('{"type": "Topology"}', r"feature 0: is of type 'Topology'"),
        ("[3]", r"feature 0: is a int, not a feature"),
        ([feature(), feature({"type": "Circle"})], r"feature 1: its geometry is of type 'Circle'"),
        (feature({"type": "Polygon"}), r"feature 0: its coordinates are not nested lists"),
        (feature({"type": "Polygon", "coordinates": RING}), r"feature 0: coordinates must be"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3]]]}), "not a pair of numbers"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], ["x", 1]]]}), "not a pair"),
        (feature({"type": "Polygon", "coordinates": [[[1, float("nan")]] * 4]}), "NaN, infinite"),
        (feature({"type": "Polygon", "coordinates": [[[1, None]] * 4]}), "NaN, infinite"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2e9]] * 4]}), "beyond 1e9"),
        (feature({"type": "Polygon", "coordinates": [[[1, 10**400]] * 4]}), "not a pair"),
        (feature(classification=7), "feature 0: its classification 7"),
        (feature(measurements="much"), "feature 0: its measurements"),
        (feature(measurements={"a": "much"}), "feature 0: its measurements"),
        (feature(childObjects=3), "feature 0: its childObjects"),
        (feature(childObjects=[4]), "feature 0, child 0: is a int"),
        ({"type": "Feature", "geometry": POLYGON, "properties": [1]}, "properties are not"),
    ],
)
def test_bad_input_gets_one_error_that_names_the_place(
    content: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ManifestError, match=message) as caught:
        read_regions(path, LEVEL0)
    assert "a.geojson" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8b broken", gzip.compress(b"[]" * 99, mtime=0)[:-9], b"[]"],
    ids=["no deflate stream", "cut short", "not compressed"],
)
def test_broken_compression_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=r"a\.geojson\.gz: cannot be read"):
        read_regions(path, LEVEL0)


def test_a_small_file_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson_reader, "MAX_TEXT_BYTES", 1 << 20)
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 24) + b"[]"))
    with pytest.raises(ManifestError, match="more than 1 MiB of text"):
        read_regions(path, LEVEL0)


def test_another_slides_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(feature()))
    with pytest.raises(ManifestError, match=r"no region touches the slide of 10 by 800 px"):
        read_regions(path, Size(10, 800))
    # What only sticks out is kept, and so is a file without regions.
    assert len(read_regions(path, Size(11, 21)).regions) == 1
    path.write_text("[]")
    assert read_regions(path, LEVEL0) == regions.Regions((), {})


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"not found: .*gone\.geojson"):
        read_regions(tmp_path / "gone.geojson", LEVEL0)
    (tmp_path / "a.kml").write_text("")
    with pytest.raises(ManifestError, match=r"expected one of \.geojson"):
        read_regions(tmp_path / "a.kml", LEVEL0)
