"""A disk that fills up costs the slides that do not fit, and nothing that is finished."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import run_group

from wsi_specdec.runner import read_ledger
from wsi_specdec.store import find_stores, open_store

MakeSlide = Callable[..., Path]

CMU = Path(__file__).parents[2] / "tests/data/CMU-1-Small-Region.svs"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 800 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def tile(slides: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    return run_group(
        [sys.executable, "-m", "wsi_specdec", "tile", slides, "--out", out, "--workers", "1"],
        env={**os.environ, "NO_COLOR": "1"},
        timeout=120,
    )


@pytest.mark.slow
def test_a_full_disk_costs_the_slide_that_does_not_fit(
    tmp_path: Path, small_disk: Path, make_slide: MakeSlide
) -> None:
    slides, out = tmp_path / "slides", small_disk / "out"
    slides.mkdir()
    for name in ("a", "c"):
        make_slide(slides / f"{name}.tif")
    (slides / "b.svs").symlink_to(CMU)

    done = tile(slides, out)

    assert done.returncode == 1, done.stderr
    assert "failed b: disk full" in done.stderr
    assert "Traceback" not in done.stderr
    assert {row.slide_id: row.state for row in read_ledger(out)} == {
        "a": "done",
        "b": "failed",
        "c": "done",
    }
    assert set(find_stores(out)) == {"a", "c"}
    assert not list((out / "tiles").glob(".*"))
    assert all(open_store(path).read(0).any() for path in find_stores(out).values())

    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    assert tile(slides, out).returncode == 0
    assert [row.state for row in read_ledger(out)] == ["done"] * 3
