"""Progress bars and messages, on one console that `--quiet` silences.

In a terminal a bar is drawn; in a log file one line a step is printed, so that it reads well too.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

_LOG_SECONDS = 10.0
# Widths that leave room for a note at 80 columns.
_TITLE_WIDTH = 22
_BAR_WIDTH = 16


class Ticker(Protocol):
    """What a loop holds to report its advance."""

    def __call__(self, advance: int = 1, note: str = "") -> None:
        """Advance by `advance` items and show `note` beside the bar."""


_console = Console(stderr=True)


def console() -> Console:
    """Return the console that messages and progress go to (standard error)."""
    return _console


def set_quiet(*, quiet: bool) -> None:
    """Silence or restore every message and bar; errors are still raised."""
    _console.quiet = quiet


@contextmanager
def progress(title: str, total: int) -> Iterator[Ticker]:
    """Show the advance of `total` steps, yielding the function to call after each."""
    if _console.quiet:
        yield _silent
    elif sys.stderr.isatty():
        with _bar(title, total) as tick:
            yield tick
    else:
        with _log(title, total) as tick:
            yield tick


def _silent(advance: int = 1, note: str = "") -> None:
    """Ignore the advance."""


@contextmanager
def _bar(title: str, total: int) -> Iterator[Ticker]:
    # The note gives way first, then the end of the title; never the counts.
    head = Column(width=_TITLE_WIDTH, no_wrap=True, overflow="ellipsis")
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", table_column=head),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}", table_column=rest),
    )
    with Progress(*columns, console=_console, expand=True) as bars:
        task = bars.add_task(title, total=total, note="")

        def tick(advance: int = 1, note: str = "") -> None:
            if note:
                bars.update(task, advance=advance, note=note)
            else:
                bars.update(task, advance=advance)

        yield tick


@contextmanager
def _log(title: str, total: int) -> Iterator[Ticker]:
    started = last = time.monotonic()
    done = 0

    def tick(advance: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += advance
        now = time.monotonic()
        if now - last >= _LOG_SECONDS:
            last = now
            _console.print(f"{title}: {done}/{total} {note}".rstrip(), highlight=False)

    yield tick
    seconds = time.monotonic() - started
    _console.print(f"{title}: {done}/{total} in {seconds:.0f} s", highlight=False)
