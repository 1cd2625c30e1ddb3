"""The benchmarks' slides are what they claim, and their figures follow from the runs."""

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from numpy.typing import NDArray

from benchmarks import install_peers, slide_builder, summary
from benchmarks.measuring import measure
from benchmarks.peers.protocol import RESAMPLED, Job
from benchmarks.slide_builder import MPP, TILE, BuiltSlide, SlideSpec, build_slide
from benchmarks.summary import Row, Target
from benchmarks.tiling import chosen_arms, corners, parse
from wsi_specdec.slides import locate_encoded, open_slide

# No multiples of a tile, so that the last tiles reach past the slide.
SPEC = SlideSpec(2064, 1552, blobs=2, pool=40, seed=3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltSlide:
    return build_slide(SPEC, tmp_path_factory.mktemp("slides"))


@pytest.fixture(scope="module")
def slide(built: BuiltSlide) -> Iterator[openslide.OpenSlide]:
    with openslide.OpenSlide(built.path) as opened:
        yield opened


def read_level(slide: openslide.OpenSlide | tiffslide.TiffSlide, level: int) -> NDArray[np.uint8]:
    pixels = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(pixels.convert("RGB"))


def test_openslide_takes_it_for_aperio(slide: openslide.OpenSlide) -> None:
    assert slide.properties["openslide.vendor"] == "aperio"
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(MPP)
    assert slide.properties["openslide.objective-power"] == "20"
    assert slide.level_dimensions == ((2064, 1552), (516, 388), (129, 97))
    assert "thumbnail" in slide.associated_images


def test_other_readers_see_the_same_pixels(built: BuiltSlide, slide: openslide.OpenSlide) -> None:
    with tiffslide.TiffSlide(built.path) as other:
        np.testing.assert_array_equal(read_level(other, 0), read_level(slide, 0))
    np.testing.assert_array_equal(tifffile.imread(built.path, key=0), read_level(slide, 0))


def test_tiles_are_abbreviated_rgb_streams_as_aperio_writes_them(built: BuiltSlide) -> None:
    with tifffile.TiffFile(built.path) as file, built.path.open("rb") as raw:
        page = file.pages.first
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        raw.seek(page.dataoffsets[0])
        data = raw.read(page.databytecounts[0])
        tables = page.jpegtables or b""
    markers = [data[2 : 2 + 2], data[data.index(b"\xff\xda") :][:2]]
    assert markers == [b"\xff\xc0", b"\xff\xda"]
    assert b"Adobe" not in data
    assert [data[i] for i in (12, 15, 18)] == [0, 1, 2]
    # The tables of the source, hence its quality.
    with tifffile.TiffFile(slide_builder.SOURCE) as source:
        theirs = source.pages.first.jpegtables or b""
    assert len(theirs) > 200
    assert theirs[:71] == tables[:71]


@pytest.mark.parametrize(("level", "factor"), [(1, 4), (2, 16)])
def test_levels_are_averages_of_level_0(
    slide: openslide.OpenSlide, level: int, factor: int
) -> None:
    fine, coarse = read_level(slide, 0).astype(np.float64), read_level(slide, level)
    height, width = coarse.shape[:2]
    blocks = fine[: height * factor, : width * factor]
    averaged = blocks.reshape(height, factor, width, factor, 3).mean((1, 3))
    error = np.abs(averaged - coarse)
    # What is left is JPEG's own loss at the source's quality; a shift by one pixel gives over 20.
    assert error.mean() < 9
    assert abs((averaged - coarse).mean()) < 1


def test_tissue_lies_where_it_is_said_to(built: BuiltSlide, slide: openslide.OpenSlide) -> None:
    truth = built.tissue()
    assert truth.shape == (97, 129)
    assert truth.mean() == pytest.approx(0.5, abs=0.01)
    dark = read_level(slide, 2).min(axis=2) < 215
    inside = np.logical_and(dark, truth).sum() / np.logical_or(dark, truth).sum()
    assert inside > 0.85


def test_one_seed_makes_one_file(built: BuiltSlide, tmp_path: Path) -> None:
    again = build_slide(SPEC, tmp_path)
    assert again.path.read_bytes() == built.path.read_bytes()
    other = build_slide(replace(SPEC, seed=4), tmp_path)
    assert other.path != again.path
    assert other.path.read_bytes() != again.path.read_bytes()


def test_a_slide_that_is_there_is_not_built_again(built: BuiltSlide) -> None:
    before = built.path.stat().st_mtime_ns
    assert build_slide(SPEC, built.path.parent) == built
    assert built.path.stat().st_mtime_ns == before


def test_few_tissue_tiles_are_alike(built: BuiltSlide) -> None:
    with open_slide(built.path) as reader:
        level, _ = locate_encoded(reader, 0)
        assert level is not None
        tiles = [bytes(data) for data in level.read(np.arange(level.rows * level.columns))]
    assert len(set(tiles)) > 0.5 * len(tiles)
    # With a tile made for every place, none comes twice but on glass.
    large = [data for data in tiles if len(data) > 8000]
    assert len(set(large)) == len(large)


def test_size_in_gigapixels() -> None:
    spec = SlideSpec.of_gigapixels(2.4)
    assert spec.width * spec.height == pytest.approx(2.4e9, rel=0.01)
    assert spec.width % 16 == spec.height % 16 == 0
    assert spec.width % TILE
    assert spec.height % TILE


def test_corners_are_those_of_tiles_with_tissue(built: BuiltSlide, tmp_path: Path) -> None:
    coords = np.load(corners(built, tmp_path))
    assert (coords % TILE == 0).all()
    truth = built.tissue()
    for x, y in coords.tolist():
        assert truth[y // 16 : y // 16 + 16, x // 16 : x // 16 + 16].mean() >= 0.05
    assert len(coords) > 0.5 * SPEC.width * SPEC.height / TILE**2 * 0.8


def test_arms_are_those_asked_for_and_what_compares_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for peer in ("histoprep", "hs2p"):
        (tmp_path / peer / "bin").mkdir(parents=True)
        (tmp_path / peer / "bin" / "python").touch()

    def chosen(*flags: str) -> list[tuple[str, str]]:
        arms = chosen_arms(parse(["--peers", str(tmp_path), *flags]))
        return [(arm.name, arm.variant) for arm in arms]

    assert chosen("--arms", "passthrough") == [
        ("HistoPrep", "plain"),
        ("hs2p", "plain"),
        ("passthrough", "plain"),
    ]
    assert "TIAToolbox (make peers)" in capsys.readouterr().out
    assert ("hs2p", "resampled") not in chosen()
    assert ("HistoPrep", "resampled") in chosen()
    assert ("hs2p", "resampled") in chosen("--all-variants")


def run_of(tool: str, arm: str, seconds: float, **changes: object) -> dict[str, Any]:
    run = {
        "gigapixels": 2.4,
        "tool": tool,
        "arm": arm,
        "variant": "plain",
        "round": 0,
        "tiles": 1000,
        "seconds": seconds,
        "wall_s": seconds + 1,
        "peak_mb": 100.0,
        "peak_sum_mb": 150.0,
        "failure": "",
    }
    return run | changes


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is twice as slow in round 1: ratios of medians over all rounds would be off.
    runs = [run_of("HistoPrep", "HistoPrep", 10), run_of("ours", "passthrough", 1)]
    runs += [
        run_of("HistoPrep", "HistoPrep", 20, round=1),
        run_of("ours", "passthrough", 2, round=1, tiles=1100, peak_mb=120.0),
    ]
    base, ours = summary.rows(runs)
    assert (base.ratio, base.whole_ratio) == (1, 1)
    assert ours.ratio == pytest.approx((10 + 11) / 2)
    assert ours.whole_ratio == pytest.approx((11 / 2 + 1.1 * 21 / 3) / 2)
    assert ours.peak_mb == 120


def test_ratios_compare_the_same_tiles_and_skip_failures() -> None:
    runs = [
        run_of("HistoPrep", "HistoPrep", 10),
        run_of("HistoPrep", "HistoPrep", 30, variant="overlapping"),
        run_of("ours", "overlapping", 5, variant="overlapping"),
        run_of("ours", "resampled", 5, variant="resampled"),
        run_of("hs2p", "hs2p", 1, failure="exit code 1"),
    ]
    found = {row.arm: row for row in summary.rows(runs)}
    assert found["overlapping"].ratio == pytest.approx(6)
    assert math.isnan(found["resampled"].ratio)
    assert "hs2p" not in found
    assert "| 2.4 | overlapping | ours: overlapping | 1,000 | 6 |" in summary.table(found.values())


def test_decoding_share_is_the_median_of_the_rounds() -> None:
    speeds = [{"our decoding": 80.0 + n, "decode limit": 100.0} for n in (0, 10, 5)]
    runs = [run_of("limits", "limits", 1, tiles_per_s=speed) for speed in speeds]
    assert summary.limits(runs)[2.4]["decoding share"] == pytest.approx(0.85)
    assert not summary.rows(runs)


def row_of(arm: str, ratio: float, peak_mb: float, gigapixels: float = 2.4) -> Row:
    return Row(gigapixels, "ours", arm, "plain", 1000, 1.0, ratio, ratio, peak_mb, peak_mb)


def test_targets_are_judged_on_the_largest_slide() -> None:
    rows = [
        row_of("passthrough", 50, 100, 0.15),
        row_of("passthrough", 39, 108),
        row_of("decode to JPEG", 4.1, 200, 0.15),
        row_of("decode to JPEG", 4.1, 221),
        replace(row_of("HistoPrep", 1, 900), tool="HistoPrep", tiles=800),
    ]
    limits = {0.15: {"decoding share": 0.7}, 2.4: {"decoding share": 0.9}}
    found = {t.name: t for t in summary.targets(rows, limits, {"help": 0.4})}
    assert found["passthrough over HistoPrep"].status == "FAIL"
    assert found["decode to JPEG over HistoPrep"].status == "PASS"
    assert found["decode to lossless over HistoPrep"].status == "MISSING"
    assert found["decoding over the limit"].status == "PASS"
    assert found["difference in number of tiles"].figure == pytest.approx(25)
    assert found["memory, largest slide against smallest"].figure == pytest.approx(10.5)
    assert found["memory, largest slide against smallest"].status == "FAIL"
    assert found["memory of a worker"].figure == 221
    assert found["wsi-specdec --help"].status == "PASS"
    assert found["batch reading over decoding from memory"].status == "MISSING"


def test_memory_of_one_size_is_no_growth() -> None:
    found = {t.name: t for t in summary.targets([row_of("passthrough", 50, 100)], {}, {})}
    assert found["memory, largest slide against smallest"].status == "MISSING"


@pytest.mark.parametrize(
    ("figure", "at_least", "status"),
    [(2.0, True, "PASS"), (1.99, True, "FAIL"), (2.0, False, "FAIL"), (1.99, False, "PASS")],
)
def test_bounds(figure: float, status: str, *, at_least: bool) -> None:
    target = Target("it", figure, 2, at_least)
    assert target.status == status
    assert target.line().startswith(status)


def test_measuring_sees_children_and_results(tmp_path: Path) -> None:
    child = "import time; data = bytearray(120_000_000); time.sleep(0.3)"
    program = (
        "import subprocess, sys, pathlib; "
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True); "
        "pathlib.Path(sys.argv[1]).write_text('{\"tiles\": 3}')"
    )
    result = tmp_path / "result.json"
    done = measure(
        [sys.executable, "-c", program, str(result)], result=result, log=tmp_path / "log"
    )
    assert done.failure == ""
    assert done.result == {"tiles": 3}
    assert 0.3 < done.wall_s < 60
    assert 120 < done.peak_mb < 200
    assert done.peak_sum_mb > done.peak_mb


def test_measuring_tells_what_failed(tmp_path: Path) -> None:
    def failure(program: str, timeout_s: float = 60) -> str:
        command = [sys.executable, "-c", program]
        result, log = tmp_path / "none.json", tmp_path / "log"
        return measure(command, result=result, log=log, timeout_s=timeout_s).failure

    assert "exit code 1: " in failure("raise SystemExit('no such slide')")
    assert "no such slide" in failure("raise SystemExit('no such slide')")
    assert "exit code 0" in failure("pass")
    assert "took more than 0.2 s" in failure("import time; time.sleep(30)", timeout_s=0.2)


def test_a_job_goes_through_its_command_line() -> None:
    job = Job(Path("a b.svs"), Path("out"), 2, RESAMPLED, "decode jpeg", 256, 0.25, 0.75, 0.5)
    command = job.command("benchmarks.run_ours", Path("r.json"))
    assert command[:2] == ["-m", "benchmarks.run_ours"]
    assert {"--slide=a b.svs", "--how=decode jpeg", "--mpp-level0=0.5"} <= set(command)
    assert job.read_px == 384
    assert replace(job, variant="plain").read_px == 256


@pytest.mark.parametrize("name", install_peers.PEERS)
def test_peers_are_pinned_and_hashed(name: str) -> None:
    text = install_peers.lock_file(name).read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert any(pin.startswith(f"{name}==") for pin in pins)
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
