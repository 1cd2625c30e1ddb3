"""A run's calls by patient as one CSV file, beside its slide calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

from wsi_specdec.errors import StoreError
from wsi_specdec.keys import PATIENT_COLUMNS
from wsi_specdec.store.calls import CallState, number, read_rows, whole, write_rows

_STATES: Final = frozenset(get_args(CallState))


@dataclass(frozen=True, slots=True)
class PatientCall:
    """What is said about one patient; all but the names is None where nothing can be said.

    Attributes
    ----------
    patient_id
        As in the manifest.
    cohort
        The split of the patient's slides, None where they have none.
    score
        Score of the patient in [0, 1]: highest or mean score of the slides, as the rule says.
    call
        1 or 0.
    threshold
        The aggregator's, which was chosen on slides.
    n_slides, n_called
        The patient's slides, and those of them that have a call.
    state
        `done` where a slide has a call, else why none has: `failed`, `skipped` or `empty`.
    referred
        1 where a pathologist should decide; None where the aggregator abstains from nothing.
    """

    patient_id: str
    cohort: str | None
    score: float | None
    call: int | None
    threshold: float | None
    n_slides: int
    n_called: int
    state: CallState
    referred: int | None = None


def write_patients(path: Path, patients: Sequence[PatientCall]) -> None:
    """Write patients atomically; `read_patients` gives back the very same numbers."""
    write_rows(path, PATIENT_COLUMNS, patients)


def read_patients(path: Path) -> list[PatientCall]:
    """Read patients in the order of the file.

    Raises
    ------
    StoreError
        If the file cannot be read, has other columns, or a value is wrong.
    """
    return [_patient(cells, where) for where, cells in read_rows(path, PATIENT_COLUMNS)]


def _patient(cells: Mapping[str, str], where: str) -> PatientCall:
    if cells["state"] not in _STATES:
        msg = f"{where}: state {cells['state']!r} is not a known one"
        raise StoreError(msg)
    try:
        return PatientCall(
            patient_id=cells["patient_id"],
            cohort=cells["cohort"] or None,
            score=number(cells["score"]),
            call=whole(cells["call"]),
            threshold=number(cells["threshold"]),
            n_slides=int(cells["n_slides"]),
            n_called=int(cells["n_called"]),
            state=cast("CallState", cells["state"]),
            referred=whole(cells["referred"]),
        )
    except ValueError as error:
        msg = f"{where}: {error}"
        raise StoreError(msg) from error
