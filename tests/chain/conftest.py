"""One quick demo, run once as a user runs it, that the chain's tests look at."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from programs import run_group
from tiff_slides import write_slide

from wsi_specdec.cli import main

REPOSITORY = Path(__file__).parents[2]
Program = Callable[..., "subprocess.CompletedProcess[str]"]


def run_program(
    *arguments: str | Path, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `wsi-specdec` in a process of its own, as a user does."""
    command = [sys.executable, "-m", "wsi_specdec", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return run_group(command, cwd=cwd, env=environment, timeout=500)


class MakeSlide(Protocol):
    """Writes a small slide: clean glass, with one purple square if `tissue`."""

    def __call__(self, path: Path, *, mpp: float | None = 0.5, tissue: bool = True) -> Path: ...


@pytest.fixture(scope="session")
def make_slide() -> MakeSlide:
    def make(path: Path, *, mpp: float | None = 0.5, tissue: bool = True) -> Path:
        image = np.full((1024, 1024, 3), 244, np.uint8)
        if tissue:
            noise = np.random.default_rng(0).integers(-20, 20, (512, 512, 3))
            image[256:768, 256:768] = np.array([150, 80, 160]) + noise
        return write_slide(path, image, mpp=mpp, tile=256)

    return make


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def program() -> Program:
    return run_program


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run the program within this process, which has paid for importing torch already."""

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = ["wsi-specdec", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        code = left.value.code if isinstance(left.value.code, int) else int(bool(left.value.code))
        return subprocess.CompletedProcess(command, code, printed.out, printed.err)

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return run


@pytest.fixture(scope="session")
def quick_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the finished quick demo, made once for all of pytest-xdist's workers."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    out, printed = shared / "quick" / "demo", shared / "quick" / "stdout.txt"
    with (shared / "quick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            done = run_program("demo", "--quick", "--out", out)
            assert done.returncode == 0, done.stderr
            (out / "stdout.txt").write_text(done.stdout)
            printed.touch()
    return out


@pytest.fixture
def demo_copy(quick_demo: Path, tmp_path: Path) -> Path:
    """Give a copy of the finished quick demo that a test may change."""
    return Path(shutil.copytree(quick_demo, tmp_path / "demo"))
