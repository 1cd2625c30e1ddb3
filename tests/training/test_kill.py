"""`wsi-specdec train` is killed by the system, three times, and loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tile_cohorts import Cohort

from wsi_specdec.cohort import write_manifest
from wsi_specdec.config import TrainConfig
from wsi_specdec.keys import CHECKPOINT_DIR
from wsi_specdec.models import load_spec
from wsi_specdec.training import train
from wsi_specdec.training.checkpoint import Checkpoint, load_checkpoint

STEPS = 6


def done(left: Checkpoint | None) -> int:
    return 0 if left is None else STEPS * len(left.history) + left.position.step


def kill_beyond(command: list[str], out: Path, step: int) -> int:
    """Start the command and kill it once a checkpoint has come to a step; return the step."""
    deadline = time.monotonic() + 300
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as child:
        try:
            while child.poll() is None and reached(out) < step:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            child.kill()
    assert child.returncode == -signal.SIGKILL
    return done(load_checkpoint(out))


def reached(out: Path) -> int:
    """Step of the checkpoint, as one copy of it says: safetensors opens a file twice to read it."""
    path, copy = out / CHECKPOINT_DIR / "last.safetensors", out.parent / "copy"
    (copy / CHECKPOINT_DIR).mkdir(parents=True, exist_ok=True)
    if path.is_file():
        shutil.copyfile(path, copy / CHECKPOINT_DIR / path.name)
    return done(load_checkpoint(copy))


@pytest.mark.slow
def test_kill_9_at_three_random_moments_changes_nothing(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = config.model_copy(
        update={"epochs": 16, "average": "ema", "keep": "best", "model_args": {"drop_rate": 0.2}}
    )
    whole = train(cohort.stores, cohort.slides, tmp_path / "whole", config, tmp_path / "stain")
    manifest, out = tmp_path / "slides.csv", tmp_path / "parts"
    write_manifest(cohort.slides, manifest)
    command = [sys.executable, "-m", "wsi_specdec", "train", "--quiet", "--out", str(out)]
    command += ["--tiles", str(cohort.folder), "--manifest", str(manifest)]
    asked = config.model_dump(mode="json", exclude_defaults=True) | {"checkpoint_minutes": 0}
    command += [part for name in asked for part in ("--set", f"{name}={json.dumps(asked[name])}")]
    moments = np.sort(np.random.default_rng(2).integers(2, 80, 3))
    stopped = [kill_beyond(command, out, int(moment)) for moment in moments]
    assert all(a >= b for a, b in zip(stopped, moments, strict=True))
    # At least one of them within an epoch.
    assert any(step % STEPS for step in stopped)
    assert not (out / "model.json").exists()
    train(cohort.stores, cohort.slides, out, config, tmp_path / "stain")
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (whole, out)]
    assert weights[0] == weights[1]
    kept = [
        [line.rpartition(",")[0] for line in (folder / "history.csv").read_text().splitlines()]
        for folder in (whole, out)
    ]
    assert kept[0] == kept[1]
    assert load_spec(out).temperature == load_spec(whole).temperature
