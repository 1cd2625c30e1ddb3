"""The README's commands run as written, in its order, beside a finished demo."""

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., "subprocess.CompletedProcess[str]"]

REPOSITORY = Path(__file__).parents[2]


def commands() -> list[str]:
    """Every `wsi-specdec` line of the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "wsi-specdec" in line]


@pytest.fixture
def beside_demo(demo_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that looks like a checkout in which `make demo` was run."""
    folder = demo_copy.parent
    for name in ("pipelines", "tests"):
        (folder / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_every_command_runs_as_written(beside_demo: Path, in_process: Program) -> None:
    lines = commands()
    assert len(lines) >= 10
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "wsi-specdec"
        done = in_process(*arguments)
        assert done.returncode == 0, f"{line}\n{done.stderr}"

    with (beside_demo / "byhand/calls.csv").open() as handle:
        by_hand = list(csv.DictReader(handle))
    assert {row["state"] for row in by_hand} == {"done"}
    assert {row["call"] for row in by_hand} == {"0", "1"}
    assert len(list((beside_demo / "processed/heatmaps").glob("*.png"))) == 1
    compared = json.loads((beside_demo / "comparison/results.json").read_text())
    assert set(compared["arms"]) == {"wd", "sd", "wd+macenko", "sd+macenko"}
    with (beside_demo / "calls/calls.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == len(by_hand)
