from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wsi_specdec.config import PackConfig, RunnerConfig
from wsi_specdec.packing import list_images, pack_images
from wsi_specdec.packing import pack as module
from wsi_specdec.packing.piece import PieceJob
from wsi_specdec.runner import Ledger, LedgerSummary, Task, TaskResult
from wsi_specdec.runner.pool import _record
from wsi_specdec.runner.task import run_task

Pack = Callable[..., LedgerSummary]


def run_here(
    function: Callable[[PieceJob], TaskResult],
    tasks: Sequence[Task[PieceJob]],
    *,
    ledger: Ledger,
    runner: RunnerConfig,
    title: str,
) -> LedgerSummary:
    """Do what `run_over_slides` does, without the seconds that its processes take to start."""
    outcomes = [
        _record(ledger, task, run_task(function, task.payload, memory_limit_mb=None))
        for task in tasks
    ]
    return LedgerSummary.of(outcomes, ledger.path)


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Pack a folder or a CSV file into `tmp_path/out`, in this process."""
    monkeypatch.setattr(module, "run_over_slides", run_here)

    def call(
        source: Path, out: str = "out", *, overwrite: bool = False, **settings: object
    ) -> LedgerSummary:
        config = PackConfig.model_validate({"size": 16} | settings)
        listing = list_images(source, config.classes)
        return pack_images(listing, tmp_path / out, config, RunnerConfig(), overwrite=overwrite)

    return call
