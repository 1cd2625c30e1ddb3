"""What became of each slide: an append-only journal, and the CSV rendered from it."""

import csv
import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from wsi_specdec.errors import StoreError
from wsi_specdec.files import write_text
from wsi_specdec.keys import JOURNAL_FILE, LEDGER_FILE, LOG_FILE
from wsi_specdec.runner.journal import Journal, read_journal

State = Literal["done", "empty", "failed", "skipped"]

# The CSV follows the journal after so long, or longer where rendering would take over 5 % of time.
_RENDER_SECONDS = 5.0
_RENDER_SHARE = 0.05


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
    remarks
        (slide_id, reason) of those that are done, but with something to be wary of.
    ledger
        The file that all of it is recorded in.
    """

    counts: Mapping[State, int]
    tiles: int
    failures: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, str], ...] = ()
    ledger: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether no slide failed; a slide refused for its kind is no failure."""
        return not self.failures

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], ledger: Path | None = None) -> "LedgerSummary":
        """Summarise outcomes."""
        rows = list(outcomes)
        reasons: dict[State, list[tuple[str, str]]] = {state: [] for state in get_args(State)}
        for row in rows:
            reasons[row.state].append((row.slide_id, row.reason))
        return cls(
            counts={state: len(found) for state, found in reasons.items()},
            tiles=sum(row.tiles for row in rows),
            failures=tuple(reasons["failed"]),
            skipped=tuple(reasons["skipped"]),
            remarks=tuple((slide, reason) for slide, reason in reasons["done"] if reason),
            ledger=ledger,
        )


class Ledger:
    """The ledger of one output folder; a context manager that renders `ledger.csv` at its end.

    Each outcome is one line of the journal, on disk before `append` returns. The last line of a
    slide wins. A line torn by a kill is ignored: its slide is run again. Lines that a full disk
    refuses are written as soon as it takes them.

    Parameters
    ----------
    out
        Output folder, made if it is missing.

    Raises
    ------
    ConfigError
        If the folder cannot be written to, or another process has this ledger open.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / LEDGER_FILE
        self._journal = Journal(out / JOURNAL_FILE)
        self._log = out / LOG_FILE
        self._rows = {row.slide_id: row for row in _outcomes(self._journal.path)}
        self._stale = False
        self._due = time.monotonic() + _RENDER_SECONDS

    def get(self, slide_id: str) -> Outcome | None:
        """Return the last outcome of a slide, None where it has none."""
        return self._rows.get(slide_id)

    def append(self, outcome: Outcome, traceback: str = "") -> None:
        """Record an outcome; call `refresh` now and then, so that the CSV follows.

        A traceback goes to `log.jsonl`, which the ledger's one-line reason stands for.
        """
        self._journal.append(asdict(outcome))
        self._rows[outcome.slide_id] = outcome
        self._stale = True
        if traceback:
            self._log_traceback(outcome, traceback)

    def refresh(self) -> None:
        """Render the CSV if it has been behind for some seconds."""
        if not self._stale or time.monotonic() < self._due:
            return
        started = time.monotonic()
        # A full disk is told of at the end, if it is full still.
        with suppress(OSError):
            self.render()
        now = time.monotonic()
        self._due = now + max(_RENDER_SECONDS, (now - started) / _RENDER_SHARE)

    def _log_traceback(self, outcome: Outcome, traceback: str) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "level": "error",
            "slide_id": outcome.slide_id,
            "reason": outcome.reason,
            "traceback": traceback,
        }
        # The reason is in the ledger; its traceback is not worth stopping for on a full disk.
        with suppress(OSError), self._log.open("ab") as handle:
            handle.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")

    def render(self) -> None:
        """Write `ledger.csv` atomically, sorted by slide."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(self._rows[slide_id]) for slide_id in sorted(self._rows))
        write_text(self.path, out.getvalue())
        self._stale = False

    def close(self) -> None:
        """Render and close.

        Raises
        ------
        StoreError
            If the disk is full still, so that outcomes are not recorded.
        """
        refusal = self._journal.close()
        try:
            self.render()
        except OSError as error:
            refusal = refusal or error
        if refusal is not None:
            msg = (
                f"cannot record what became of the slides in {self.path.parent}: {refusal}. What "
                "is finished is kept: free some space and run the same command again"
            )
            raise StoreError(msg) from refusal

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

    Where a kill left the CSV behind its journal, the journal's rows are returned.

    Raises
    ------
    StoreError
        If it is missing or is no ledger.
    """
    file = path / LEDGER_FILE if path.is_dir() else path
    journal = file.with_name(JOURNAL_FILE)
    if _is_newer(journal, file):
        rows = {row.slide_id: row for row in _outcomes(journal)}
        return [rows[slide_id] for slide_id in sorted(rows)]
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            return [_outcome(row) for row in csv.DictReader(handle)]
    except FileNotFoundError as error:
        msg = f"no ledger at {file}: tile the slides first"
        raise StoreError(msg) from error
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file} is no ledger: {error!r}; remove it and tile again"
        raise StoreError(msg) from error


def read_states(path: Path) -> dict[str, State]:
    """Read each slide's state from a ledger, or from the run directory that holds it."""
    return {outcome.slide_id: outcome.state for outcome in read_ledger(path)}


def _outcomes(journal: Path) -> Iterator[Outcome]:
    """Outcomes in a journal in their order, without what is none."""
    for value in read_journal(journal):
        try:
            yield _outcome(value)
        except (KeyError, TypeError, ValueError):
            continue


def _is_newer(journal: Path, file: Path) -> bool:
    """Whether a journal was written to after its CSV was rendered."""
    if not journal.exists():
        return False
    return not file.exists() or journal.stat().st_mtime_ns > file.stat().st_mtime_ns


def _cells(row: Outcome) -> list[object]:
    """Values of a row in the order of the columns, its figures rounded to what they mean."""
    rounded = {"seconds": f"{row.seconds:.3f}", "peak_rss_mb": f"{row.peak_rss_mb:.1f}"}
    return [rounded.get(name, getattr(row, name)) for name in COLUMNS]


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
