"""Imports point down the rows, and light rooms stay light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Seconds of import time each, which every worker process and every `--help` would pay.
HEAVY = ("torch", "torchvision", "timm", "matplotlib", "sklearn")
LIGHT_ROOMS = (
    "annotations",
    "cli",
    "cohort",
    "config",
    "datasets",
    "images",
    "packing",
    "runner",
    "slides",
    "stain",
    "steps.aggregate",
    "steps.stain",
    "store",
    "tiling",
    "tissue",
)


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_rooms_import_nothing_heavy(room: str) -> None:
    code = f"import sys, wsi_specdec.{room}; print(*sorted(sys.modules.keys() & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_losses_need_torch_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import wsi_specdec.losses;"
        f"print(*sorted((sys.modules.keys() - before) & set({HEAVY}) - {{'torch'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_tiling_a_slide_loads_no_learning_library(tmp_path: Path) -> None:
    code = (
        "import sys; from wsi_specdec.cli.app import make_app;"
        "make_app()(sys.argv[1:], standalone_mode=False);"
        f"print('loaded:', *sorted(sys.modules.keys() & set({HEAVY})))"
    )
    slide = ROOT / "tests" / "data" / "CMU-1-Small-Region.svs"
    flags = ["--out", str(tmp_path / "run"), "--mpp", "4", "--tile-size", "64", "--workers", "1"]
    command = [sys.executable, "-c", code, "tile", str(slide), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
