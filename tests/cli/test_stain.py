"""`stain fit`, `apply` and `show`, and `tile --stain-target`, as they are typed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from stained_images import OTHER_EOSIN, stained, write_tiles
from typer.testing import CliRunner, Result

from wsi_specdec.cli.app import GROUPS, make_app
from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ConfigError, ImageError, ManifestError
from wsi_specdec.stain import fit_store, merge_profiles, profile_path
from wsi_specdec.stain.target import applied_target, read_target
from wsi_specdec.store import open_store

SIZE = 32
MACENKO = StainConfig(method="macenko")


def run(*arguments: str | Path) -> Result:
    """Run the program; an error that is not an exit is raised."""
    words = [str(argument) for argument in arguments]
    app = make_app(loaded=words[:1])
    result = CliRunner().invoke(app, words, env={"COLUMNS": "100", "NO_COLOR": "1"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training slides, one of glass, and a test slide of another laboratory."""
    glass = np.full((2, SIZE, SIZE, 3), 236, np.uint8)
    tiles = {
        "a": stained((6, SIZE, SIZE), 0),
        "b": stained((6, SIZE, SIZE), 1),
        "glass": glass,
        "test": stained((6, SIZE, SIZE), 2, OTHER_EOSIN),
    }
    slides = []
    for name, pixels in tiles.items():
        write_tiles(tmp_path / "run" / "tiles" / f"{name}.zarr", pixels)
        split = "internal" if name == "test" else "train"
        slides.append(Slide(name, Path(f"{name}.svs"), name, 0, split))
    write_manifest(slides, tmp_path / "slides.csv")
    return tmp_path


def fit(folder: Path, *flags: str) -> Result:
    manifest, out = folder / "slides.csv", folder / "target.json"
    return run("stain", "fit", "--tiles", folder / "run", "--manifest", manifest, "-o", out, *flags)


def test_the_target_is_of_the_training_slides_alone(folder: Path) -> None:
    result = fit(folder)
    assert result.exit_code == 0
    target = read_target(folder / "target.json")
    stores = [open_store(folder / "run" / "tiles" / f"{name}.zarr") for name in ("a", "b")]
    assert target.profile == merge_profiles([fit_store(store, MACENKO) for store in stores])
    assert target.settings == MACENKO
    assert "macenko, of 2 of 3 slides" in result.output
    assert "not used glass: too little tissue" in result.output
    kept = folder / "run" / "stain"
    names = ("a", "b", "glass")
    assert set(kept.iterdir()) == {profile_path(kept, name, MACENKO) for name in names}


def test_settings_and_json(folder: Path) -> None:
    result = fit(folder, "--json", "--method", "reinhard", "--set", "max_pixels=3000")
    found = json.loads(result.stdout)
    assert found["profile"]["method"] == "reinhard"
    assert found["settings"]["max_pixels"] == 3000
    assert found["made_from"]["slides"] == {"a": "ok", "b": "ok", "glass": "too_little_tissue"}
    assert found["sha256"] == read_target(folder / "target.json").sha256


def test_a_split_without_slides_is_an_error(folder: Path) -> None:
    with pytest.raises(ManifestError, match="'external'"):
        fit(folder, "--split", "external")


def test_apply_normalises_and_the_same_again_does_nothing(folder: Path) -> None:
    fit(folder)
    command = ("stain", "apply", "--tiles", folder / "run", "--target", folder / "target.json")
    result = run(*command, "--out", folder / "done", "--json")
    assert json.loads(result.stdout)["slides"] == {
        "a": "normalised",
        "b": "normalised",
        "glass": "too_little_tissue",
        "test": "normalised",
    }
    paths = [folder / "done" / "tiles" / f"{name}.zarr" for name in ("a", "test")]
    targets = [applied_target(open_store(path).attributes) for path in paths]
    assert targets == [read_target(folder / "target.json")] * 2
    made = [(path / "zarr.json").stat().st_mtime_ns for path in paths]
    result = run(*command, "--out", folder / "done")
    assert (result.exit_code, "4 slides" in result.output) == (0, True)
    assert "not normalised glass" in result.output
    assert [(path / "zarr.json").stat().st_mtime_ns for path in paths] == made
    with pytest.raises(ConfigError, match="normalised already"):
        run(*command[:3], folder / "done", *command[4:], "--out", folder / "twice")


def test_a_damaged_store_is_named_and_the_exit_code_says_so(folder: Path) -> None:
    fit(folder)
    (shard,) = (folder / "run" / "tiles" / "b.zarr" / "tiles" / "c").glob("*/0/0/0")
    shard.write_bytes(shard.read_bytes()[:100])
    command = ("stain", "apply", "--tiles", folder / "run", "--target", folder / "target.json")
    result = run(*command, "--out", folder / "done")
    assert result.exit_code == 1
    assert "failed b: " in result.output
    assert (folder / "done" / "tiles" / "test.zarr").is_dir()


@pytest.mark.parametrize("given", ["stores", "store", "pictures", "with a target"])
def test_the_sheet_has_a_row_for_each_slide(folder: Path, given: str) -> None:
    out, flags, rows = folder / "sheet.png", [], 3
    shown: Path = folder / "run"
    if given == "store":
        shown, rows = folder / "run" / "tiles" / "a.zarr", 1
    if given == "stores":
        flags, rows = ["--slides", "2"], 2
    if given == "with a target":
        fit(folder)
        flags, rows = ["--target", str(folder / "target.json")], 4
    if given == "pictures":
        shown = folder / "pictures"
        shown.mkdir()
        for number in range(3):
            cv2.imwrite(str(shown / f"p{number}.png"), stained((60, 80), number)[..., ::-1])
    result = run("stain", "show", shown, "--out", out, *flags, "--json")
    found = json.loads(result.stdout)
    assert len(found["slides"]) == rows
    picture = cv2.imread(str(out))
    assert picture is not None
    height, width = picture.shape[:2]
    assert height / width == pytest.approx((2.3 * rows + 0.9) / (2.3 * 4 + 0.3), rel=0.02)
    # Colours of the stain vectors, as they are drawn.
    drawn = np.abs(picture[..., ::-1].astype(int) - (0x3B, 0x2F, 0x8F)).max(axis=2) < 12
    assert drawn.sum() > 50


def test_what_cannot_be_shown_is_one_clear_error(folder: Path) -> None:
    out = folder / "sheet.png"
    (folder / "text.png").write_text("no picture")
    (folder / "empty").mkdir()
    for path, error in (
        ("text.png", ImageError),
        ("empty", ManifestError),
        ("absent", ManifestError),
    ):
        with pytest.raises(error, match=path.partition(".")[0]):
            run("stain", "show", folder / path, "--out", out)
    assert not out.exists()


def test_every_command_has_an_example_and_is_listed() -> None:
    for group in GROUPS:
        assert f" {group} " in run("--help").output
        listed = run(group, "--help").output
        for name in ("fit", "apply", "show"):
            assert f" {name} " in listed
            assert f"Example: wsi-specdec {group} {name}" in " ".join(
                run(group, name, "-h").output.split()
            )


def test_tiling_takes_the_targets_own_settings(folder: Path) -> None:
    fit(folder, "--set", "max_tiles=7")
    image = np.full((512, 512, 3), 241, np.uint8)
    image[64:448, 64:448] = stained((384, 384), block=4)
    slide = folder / "slide.png"
    cv2.imwrite(str(slide), image[..., ::-1])
    flags = ("--tile-size", "64", "--slide-mpp", "0.5", "--workers", "1", "--codec", "lossless")
    target = folder / "target.json"
    result = run("tile", slide, "--out", folder / "tiled", "--stain-target", target, *flags)
    assert result.exit_code == 0, result.output
    store = open_store(folder / "tiled" / "tiles" / "slide.zarr")
    assert applied_target(store.attributes) == read_target(target)
