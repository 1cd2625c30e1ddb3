"""Several processes train one model, as `torchrun` starts them."""

import csv
import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from programs import run_group
from safetensors.torch import load
from tile_cohorts import Cohort

from wsi_specdec.cohort import write_manifest

pytestmark = pytest.mark.slow
# The difference of sums in another order; weights and logits are of the order of 1.
TOLERANCE = 2e-6

# One start for all: torch is imported once, and each pair of processes is forked from here.
CHILD = """
import json, os, socket, sys
from datetime import timedelta
from pathlib import Path
from wsi_specdec.cohort import read_manifest
from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.progress import set_quiet
from wsi_specdec.store import find_stores, open_store
from wsi_specdec.training import fit, ranks, train

ranks._PATIENCE = timedelta(minutes=2)
set_quiet(quiet=True)
tiles, work = Path(sys.argv[1]), Path(sys.argv[2])
stores = {name: open_store(path) for name, path in find_stores(tiles).items()}
slides = read_manifest(work / "slides.csv")
BASE = dict(
    model="test_vit", epochs=2, batch_size=15, lr=0.02, optimiser="sgd",
    augment={"colour": {"brightness": 0.2, "contrast": 0.2}},
    sd_coef=(0.05, 0.2), sd_gamma=(0.0, 0.5), balance_classes=False, class_weights="balanced",
    average="ema", ema_decay=0.9, keep="best", clip_norm=1.0, pictures=False,
)

def work_on(name, changes, stop=None):
    config = TrainConfig(**(BASE | changes))
    def on_epoch(row):
        if row["epoch"] == stop:
            os._exit(3)
    train(stores, slides, work / name, config, work / "stain", on_epoch=on_epoch)

def forked(count, *arguments):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            code = 1
            try:
                work_on(*arguments)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

often = {"accumulate": 2, "checkpoint_minutes": 0.0}
codes = {
    "two": forked(2, "two", {"accumulate": 2}),
    "killed": forked(2, "resumed", often, 1),
    "resumed": forked(2, "resumed", often),
}
work_on("one", {})
(work / "codes.json").write_text(json.dumps(codes))
"""

# The second process alone meets an error, in its third step.
FAILING = """
import os, sys
from pathlib import Path
from wsi_specdec.cohort import read_manifest
from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.store import find_stores, open_store
from wsi_specdec.training import loop, train

tiles, work = Path(sys.argv[1]), Path(sys.argv[2])
stores = {name: open_store(path) for name, path in find_stores(tiles).items()}
step = loop.train_step
taken = 0

def breaking(*arguments):
    global taken
    taken += 1
    if taken == 3 and os.environ["RANK"] == "1":
        raise StoreError("tile 7 is damaged")
    return step(*arguments)

loop.train_step = breaking
config = TrainConfig(model="test_vit", epochs=500, batch_size=16)
train(stores, read_manifest(work / "slides.csv"), work / "broken", config, work / "stain")
"""


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load((folder / "weights.safetensors").read_bytes())
    return found


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def test_two_processes_train_as_one_at_the_same_batch(
    cohort: Cohort, tmp_path: Path, environment: dict[str, str]
) -> None:
    write_manifest(cohort.slides, tmp_path / "slides.csv")
    command = [sys.executable, "-c", CHILD, str(cohort.folder), str(tmp_path)]
    done = run_group(command, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    codes = json.loads((tmp_path / "codes.json").read_text())
    assert codes["two"] == codes["resumed"] == [0, 0], done.stderr
    assert codes["killed"][0] == 3
    one = tmp_path / "one"
    for name in ("two", "resumed"):
        other = tmp_path / name
        for key, value in tensors(one).items():
            torch.testing.assert_close(
                tensors(other)[key], value, rtol=0, atol=TOLERANCE, msg=f"{name} {key}"
            )
        for row, expected in zip(history(other), history(one), strict=True):
            del row["tiles_per_s"], expected["tiles_per_s"]
            assert row == pytest.approx(expected, rel=1e-4)
    two, resumed = tensors(tmp_path / "two"), tensors(tmp_path / "resumed")
    assert all(torch.equal(two[key], resumed[key]) for key in two)


def test_an_error_in_one_process_ends_all(
    cohort: Cohort, tmp_path: Path, environment: dict[str, str]
) -> None:
    write_manifest(cohort.slides, tmp_path / "slides.csv")
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        # The machine's own name may not resolve.
        "--local-addr=127.0.0.1",
        "--nproc-per-node",
        "2",
    ]
    began = time.monotonic()
    command = [*launch, str(script), str(cohort.folder), str(tmp_path)]
    done = run_group(command, env=environment, timeout=300)
    assert done.returncode != 0
    assert "tile 7 is damaged" in done.stderr
    assert time.monotonic() - began < 240
    assert not (tmp_path / "broken" / "model.json").exists()
