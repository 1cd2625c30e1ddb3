"""What runs inside a worker process: one slide, timed, watched, its errors turned to data."""

import errno
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from wsi_specdec.errors import UnsupportedSlideError, WsiSpecdecError
from wsi_specdec.runner.gauge import mark_begun
from wsi_specdec.runner.ledger import State
from wsi_specdec.runner.memory import peak_mb, reset_peak, resident_mb, watched

PayloadT = TypeVar("PayloadT")

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Task(Generic[PayloadT]):
    """One slide to be worked on.

    Attributes
    ----------
    slide_id
        The slide.
    payload
        What the function is called with; crosses a process boundary, so it must be picklable.
    params_sha256
        Hash of all settings that shape the result.
    """

    slide_id: str
    payload: PayloadT
    params_sha256: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What the function returns.

    Attributes
    ----------
    state, reason, tiles
        As in the ledger.
    reused
        Whether the result was there already: the ledger then keeps its former row.
    """

    state: Literal["done", "empty"]
    reason: str = ""
    tiles: int = 0
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker process sends back: a result or an error, and what it cost."""

    state: State
    reason: str = ""
    tiles: int = 0
    reused: bool = False
    traceback: str = ""
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    resident_mb: float = 0.0


def run_task(
    function: Callable[[PayloadT], TaskResult], payload: PayloadT, memory_limit_mb: float | None
) -> Report:
    """Run one slide in this process, which is ended on the spot if it outgrows its memory."""
    mark_begun()
    reset_peak()
    started = time.monotonic()
    state: State
    reason, tiles, reused, trace = "", 0, False, ""
    try:
        with watched(memory_limit_mb):
            result = function(payload)
        state, reason, tiles, reused = result.state, result.reason, result.tiles, result.reused
    except UnsupportedSlideError as error:
        state, reason = "skipped", one_line(str(error))
    except WsiSpecdecError as error:
        state, reason, trace = "failed", one_line(str(error)), traceback.format_exc()
    except Exception as error:  # noqa: BLE001 - whatever it is costs this slide alone
        state, reason, trace = "failed", describe(error), traceback.format_exc()
    return Report(
        state=state,
        reason=reason,
        tiles=tiles,
        reused=reused,
        traceback=trace,
        seconds=time.monotonic() - started,
        peak_rss_mb=peak_mb(),
        resident_mb=resident_mb(),
    )


def describe(error: BaseException) -> str:
    """Type and message of an unforeseen error, in one line."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return one_line(f"disk full: {error}; free some space and run the same command again")
    return one_line(f"{type(error).__name__}: {error}")


def one_line(text: str) -> str:
    """Collapse white space, so that a reason stays one line of the ledger."""
    return " ".join(text.split())
