"""OME-Zarr score maps: what NGFF 0.5 asks, and the way back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wsi_specdec.errors import StoreError
from wsi_specdec.report import ScoreGrid, ScoreMap, read_score_map, write_score_map


def score_map(shape: tuple[int, int] = (70, 131), mpp: float | None = 0.25) -> ScoreMap:
    rng = np.random.default_rng(0)
    values = rng.random(shape).astype(np.float32)
    values[rng.random(shape) < 0.3] = np.nan
    return ScoreMap(ScoreGrid(values, 128.4, (300.0, 500.6), 128), "slide-1", mpp, "tumour")


def attributes(path: Path) -> dict[str, Any]:
    metadata = json.loads((path / "zarr.json").read_text())
    assert (metadata["zarr_format"], metadata["node_type"]) == (3, "group")
    found: dict[str, Any] = metadata["attributes"]
    return found


def check_ngff(path: Path) -> dict[str, Any]:
    """Assert the rules of NGFF 0.5 for multiscales and omero, one by one."""
    ome: dict[str, Any] = attributes(path)["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    axes = multiscale["axes"]
    names = [axis["name"] for axis in axes]
    assert 2 <= len(axes) <= 5
    assert len(set(names)) == len(names)
    kinds = [axis["type"] for axis in axes]
    # Time first, then channels, then space; two or three of space.
    order = {"time": 0, "channel": 1, "space": 2}
    assert [order[kind] for kind in kinds] == sorted(order[kind] for kind in kinds)
    assert kinds.count("space") in {2, 3}
    shapes = []
    for dataset in multiscale["datasets"]:
        array = zarr.open_array(path / dataset["path"], mode="r")
        shapes.append(array.shape)
        assert len(array.shape) == len(axes)
        assert list(array.metadata.dimension_names or ()) == names  # type: ignore[union-attr]
        transforms = dataset["coordinateTransformations"]
        assert [t["type"] for t in transforms] == ["scale", "translation"]
        for transform in transforms:
            vector = transform[transform["type"]]
            assert len(vector) == len(axes)
            assert all(isinstance(v, float) for v in vector)
        assert all(v > 0 for v in transforms[0]["scale"])
    assert shapes == sorted(shapes, reverse=True)
    channels = ome["omero"]["channels"]
    assert len(channels) == shapes[0][names.index("c")]
    for channel in channels:
        assert len(bytes.fromhex(channel["color"])) == 3
        assert set(channel["window"]) == {"min", "max", "start", "end"}
    return dict(multiscale)


def test_the_map_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.zarr"
    made = score_map()
    write_score_map(path, made)
    found = read_score_map(path)
    np.testing.assert_array_equal(found.grid.values, made.grid.values)
    assert (found.grid.step, found.grid.origin, found.grid.tile_size) == (128.4, (300, 500.6), 128)
    assert (found.slide_id, found.mpp, found.channel) == ("slide-1", 0.25, "tumour")
    assert np.array_equal(found.coords(), made.coords())
    assert np.array_equal(found.scores(), made.scores())
    assert [p.name for p in tmp_path.iterdir()] == ["s.ome.zarr"]


def test_ngff_is_kept_and_scale_and_place_are_those_of_the_tiles(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.zarr"
    write_score_map(path, score_map())
    multiscale = check_ngff(path)
    assert {axis.get("unit") for axis in multiscale["axes"]} == {None, "micrometer"}
    levels = [
        (d["coordinateTransformations"][0]["scale"], d["coordinateTransformations"][1])
        for d in multiscale["datasets"]
    ]
    assert len(levels) == 3  # 131, 66 and 33 columns
    for times, (scale, _) in zip((1, 2, 4), levels, strict=True):
        assert scale == pytest.approx([1, 128.4 * 0.25 * times, 128.4 * 0.25 * times])
    # The centre of the first tile, from the centre of the slide's first pixel.
    first = [0, (500.6 + 63.5) * 0.25, (300 + 63.5) * 0.25]
    assert levels[0][1]["translation"] == pytest.approx(first)
    # Every level's outer edge is the same: half a pixel before its first centre.
    edges = [np.array(t["translation"][1:]) - np.array(s[1:]) / 2 for s, t in levels]
    np.testing.assert_allclose(edges, [edges[0]] * 3)


def test_coarser_pixels_average_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.zarr"
    values = np.full((2, 66), np.nan, np.float32)
    values[0, :3] = (0.2, 0.6, 1.0)
    write_score_map(path, ScoreMap(ScoreGrid(values, 10, (0.0, 0.0), 10), "s", None, "tumour"))
    coarse = zarr.open_array(path / "1", mode="r")
    row = np.asarray(coarse[0])[0]
    np.testing.assert_allclose(row[:2], [0.4, 1.0])
    assert np.isnan(row[2:]).all()


def test_without_resolution_lengths_are_pixels(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.zarr"
    write_score_map(path, score_map((4, 5), None))
    multiscale = check_ngff(path)
    assert not any("unit" in axis for axis in multiscale["axes"])
    (dataset,) = multiscale["datasets"]
    assert dataset["coordinateTransformations"][0]["scale"] == [1, 128.4, 128.4]


def test_a_slide_without_scores_and_damage_are_named(tmp_path: Path) -> None:
    empty = ScoreMap(ScoreGrid(np.empty((0, 0), np.float32), 1, (0, 0), 1), "glass", 1.0, "tumour")
    with pytest.raises(StoreError, match="slide glass has no tile scores"):
        write_score_map(tmp_path / "s.ome.zarr", empty)
    with pytest.raises(StoreError, match=r"s\.ome\.zarr"):
        read_score_map(tmp_path / "s.ome.zarr")
    write_score_map(tmp_path / "t.ome.zarr", score_map((2, 2)))
    file = tmp_path / "t.ome.zarr" / "zarr.json"
    file.write_text(file.read_text().replace("step_level0_px", "other"))
    with pytest.raises(StoreError, match="step_level0_px"):
        read_score_map(tmp_path / "t.ome.zarr")
