"""Fixtures of the small run directories in `fake_runs`."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fake_runs import ARMS, COHORTS, FakeRun, fake_results, make_comparison, make_process

from wsi_specdec.files import write_json


@pytest.fixture(scope="session")
def made_comparison(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    return make_comparison(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def comparison(made_comparison: FakeRun, tmp_path: Path) -> FakeRun:
    """Give each test a copy of its own; paths in the manifest are relative, so it can move."""
    ours = shutil.ignore_patterns("report.html", "heatmaps", "figures", "exports")
    shutil.copytree(made_comparison.path, tmp_path / "run", ignore=ours)
    results = deepcopy(made_comparison.results)
    # A panel is drawn for each metric compared: one will do.
    compared = ("slide", "auroc")
    results["differences"] = [
        d for d in results["differences"] if (d["unit"], d["metric"]) == compared
    ]
    write_json(tmp_path / "run" / "results.json", results)
    return FakeRun(tmp_path / "run", made_comparison.slides, results)


@pytest.fixture
def process_run(tmp_path: Path) -> FakeRun:
    return make_process(tmp_path / "run")


@pytest.fixture
def results() -> dict[str, Any]:
    return fake_results(ARMS, COHORTS)
