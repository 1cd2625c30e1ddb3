"""kill -9 of a whole run leaves no process, no lie and no lost result."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from programs import is_running, until

from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner import Ledger, Task, read_ledger, run_over_slides

_RUN = """
import sys
from pathlib import Path
from wsi_specdec.config import RunnerConfig
from wsi_specdec.runner import Ledger, Task, run_over_slides

if __name__ == "__main__":
    import wsi_specdec_test_tasks as module

    out, pids = map(Path, sys.argv[1:])
    tasks = [Task("a", ("tiles", 3)), Task("b", ("leave_pid", str(pids))), Task("c", ("tiles", 4))]
    tasks.append(Task("d", ("leave_pid", str(pids))))
    with Ledger(out) as ledger:
        run_over_slides(
            module.run, tasks, ledger=ledger, runner=RunnerConfig(workers=3), title="test"
        )
"""


def test_kill_9_leaves_the_truth_and_no_process(tmp_path: Path, task_module: ModuleType) -> None:
    out, pids = tmp_path / "out", tmp_path / "pids"
    pids.mkdir()
    script = tmp_path / "run.py"
    script.write_text(_RUN)
    path = str(Path(str(task_module.__file__)).parent)
    with subprocess.Popen(
        [sys.executable, str(script), str(out), str(pids)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([path, *sys.path])},
        stderr=subprocess.DEVNULL,
    ) as parent:
        journal = out / "ledger.jsonl"
        try:
            assert until(
                lambda: (
                    len(list(pids.iterdir())) == 2 and len(journal.read_text().splitlines()) == 2
                )
            )
            busy = [int(path.name) for path in pids.iterdir()]
        finally:
            parent.send_signal(signal.SIGKILL)
    assert until(lambda: not any(is_running(pid) for pid in busy))
    assert [(row.slide_id, row.tiles) for row in read_ledger(out)] == [("a", 3), ("c", 4)]

    with Ledger(out) as ledger:
        tasks = [Task("b", ("tiles", 5)), Task("d", ("tiles", 6))]
        run_over_slides(
            task_module.run, tasks, ledger=ledger, runner=RunnerConfig(workers=1), title="test"
        )
    assert [(row.slide_id, row.tiles) for row in read_ledger(out)] == [
        ("a", 3),
        ("b", 5),
        ("c", 4),
        ("d", 6),
    ]
