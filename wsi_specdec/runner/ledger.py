"""What became of each slide: an append-only journal, and the CSV rendered from it."""

import csv
import fcntl
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, get_args

from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.files import write_text
from wsi_specdec.keys import JOURNAL_FILE, LEDGER_FILE, LOG_FILE

State = Literal["done", "empty", "failed", "skipped"]

_RENDER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the ledger.

    Attributes
    ----------
    slide_id
        The slide.
    state
        `done`; `empty`, a slide without tiles; `failed`; `skipped`, a slide of a kind that is
        not supported.
    reason
        Why it is not `done`, in one line.
    tiles
        Number of tiles written.
    seconds
        Wall-clock time of this slide.
    peak_rss_mb
        Highest resident memory of its process meanwhile, MiB; 0 where the process died.
    params_sha256
        Hash of all settings that shape the result.
    """

    slide_id: str
    state: State
    reason: str = ""
    tiles: int = 0
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    params_sha256: str = ""


COLUMNS = tuple(field.name for field in fields(Outcome))


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """Counts of one run, and what to tell the user about it.

    Attributes
    ----------
    counts
        Number of slides in each state, all four present.
    tiles
        Number of tiles of all slides.
    failures, skipped
        (slide_id, reason) of each, in the order of the slides.
    """

    counts: Mapping[State, int]
    tiles: int
    failures: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether no slide failed; a slide refused for its kind is no failure."""
        return not self.failures

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "LedgerSummary":
        """Summarise outcomes."""
        rows = list(outcomes)
        return cls(
            counts={s: sum(row.state == s for row in rows) for s in get_args(State)},
            tiles=sum(row.tiles for row in rows),
            failures=tuple((r.slide_id, r.reason) for r in rows if r.state == "failed"),
            skipped=tuple((r.slide_id, r.reason) for r in rows if r.state == "skipped"),
        )


class Ledger:
    """The ledger of one output folder; a context manager that renders `ledger.csv` at its end.

    Each outcome is one line of the journal, on disk before `append` returns. The last line of a
    slide wins. A line torn by a kill or a full disk is ignored: its slide is run again.

    Parameters
    ----------
    out
        Output folder, made if it is missing.

    Raises
    ------
    ConfigError
        If another process has this ledger open.
    """

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._csv = out / LEDGER_FILE
        self._journal = out / JOURNAL_FILE
        self._log = out / LOG_FILE
        self._handle = self._journal.open("ab")
        _lock(self._handle, out)
        self._rows = {row.slide_id: row for row in _read_journal(self._journal)}
        if _is_torn(self._journal):
            self._handle.write(b"\n")
        self._rendered = time.monotonic()

    def get(self, slide_id: str) -> Outcome | None:
        """Return the last outcome of a slide, None where it has none."""
        return self._rows.get(slide_id)

    def append(self, outcome: Outcome, traceback: str = "") -> None:
        """Record an outcome durably; the CSV follows at the latest half a minute later.

        A traceback goes to `log.jsonl`, which the ledger's one-line reason stands for.
        """
        if traceback:
            self._log_traceback(outcome, traceback)
        self._handle.write(_json_line(asdict(outcome)))
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._rows[outcome.slide_id] = outcome
        if time.monotonic() - self._rendered > _RENDER_SECONDS:
            self.render()

    def _log_traceback(self, outcome: Outcome, traceback: str) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "level": "error",
            "slide_id": outcome.slide_id,
            "reason": outcome.reason,
            "traceback": traceback,
        }
        with self._log.open("ab") as handle:
            handle.write(_json_line(entry))

    def render(self) -> None:
        """Write `ledger.csv` atomically, sorted by slide."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(self._rows[slide_id]) for slide_id in sorted(self._rows))
        write_text(self._csv, out.getvalue())
        self._rendered = time.monotonic()

    def close(self) -> None:
        """Render and close."""
        if not self._handle.closed:
            self._handle.close()
            self.render()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_ledger(path: Path) -> list[Outcome]:
    """Read a `ledger.csv`, or that of a run directory, sorted by slide.

    Raises
    ------
    StoreError
        If it is missing or is no ledger.
    """
    file = path / LEDGER_FILE if path.is_dir() else path
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            return [_outcome(row) for row in csv.DictReader(handle)]
    except FileNotFoundError as error:
        msg = f"no ledger at {file}: tile the slides first"
        raise StoreError(msg) from error
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file} is no ledger: {error!r}; remove it and tile again"
        raise StoreError(msg) from error


def _read_journal(path: Path) -> Iterator[Outcome]:
    if not path.exists():
        return
    with path.open("rb") as handle:
        rows = map(_parse, handle)
        yield from (row for row in rows if row is not None)


def _parse(line: bytes) -> Outcome | None:
    """Outcome of one line of the journal, None where a kill tore it."""
    try:
        return _outcome(json.loads(line))
    except (KeyError, TypeError, ValueError):
        return None


def _cells(row: Outcome) -> list[object]:
    """Values of a row in the order of the columns, its figures rounded to what they mean."""
    rounded = {"seconds": f"{row.seconds:.3f}", "peak_rss_mb": f"{row.peak_rss_mb:.1f}"}
    return [rounded.get(name, getattr(row, name)) for name in COLUMNS]


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _lock(handle: BinaryIO, out: Path) -> None:
    """Hold the journal for this process; the system lets go of it however the process ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        msg = f"another run is writing to {out}: wait for it, or choose another --out"
        raise ConfigError(msg) from error
    except OSError:
        # Some network file systems have no locks; there the user has to take care.
        return


def _is_torn(path: Path) -> bool:
    with path.open("rb") as handle:
        if handle.seek(0, os.SEEK_END) == 0:
            return False
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"


def _outcome(row: Mapping[str, Any]) -> Outcome:
    state = row["state"]
    if state not in get_args(State):
        msg = f"unknown state {state!r}"
        raise ValueError(msg)
    return Outcome(
        slide_id=str(row["slide_id"]),
        state=state,
        reason=str(row["reason"]),
        tiles=int(row["tiles"]),
        seconds=float(row["seconds"]),
        peak_rss_mb=float(row["peak_rss_mb"]),
        params_sha256=str(row["params_sha256"]),
    )
