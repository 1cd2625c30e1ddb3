"""What the addresses answer."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiff_slides import write_slide
from viewed import (
    GLASS,
    GREEN,
    GREEN_TILE,
    PLACE,
    TILE,
    Served,
    serving,
    tissue,
)

from wsi_specdec.errors import ManifestError
from wsi_specdec.keys import STRIDE_LEVEL0, TILE_SIZE_LEVEL0
from wsi_specdec.store import write_scores
from wsi_specdec.viewer.catalogue import read_catalogue
from wsi_specdec.viewer.layers import score_colours, tile_scores


def read(served: Served, path: str) -> Any:  # noqa: ANN401
    answer = served.get(path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def slides(served: Served) -> dict[str, dict[str, Any]]:
    return {slide["id"]: slide for slide in read(served, "/api/slides")["slides"]}


def test_slides_are_listed_with_call_truth_state_and_reason(served: Served) -> None:
    found = slides(served)
    assert list(found) == ["broken", "lost", "offset", "plain"]
    assert found["offset"]["calls"] == [{"score": 0.92, "call": 1, "threshold": 0.5, "tiles": 80}]
    assert (found["offset"]["label"], found["offset"]["cohort"]) == (1, "internal")
    assert found["offset"]["problem"] == ""
    assert found["lost"]["label"] is None
    assert (found["lost"]["state"], found["lost"]["reason"]) == ("failed", "no such slide")
    assert "no such slide" in found["lost"]["problem"]
    assert "corrupt or not a slide" in found["broken"]["problem"]


def test_a_slide_is_described(served: Served) -> None:
    key = slides(served)["offset"]["key"]
    about = read(served, f"/api/slides/{key}")
    assert (about["width"], about["height"]) == (GLASS.width, GLASS.height)
    assert about["bounds"] == [PLACE.x, PLACE.y, PLACE.width, PLACE.height]
    assert (about["tile"], about["top"], about["mpp"]) == (256, 3, 0.5)
    assert about["scored"] == [True]
    assert about["outlines"] == ["tissue"]


def test_tiles_are_jpegs_of_the_slides_pixels(served: Served) -> None:
    key = slides(served)["offset"]["key"]
    x, y = GREEN_TILE
    column, row = x // 256, y // 256
    answer = served.get(f"/tiles/{key}/3/{column}_{row}.jpg")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"].startswith("private")
    pixels = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (256, 256, 3)
    at = pixels[y - row * 256 + 5, x - column * 256 + 5, ::-1]
    assert np.abs(at.astype(int) - GREEN).max() < 12


def test_scores_and_outlines_count_in_level_0_pixels(served: Served) -> None:
    key = slides(served)["offset"]["key"]
    scores = read(served, f"/api/slides/{key}/scores/0")
    best = int(np.argmax(scores["classes"]["tumour"]))
    assert (scores["x"][best], scores["y"][best]) == GREEN_TILE
    assert (scores["size"], scores["stride"]) == (TILE, TILE)
    (outline,) = read(served, f"/api/slides/{key}/outlines/tissue")
    assert outline["class"] == "Tissue"
    ring = np.array(outline["polygons"][0][0])
    # The file counts from the corner of the scanned area.
    np.testing.assert_array_equal(ring.min(axis=0), GREEN_TILE)
    np.testing.assert_array_equal(ring.max(axis=0), np.add(GREEN_TILE, TILE))


def test_a_corrupt_slide_costs_itself_alone(served: Served) -> None:
    keys = {name: slide["key"] for name, slide in slides(served).items()}
    for path in ("/api/slides/{}", "/tiles/{}/0/0_0.jpg", "/thumbnails/{}"):
        answer = served.get(path.format(keys["broken"]))
        assert answer.status == 422
        assert "corrupt or not a slide" in json.loads(answer.body)["error"]
        assert served.get(path.format(keys["plain"])).status == 200


def test_what_a_slide_has_not_is_not_found(served: Served) -> None:
    key = slides(served)["plain"]["key"]
    for path in ("scores/1", "outlines/tissue", "outlines/other"):
        assert served.get(f"/api/slides/{key}/{path}").status == 404
    assert served.get(f"/tiles/{key}/2/4_0.jpg").status == 404


def test_a_damaged_file_of_scores_is_told(run_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "scores").mkdir(parents=True)
    write_slide(folder / "s.tif", tissue(128, 128, 0))
    (folder / "scores" / "s.parquet").write_bytes(b"PAR1 and no more")
    with serving(folder) as served:
        key = slides(served)["s"]["key"]
        answer = served.get(f"/api/slides/{key}/scores/0")
    assert answer.status == 422
    assert "no readable tile scores" in json.loads(answer.body)["error"]


def test_a_folder_of_slides_has_no_scores(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue(128, 128, 0))
    (tmp_path / "b.svs").write_text("no slide")
    catalogue = read_catalogue(tmp_path)
    assert list(catalogue.sources) == []
    problems = {entry.slide.slide_id: entry.problem for entry in catalogue.entries.values()}
    assert problems["a"] == ""
    assert "corrupt or not a slide" in problems["b"]


def test_a_folder_without_slides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no slides in the folder"):
        read_catalogue(tmp_path)


def test_arms_and_seeds_are_sources(run_dir: Path, tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue(64, 64, 0))
    for arm in ("sd/seed-0", "sd/seed-1", "wd/seed-0"):
        (tmp_path / "arms" / arm / "scores").mkdir(parents=True)
    (tmp_path / "arms" / "notes").mkdir()
    names = [source.name for source in read_catalogue(tmp_path).sources]
    assert names == ["sd, seed 0", "sd, seed 1", "wd, seed 0"]


def test_a_key_changes_with_the_file(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue(64, 64, 0))
    (first,) = read_catalogue(tmp_path).entries
    write_slide(tmp_path / "a.tif", tissue(64, 128, 0))
    (second,) = read_catalogue(tmp_path).entries
    assert first != second


def test_scores_of_several_classes_and_overlapping_tiles(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    coords = np.array([[0, 0], [32, 0], [64, 0]], np.int64)
    probs = np.array([[0.5, 0.25], [np.nan, 1], [0, 0.125]], np.float32)
    metadata = {TILE_SIZE_LEVEL0: 64, STRIDE_LEVEL0: 32}
    write_scores(path, coords, probs * 0, probs, ["a", "b"], metadata)
    found = tile_scores(path)
    assert found["classes"] == {"a": [0.5, None, 0], "b": [0.25, 1, 0.125]}
    assert (found["size"], found["stride"], found["x"]) == (64, 32, [0, 32, 64])


def test_scores_that_do_not_state_the_tiles_size_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    coords = np.array([[0, 0], [100, 0], [300, 200]], np.int64)
    zeros = np.zeros((3, 1), np.float32)
    write_scores(path, coords, zeros, zeros, ["tumour"], {})
    assert tile_scores(path)["size"] == 100


def test_colours_darken_evenly_so_that_any_eye_tells_them_apart() -> None:
    colours = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in score_colours()]
    lab = cv2.cvtColor(np.array([colours], np.uint8), cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lab) <= 0).all()
    assert lab[0] - lab[-1] > 150
