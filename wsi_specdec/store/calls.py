"""A run's slide calls as one CSV file, and the tile scores that they are made from."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ModelError, StoreError
from wsi_specdec.files import write_text
from wsi_specdec.keys import CALL_COLUMNS, PROB_PREFIX, X, Y
from wsi_specdec.store.scores import read_scores

CallState = Literal["done", "empty", "failed", "skipped"]
_STATES: Final = frozenset(get_args(CallState))


@dataclass(frozen=True, slots=True)
class Call:
    """What is said about one slide; all but the names is None where nothing can be said.

    Attributes
    ----------
    slide_id, patient_id
        As in the manifest.
    cohort
        The slide's split, None where it has none.
    score
        Slide score in [0, 1].
    call
        1 where the score is at or above the threshold, else 0.
    threshold
        The aggregator's threshold.
    confidence
        Probability that the call is right, where there is a `probability`; else the distance from
        the threshold: 0 on it, 1 at the end of the scale on the score's side.
    n_tiles
        Number of tiles scored.
    state
        `done`, or why there is no call: `empty` (no tissue), `failed`, `skipped`.
    probability
        Calibrated probability that the slide is positive; None where the aggregator has no
        calibration.
    referred
        1 where a pathologist should decide; None where the aggregator abstains from nothing.
    """

    slide_id: str
    patient_id: str
    cohort: str | None
    score: float | None
    call: int | None
    threshold: float | None
    confidence: float | None
    n_tiles: int
    state: CallState
    probability: float | None = None
    referred: int | None = None


def write_calls(path: Path, calls: Sequence[Call]) -> None:
    """Write calls atomically; `read_calls` gives back the very same numbers."""
    write_rows(path, CALL_COLUMNS, calls)


def read_calls(path: Path) -> list[Call]:
    """Read calls in the order of the file, which may lack the columns after `state`.

    Raises
    ------
    StoreError
        If the file cannot be read, has other columns, a value is wrong, or a slide stands twice.
    """
    rows = read_rows(path, CALL_COLUMNS, first_optional=len(CALL_COLUMNS) - 2)
    calls = [_call(cells, where) for where, cells in rows]
    ids = [call.slide_id for call in calls]
    if len(set(ids)) != len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        msg = f"{path} holds slides twice: {', '.join(twice[:5])}; make the calls again"
        raise StoreError(msg)
    return calls


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """What a model says of a slide's tiles.

    Attributes
    ----------
    coords
        (N, 2) int64, level-0 px.
    probabilities
        (N, k) float64 in [0, 1], a column for each of `names`.
    names
        The classes; of a model of two classes the positive one alone.
    """

    coords: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    names: tuple[str, ...]

    @property
    def positive(self) -> NDArray[np.float64]:
        """(N,) probability of any class but the first, which is label 0."""
        if len(self.names) == 1:
            return self.probabilities[:, 0]
        # What rounds below 0 is none.
        return np.asarray(np.maximum(1 - self.probabilities[:, 0], 0), np.float64)

    @property
    def grades(self) -> NDArray[np.int64]:
        """(N,) label of the most probable class; of two classes, 1 from probability 0.5 on."""
        if len(self.names) == 1:
            return (self.probabilities[:, 0] >= 0.5).astype(np.int64)
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


def class_scores(path: Path) -> ClassScores:
    """Read a slide's tiles and their probability of each class.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    ModelError
        If it holds no classes, or values that are no probabilities.
    """
    frame = read_scores(path)
    columns = [name for name in frame.columns if name.startswith(PROB_PREFIX)]
    if not columns:
        msg = f"{path} holds scores of no class: run `wsi-specdec score` again"
        raise ModelError(msg)
    probabilities = frame[columns].to_numpy(np.float64)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        wrong = int((~((probabilities >= 0) & (probabilities <= 1))).sum())
        msg = (
            f"{wrong} of {probabilities.size} scores in {path} are not probabilities in [0, 1]: "
            "training has diverged; lower the learning rate, train and score again"
        )
        raise ModelError(msg)
    names = tuple(name.removeprefix(PROB_PREFIX) for name in columns)
    return ClassScores(frame[[X, Y]].to_numpy(np.int64), probabilities, names)


def positive_scores(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read a slide's tiles and their probability of being positive: of any class but the first.

    Returns
    -------
    coords (N, 2) int64, level-0 px, and probabilities (N,) float64.

    Raises
    ------
    StoreError, ModelError
        As `class_scores`.
    """
    found = class_scores(path)
    return found.coords, found.positive


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[object]) -> None:
    """Write records atomically as CSV, an attribute a column; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(getattr(row, name)) for name in columns] for row in rows)
    write_text(path, out.getvalue())


def read_rows(
    path: Path, columns: Sequence[str], *, first_optional: int | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Read what `write_rows` wrote: where each row stands, and its cells by column.

    Columns from `first_optional` on may be missing, all or none; their cells are then empty.

    Raises
    ------
    StoreError
        If the file cannot be read, has other columns, or a row has more or fewer cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the calls {path}: {error}; make them with `wsi-specdec aggregate`"
        raise StoreError(msg) from error
    header, *lines = [row for row in csv.reader(io.StringIO(text)) if row] or [[]]
    if tuple(header) not in {tuple(columns), tuple(columns[:first_optional])}:
        msg = f"{path} is no file of calls: its columns must be {', '.join(columns)}"
        raise StoreError(msg)
    rows = []
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            msg = f"{path}, line {number}: expected {len(header)} values"
            raise StoreError(msg)
        cells = dict.fromkeys(columns, "") | dict(zip(header, line, strict=True))
        rows.append((f"{path}, line {number}", cells))
    return rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    # repr of a float is the shortest text that reads back as the same float.
    return repr(float(value)) if isinstance(value, float) else str(value)


def _call(cells: Mapping[str, str], where: str) -> Call:
    if cells["state"] not in _STATES or not {cells["call"], cells["referred"]} <= {"", "0", "1"}:
        msg = (
            f"{where}: state {cells['state']!r}, call {cells['call']!r} and referred "
            f"{cells['referred']!r} are not known ones"
        )
        raise StoreError(msg)
    try:
        return Call(
            slide_id=cells["slide_id"],
            patient_id=cells["patient_id"],
            cohort=cells["cohort"] or None,
            score=number(cells["score"]),
            call=whole(cells["call"]),
            threshold=number(cells["threshold"]),
            confidence=number(cells["confidence"]),
            n_tiles=int(cells["n_tiles"]),
            state=cast("CallState", cells["state"]),
            probability=number(cells["probability"]),
            referred=whole(cells["referred"]),
        )
    except ValueError as error:
        msg = f"{where}: {error}"
        raise StoreError(msg) from error


def whole(text: str) -> int | None:
    """Read a cell that is a whole number or empty."""
    return int(text) if text else None


def number(text: str) -> float | None:
    """Read a cell that is a finite number or empty.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        msg = f"{text!r} is not a finite number"
        raise ValueError(msg)
    return value
