"""`compare` is killed three times, in stages of its work, and its results are as if it were not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiff_slides import write_slide

from wsi_specdec.files import read_json

Program = Callable[..., "subprocess.CompletedProcess[str]"]
SPLITS = ("train",) * 4 + ("validation",) * 2 + ("internal",) * 4 + ("external",) * 4
CONFIG: dict[str, Any] = {
    "kind": "pipeline",
    "tile": {"mpp": 0.5, "tile_size": 32, "min_tissue": 0.5},
    "train": {
        "model": "test_resnet",
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.003,
        "labels": "slide",
        "checkpoint_minutes": 0,
        "pictures": False,
    },
    "arms": [{"name": "wd", "weight_decay": 0.05}, {"name": "sd", "sd_coef": 0.05}],
    "evaluate": {"bootstrap": 100},
    "runner": {"workers": 1},
    "report": {"max_slides": 0},
}


@pytest.fixture
def compared(tmp_path: Path) -> Callable[[Path], list[str | Path]]:
    """Write a tiny cohort, and return what starts a comparison of it into a folder."""
    rows = ["slide_id,path,patient_id,label,split"]
    for number, split in enumerate(SPLITS):
        label = number % 2
        noise = np.random.default_rng(number).integers(-30, 30, (224, 224, 3))
        image = np.full((256, 256, 3), 244, np.uint8)
        image[16:240, 16:240] = np.array([150, 80 + 40 * label, 160]) + noise
        path = tmp_path / f"s{number:02}.tif"
        write_slide(path, image)
        rows.append(f"{path.stem},{path.name},p{number},{label},{split}")
    manifest, config = tmp_path / "cohort.csv", tmp_path / "compare.yaml"
    manifest.write_text("\n".join(rows) + "\n")
    config.write_text(yaml.safe_dump(CONFIG))
    return lambda out: ["compare", config, "--manifest", manifest, "--out", out, "--quiet"]


def kill_once(command: list[str | Path], reached: Callable[[], bool]) -> None:
    """Start the program, and kill it and all that it started as soon as it has come so far."""
    with subprocess.Popen(
        [sys.executable, "-m", "wsi_specdec", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        try:
            while process.poll() is None and not reached():
                assert time.monotonic() < deadline, "it did not come so far"
                time.sleep(0.005)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        _, printed = process.communicate()
    assert process.returncode == -signal.SIGKILL, printed


def of_results(out: Path) -> dict[str, Any]:
    """Return what may not depend on when it was made: all but cost and provenance."""
    results: dict[str, Any] = read_json(out / "results.json")
    del results["provenance"]
    for arm in results["arms"].values():
        del arm["cost"]
    return results


@pytest.mark.slow
def test_three_kills_leave_the_results_as_they_would_have_been(
    compared: Callable[[Path], list[str | Path]], tmp_path: Path, in_process: Program
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    moments: list[Callable[[], bool]] = [
        lambda: len(list(parts.glob("tiles/*.zarr"))) >= 3,
        lambda: any(parts.glob("arms/wd/seed-0/model/checkpoint/*")),
        lambda: any(parts.glob("arms/sd/seed-0/model/checkpoint/*")),
    ]
    for reached in moments:
        kill_once(compared(parts), reached)
        assert not (parts / "results.json").exists()
    assert (parts / "arms/wd/seed-0/calls.csv").exists()
    for out in (whole, parts):
        done = in_process(*compared(out))
        assert done.returncode == 0, done.stderr
    found = of_results(parts)
    assert found == of_results(whole)
    assert list(found["arms"]) == ["wd", "sd"]
    assert found["gaps"]
    assert found["differences"]
    assert read_json(parts / "results.json")["arms"]["wd"]["cost"]["train_seconds"] > 0
