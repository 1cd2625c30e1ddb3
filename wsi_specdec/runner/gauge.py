"""What a worker process shows its parent while it is busy: two numbers in shared memory."""

import ctypes
import multiprocessing
from typing import Any

_BEGUN, _TILES = 0, 1

# Set in a worker process, by pebble as it starts; elsewhere nobody looks.
_shown: Any = None


class Gauge:
    """The parent's view of one worker process, whichever process that is at the time."""

    def __init__(self) -> None:
        self.shared: Any = multiprocessing.get_context("spawn").RawArray(ctypes.c_int64, 2)

    def reset(self) -> None:
        """Forget the last slide."""
        self.shared[:] = (0, 0)

    @property
    def begun(self) -> bool:
        """Whether the process has taken its slide."""
        return bool(self.shared[_BEGUN])

    @property
    def tiles(self) -> int:
        """Tiles of its slide that are written."""
        return int(self.shared[_TILES])


def attach(shared: Any) -> None:  # noqa: ANN401 - ctypes makes its array types on the fly
    """Show progress in `shared` from now on; called in a worker process."""
    global _shown  # noqa: PLW0603 - a process has one parent
    _shown = shared


def mark_begun() -> None:
    """Show that this process has taken a slide."""
    if _shown is not None:
        _shown[_BEGUN] = 1


def advance_tiles(n: int) -> None:
    """Show that `n` more tiles of the slide under way are written.

    Costs less than a microsecond, so it may be called for every tile. Outside a worker process it
    does nothing. To be called from one thread at a time.
    """
    if _shown is not None:
        _shown[_TILES] += n
