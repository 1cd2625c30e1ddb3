"""Task functions that a freshly spawned process can import."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

_MODULE = "wsi_specdec_test_tasks"
_SOURCE = """
import multiprocessing, os, pathlib, signal, time
from wsi_specdec.errors import SlideReadError, UnsupportedSlideError
from wsi_specdec.runner import TaskResult, advance_tiles

if multiprocessing.parent_process() is not None and os.environ.get("WSI_SPECDEC_TEST_BAD_START"):
    os._exit(3)

def run(what):
    name, value = what
    return globals()[name](value)

def tiles(n):
    return TaskResult("done", tiles=n)

def reused(n):
    return TaskResult("done", tiles=n, reused=True)

def empty(reason):
    return TaskResult("empty", reason=reason)

def kill(_):
    os.kill(os.getpid(), signal.SIGKILL)

def segfault(_):
    os.kill(os.getpid(), signal.SIGSEGV)

def leave(code):
    os._exit(code)

def hang(seconds):
    time.sleep(seconds)
    return TaskResult("done")

def grow(mib):
    held = bytearray(mib << 20)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(30)
    return TaskResult("done")

def touch(mib):
    held = bytearray(mib << 20)
    held[::4096] = b"x" * len(held[::4096])
    return TaskResult("done")

def unreadable(_):
    try:
        raise OSError("deep cause")
    except OSError as error:
        raise SlideReadError("cannot read a.svs:\\n  truncated") from error

def unsupported(_):
    raise UnsupportedSlideError("looks like fluorescence")

def surprise(_):
    raise ZeroDivisionError("oh")

def slow(seconds):
    time.sleep(seconds)
    return TaskResult("done", tiles=1)

def advance(steps):
    for _ in range(steps):
        advance_tiles(10)
        time.sleep(0.1)
    return TaskResult("done", tiles=10 * steps)

def leave_pid(folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(120)

def write(what):
    path, size = what
    pathlib.Path(path).write_bytes(bytes(size))
    return TaskResult("done", tiles=1)

def pid(_):
    return TaskResult("done", tiles=os.getpid())
"""


@pytest.fixture(scope="session")
def task_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module, on the path of this process and of those it spawns."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / f"{_MODULE}.py").write_text(_SOURCE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module(_MODULE)
    sys.path.remove(str(folder))
    del sys.modules[_MODULE]
