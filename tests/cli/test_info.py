"""`info` tells what a slide is and how it would be read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiff_slides import write_slide

from wsi_specdec.config import TileConfig
from wsi_specdec.doctor import describe_slide
from wsi_specdec.errors import SlideError

DATA = Path(__file__).parents[1] / "data"
CMU = DATA / "CMU-1-Small-Region.svs"


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wsi_specdec", "info", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """Two levels, 0.5 µm per pixel."""
    black = np.zeros((600, 800, 3), np.uint8)
    return write_slide(tmp_path / "pyramid.tif", black, downsamples=(1, 4))


def test_levels_have_sizes_downsamples_and_mpp(pyramid: Path) -> None:
    described = describe_slide(pyramid)
    assert described["levels"] == [
        {"level": 0, "width": 800, "height": 600, "downsample": 1.0, "mpp": pytest.approx(0.5)},
        {"level": 1, "width": 200, "height": 150, "downsample": 4.0, "mpp": pytest.approx(2.0)},
    ]
    assert described["bounds"] == {"x": 0, "y": 0, "width": 800, "height": 600}
    assert (described["mpp_source"], described["warnings"]) == ("metadata", [])


def test_a_slide_without_mpp_has_levels_without(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    described = describe_slide(tmp_path / "a.png")
    assert (described["reader"], described["mpp"]) == ("image", None)
    assert described["levels"][0]["mpp"] is None
    # As tiles of 2 µm per pixel it could not be cut, and info says why instead of failing.
    described = describe_slide(tmp_path / "a.png", config=TileConfig(mpp=2.0))
    assert described["pixel_path"] is None
    assert "--slide-mpp" in described["pixel_path_reason"]


@pytest.mark.parametrize(
    ("settings", "way", "reason"),
    [
        ({"tile_size": 240}, "passthrough", ""),
        ({"tile_size": 256}, "decode", "240 x 240 px"),
        ({"mpp": 2.0}, "decode", "averaged"),
        ({"tile_size": 240, "pixel_path": "read_region"}, "read_region", "asked for"),
    ],
)
def test_the_pixel_path_goes_with_a_reason(
    settings: dict[str, object], way: str, reason: str
) -> None:
    described = describe_slide(CMU, config=TileConfig.model_validate(settings))
    assert described["pixel_path"] == way
    assert reason in described["pixel_path_reason"]
    assert bool(described["pixel_path_reason"]) is bool(reason)


def test_the_reader_and_the_mpp_given_are_used() -> None:
    described = describe_slide(CMU, "tiffslide", 0.25)
    assert (described["reader"], described["mpp"]) == ("tiffslide", 0.25)
    assert described["mpp_source"] == "flag"
    assert "the file states 0.499" in described["warnings"][0]


def test_json_holds_what_python_gives() -> None:
    done = run(CMU, "--json", "--tile-size", "240", "--slide-mpp", "1")
    config = TileConfig(tile_size=240)
    assert json.loads(done.stdout) == [describe_slide(CMU, mpp=1.0, config=config)]


def test_the_page_shows_levels_source_warnings_and_path(pyramid: Path) -> None:
    done = run(pyramid, "--slide-mpp", "0.25", "--mpp", "1")
    lines = [re.sub(r"\s+", " ", line).strip() for line in done.stdout.splitlines()]
    assert "vendor generic-tiff, read by openslide" in lines
    assert "mpp 0.25, from the flag" in lines
    assert "bounds the whole slide" in lines
    assert "1 200 150 4 1" in lines
    assert any(line.startswith("pixel path decode: ") for line in lines)
    assert any(line.startswith("warning: mpp 0.25 from the flag is used") for line in lines)


def test_info_shows_the_good_slide_and_names_the_bad_one(tmp_path: Path) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    with pytest.raises(SlideError):
        describe_slide(bad)
    done = run(CMU, bad)
    assert done.returncode == 1
    assert "aperio" in done.stdout
    assert str(bad) in done.stderr
