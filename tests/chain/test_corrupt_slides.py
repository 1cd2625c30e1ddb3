"""Two hundred corrupted variants of a real slide among five good ones: only they are lost."""

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from programs import run_group

from wsi_specdec.cli.options import finish
from wsi_specdec.errors import StoreError
from wsi_specdec.runner import LedgerSummary, Outcome
from wsi_specdec.store import find_stores, open_store

MakeSlide = Callable[..., Path]

CMU = Path(__file__).parents[2] / "tests/data/CMU-1-Small-Region.svs"
VARIANTS = 200


def truncated(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: rng.integers(1, len(data))]


def bits_flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    for position in rng.integers(0, len(data), size=2 ** rng.integers(0, 13)):
        data[position] ^= 1 << int(rng.integers(8))
    return data


def tags_flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Flip bits of the directories: an SVS has them at its end, and of its header."""
    for position in rng.integers(len(data) - 6000, len(data), size=rng.integers(1, 40)):
        data[position] ^= 1 << int(rng.integers(8))
    return data


def zeroed(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(data)))
    length = min(int(2 ** rng.integers(3, 20)), len(data) - start)
    data[start : start + length] = bytes(length)
    return data


CORRUPTIONS = (truncated, bits_flipped, tags_flipped, zeroed)


def corrupted(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return bytes(CORRUPTIONS[seed % len(CORRUPTIONS)](bytearray(CMU.read_bytes()), rng))


def make_good_slides(folder: Path, make_slide: MakeSlide) -> set[str]:
    folder.mkdir()
    for number in range(3):
        make_slide(folder / f"good-{number}.tif", mpp=0.25 * (number + 1))
    # Slides are worked on in the order of their names: these stand among the bad ones.
    for name in ("variant-050-good", "variant-150-good"):
        shutil.copy(CMU, folder / f"{name}.svs")
    return {path.stem for path in folder.iterdir()}


def tile(slides: Path, out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return run_group(
        [sys.executable, "-m", "wsi_specdec", "tile", str(slides), "--out", str(out), *more],
        timeout=400,
        env={**os.environ, "NO_COLOR": "1"},
    )


def ledger(out: Path) -> dict[str, dict[str, str]]:
    with (out / "ledger.csv").open() as handle:
        return {row["slide_id"]: row for row in csv.DictReader(handle)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixel_path", "settings"),
    [
        # Of 240 px are the tiles of the real slide's own file.
        ("passthrough", ("--tile-size", "240")),
        ("decode", ("--tile-size", "256")),
        ("read_region", ("--tile-size", "256", "--pixel-path", "read_region")),
    ],
)
def test_corrupted_slides_are_told_of_and_cost_no_other_slide(
    tmp_path: Path, make_slide: MakeSlide, pixel_path: str, settings: tuple[str, ...]
) -> None:
    slides = tmp_path / "slides"
    good = make_good_slides(slides, make_slide)
    assert tile(slides, tmp_path / "clean", "--workers", "1", *settings).returncode == 0
    for seed in range(VARIANTS):
        (slides / f"variant-{seed:03}.svs").write_bytes(corrupted(seed))
    out = tmp_path / "out"

    done = tile(slides, out, "--workers", "2", *settings)

    rows = ledger(out)
    states = Counter(row["state"] for slide_id, row in rows.items() if slide_id not in good)
    failed = {slide_id for slide_id, row in rows.items() if row["state"] == "failed"}
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    # A screen of failures is named, with where to read of the others.
    assert done.stderr.count("\nfailed ") == 21
    assert f"more: see {out / 'ledger.csv'}" in done.stderr
    assert len(rows) == VARIANTS + len(good)
    # Flipped bits and zeroed ranges leave many slides readable; a truncated one has no directory.
    assert sum(states.values()) == VARIANTS
    assert all(rows[slide_id]["state"] == "done" for slide_id in good)
    assert set(states) <= {"failed", "done", "empty", "skipped"}
    assert failed >= {f"variant-{seed:03}" for seed in range(0, VARIANTS, len(CORRUPTIONS))}
    assert states["done"] > 0
    assert all(rows[slide_id]["reason"] for slide_id in failed)
    stores = find_stores(out)
    real = open_store(stores["variant-050-good"])
    assert real.attributes["pixel_path"] == pixel_path
    assert set(stores) == {i for i, row in rows.items() if row["state"] in ("done", "empty")}
    assert not list((out / "tiles").glob(".*"))
    for slide_id, path in stores.items():
        if slide_id in good:
            expected = arrays(tmp_path / "clean/tiles" / path.name)
            for ours, clean in zip(arrays(path), expected, strict=True):
                np.testing.assert_array_equal(ours, clean)
        else:
            assert open_store(path).n_tiles == int(rows[slide_id]["tiles"])
            # Copied tiles are as good as the slide's: a damaged one is told of when it is read.
            with suppress(StoreError) if pixel_path == "passthrough" else nullcontext():
                arrays(path)


def test_of_many_failures_a_screen_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [Outcome(f"s{number}", "failed", "truncated") for number in range(200)]
    with pytest.raises(typer.Exit) as left:
        finish(LedgerSummary.of(failed, Path("out/ledger.csv")))
    assert left.value.exit_code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "failed s0: truncated"
    assert lines[-1] == "failed 180 more: see out/ledger.csv"
    assert len(lines) == 21
    finish(LedgerSummary.of([Outcome("a", "done")]))
    assert not capsys.readouterr().err


def arrays(path: Path) -> list[NDArray[Any]]:
    store = open_store(path)
    pixels = store.read(np.arange(store.n_tiles))
    return [pixels, store.coords, store.tissue_fraction, store.label]
