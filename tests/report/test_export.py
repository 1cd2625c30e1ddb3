"""Exports of a run: which files, of which slides, and through the command line."""

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from fake_runs import FakeRun

from wsi_specdec.annotations import read_regions
from wsi_specdec.cli.app import make_app
from wsi_specdec.config import ExportConfig
from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.geometry import Size
from wsi_specdec.report import export_run, read_run, read_score_map


def settings(*formats: str, **more: object) -> ExportConfig:
    return ExportConfig.model_validate({"formats": formats, **more})


def test_test_slides_of_every_arm_are_exported(comparison: FakeRun) -> None:
    run = read_run(comparison.path)
    written = export_run(run, settings("regions", "ome-zarr"))
    assert len(written) == 2 * 8 * 2
    assert all(path.exists() for path in written)
    folder = comparison.path / "arms" / "wd" / "seed-0" / "exports"
    names = {path.name for path in folder.iterdir()}
    assert {"internal-0.regions.geojson", "external-3.ome.zarr"} <= names
    assert len(names) == 16
    assert not (comparison.path / "arms" / "wd" / "seed-1" / "exports").exists()
    coords, scores = run.arms["wd"][0].tile_scores("internal-0")
    found = read_score_map(folder / "internal-0.ome.zarr")
    assert np.array_equal(found.coords(), coords)
    assert np.array_equal(found.scores(), scores.astype(np.float32))


def test_chosen_slides_and_arms_alone(comparison: FakeRun) -> None:
    run = read_run(comparison.path)
    written = export_run(run, settings("tiles"), slides=["external-1"], arms=["sd+macenko"])
    assert [path.name for path in written] == ["external-1.tiles.geojson"]
    for what, asked in (("slide", {"slides": ["x"]}), ("arm", {"arms": ["x"]})):
        with pytest.raises(RunDirectoryError, match=f"the run has no {what} x"):
            export_run(run, settings("tiles"), **asked)
    assert export_run(run, settings()) == []


def test_packed_geojson_counts_from_where_it_is_told(process_run: FakeRun) -> None:
    run = read_run(process_run.path)
    store = process_run.path / "tiles" / "a.zarr" / "zarr.json"
    metadata = json.loads(store.read_text())
    metadata["attributes"] |= {"bounds_x": 30, "bounds_y": 20}
    store.write_text(json.dumps(metadata))
    corners = []
    for origin in ("bounds", "slide"):
        (path,) = export_run(run, settings("tiles", gzip=True, origin=origin), slides=["a"])
        assert path.name == "a.tiles.geojson.gz"
        first = json.loads(gzip.decompress(path.read_bytes()))["features"][0]
        corners.append(first["geometry"]["coordinates"][0][0])
    assert corners == [[10, 20], [40, 40]]


def test_regions_say_how_much_they_hold(process_run: FakeRun) -> None:
    run = read_run(process_run.path)
    (path,) = export_run(run, settings("regions", tile_threshold=0.8), slides=["a"])
    coords, scores = run.arms[""][0].tile_scores("a")
    found = read_regions(path, Size(400, 320)).regions
    assert sum(region.measurements["tiles"] for region in found) == (scores >= 0.8).sum()
    assert found[0].measurements["max prob_tumour"] == pytest.approx(scores.max())
    assert {region.class_name for region in found} == {"Tumour"}
    # The slide's resolution is not known, so no area is claimed.
    assert "area mm^2" not in found[0].measurements
    assert len(coords) == 48


def test_a_slide_that_is_gone_leaves_its_thumbnail(
    process_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(process_run.path)
    (path,) = export_run(run, settings("ome-tiff"), slides=["a"])
    assert "is not there any more: its thumbnail is taken" in " ".join(
        capsys.readouterr().err.split()
    )
    with tifffile.TiffFile(path) as file:
        image = file.series[0].asarray()
        assert "PhysicalSizeX" not in (file.ome_metadata or "")
    assert image.shape == (80, 100, 3)
    expected = np.zeros((80, 100), bool)
    expected[10:70, 10:90] = True
    assert np.array_equal(np.ptp(image.astype(int), axis=2) > 0, expected)


def test_another_slide_of_the_same_name_is_not_taken(
    process_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(process_run.path)
    other = process_run.path / "a.png"
    cv2.imwrite(str(other), np.full((100, 100, 3), 200, np.uint8))
    manifest = process_run.path / "slides.csv"
    manifest.write_text(manifest.read_text().replace("a.svs", "a.png"))
    run = read_run(process_run.path)
    export_run(run, settings("ome-tiff"), slides=["a"])
    assert "is of another size than the tiles of a" in " ".join(capsys.readouterr().err.split())


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    make_app({"export"})([str(word) for word in ("export", *words)], standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_lists_its_files(
    process_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    out = call(capsys, process_run.path, "-f", "regions", "-f", "tiles")
    assert out.split() == ["4", "in", str(process_run.path / "exports")]
    out = call(capsys, process_run.path, "-f", "hdf5", "--slide", "a", "--json")
    assert json.loads(out) == {"files": [str(process_run.path / "coords" / "a.h5")]}
    assert call(capsys, process_run.path, "--quiet") == ""
    # Without a format, that of the run's config.
    assert call(capsys, process_run.path).split()[0] == "2"
