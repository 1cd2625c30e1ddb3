"""Memory of this process: how much it holds, its peak, and a watch that ends it at a limit.

Limits set on the process itself (RLIMIT_AS, RLIMIT_DATA) count what libraries merely reserve, and
make them crash in their own ways; a watch on resident memory counts what is used.
"""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Told apart from any exit code that Python or a signal gives.
EXIT_OUTGREW_MEMORY: Final = 117
_EXIT_ORPHANED: Final = 118

_STATUS = Path("/proc/self/status")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_WATCH_SECONDS = 0.1
# Of malloc.h: M_MMAP_THRESHOLD, above which pieces are mapped each by itself, and
# M_TRIM_THRESHOLD, the free end of the heap up to which it is kept for the next piece.
_MMAP_THRESHOLD = -3
_TRIM_THRESHOLD = -1
# M_ARENA_MAX: heaps that threads have for themselves, each of which keeps what is freed in it.
_ARENA_MAX = -8
_LARGE_BYTES = 2_000_000
# More than a few tiles: else each would be taken from the system and given back, page by page.
_KEPT_BYTES = 8 << 20


def hand_back_memory() -> None:
    """Give what is freed back to the system, now and, where it is large, from now on.

    glibc keeps freed memory for itself, and that of each thread apart, so that one part of a
    slide's work adds to the next one's. Other C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        glibc = ctypes.CDLL(None)
        glibc.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        glibc.mallopt(_ARENA_MAX, 1)
        glibc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        glibc.malloc_trim(0)


def resident_mb() -> float:
    """Resident memory of this process now, MiB."""
    return _status_mb("VmRSS:")


def peak_mb() -> float:
    """Highest resident memory since `reset_peak`, MiB; since the start where it cannot be reset."""
    return _status_mb("VmHWM:")


def machine_mb() -> float:
    """Memory of this machine, or of the container or job that this process may use, MiB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return pages
    return min(pages, int(limit) / 2**20) if limit.isdigit() else pages


def reset_peak() -> None:
    """Start the peak anew, where the system allows it."""
    with contextlib.suppress(OSError):
        _CLEAR_REFS.write_text("5", encoding="ascii")


@contextlib.contextmanager
def watched(limit_mb: float | None) -> Iterator[None]:
    """End this process if it outgrows `limit_mb` in the block, or loses its parent."""
    finished = threading.Event()
    watch = threading.Thread(target=_watch, args=(limit_mb, _parent(), finished), daemon=True)
    watch.start()
    try:
        yield
    finally:
        finished.set()
        # Waited for, so that the process never ends between blocks, holding a lock of its pool.
        watch.join()


def _parent() -> int:
    """Process that started this one, though it may have died since."""
    starter = multiprocessing.parent_process()
    return os.getppid() if starter is None or starter.pid is None else starter.pid


def _watch(limit_mb: float | None, parent: int, finished: threading.Event) -> None:
    while not finished.wait(_WATCH_SECONDS):
        if limit_mb is not None and resident_mb() > limit_mb:
            os._exit(EXIT_OUTGREW_MEMORY)
        if os.getppid() != parent:
            os._exit(_EXIT_ORPHANED)


def _status_mb(key: str) -> float:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)
