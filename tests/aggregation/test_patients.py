"""From slides to patients."""

from pathlib import Path

import pytest

from wsi_specdec.aggregation import (
    Aggregator,
    Band,
    Call,
    PatientCall,
    read_patients,
    roll_up,
    write_patients,
)
from wsi_specdec.aggregation.calls import save_calls
from wsi_specdec.config import PatientRule
from wsi_specdec.errors import StoreError
from wsi_specdec.keys import PATIENT_COLUMNS


def aggregator(rule: PatientRule, band: tuple[float, float] | None = None) -> Aggregator:
    return Aggregator(
        pooling="mean",
        threshold=0.5,
        threshold_rule="fixed",
        threshold_target=0.5,
        fit_cohort=None,
        fit_slides=0,
        fit_positives=0,
        fit_slides_sha256=None,
        model_sha256=None,
        patient_rule=rule,
        abstention=None if band is None else Band(alpha=0.1, low=band[0], high=band[1]),
    )


def call(patient: str, score: float | None, referred: int | None = None, **changes: object) -> Call:
    made = {
        "slide_id": f"{patient}-{score}",
        "patient_id": patient,
        "cohort": "internal",
        "score": score,
        "call": None if score is None else int(score >= 0.5),
        "threshold": None if score is None else 0.5,
        "confidence": None if score is None else 0.9,
        "n_tiles": 3,
        "state": "done",
        "referred": referred,
    }
    return Call(**{**made, **changes})  # type: ignore[arg-type]


CALLS = [
    call("p", 0.2),
    call("q", 0.4),
    call("p", 0.6),
    call("p", None, state="empty"),
    call("p", 0.1),
]


@pytest.mark.parametrize(
    ("rule", "score", "called"), [("max", 0.6, 1), ("mean", 0.3, 0), ("any", 0.6, 1)]
)
def test_rules_by_hand(rule: PatientRule, score: float, called: int) -> None:
    first, second = roll_up(CALLS, aggregator(rule))
    assert first.score == pytest.approx(score)
    assert (first.patient_id, first.cohort, first.call, first.threshold) == (
        "p",
        "internal",
        called,
        0.5,
    )
    assert (first.n_slides, first.n_called, first.state, first.referred) == (4, 3, "done", None)
    assert second == PatientCall("q", "internal", 0.4, 0, 0.5, 1, 1, "done")


def test_a_patient_of_two_external_cohorts_has_a_call_in_each() -> None:
    calls = [
        call("p", 0.9, cohort="external-a"),
        call("p", 0.2, cohort="external-b"),
        call("p", 0.4, cohort="external-b"),
        call("q", 0.3, cohort="external-a"),
        call("p", 0.95, cohort=None),
    ]
    found = roll_up(calls, aggregator("max"))
    assert [(p.patient_id, p.cohort, p.score, p.n_slides) for p in found] == [
        ("p", "external-a", 0.95, 2),
        ("p", "external-b", 0.4, 2),
        ("q", "external-a", 0.3, 1),
    ]


def test_patients_of_whom_nothing_can_be_said_say_why() -> None:
    calls = [
        call("p", None, state="empty", cohort=None),
        call("p", None, state="failed"),
        call("q", None, state="empty"),
        call("q", None, state="skipped"),
    ]
    assert roll_up(calls, aggregator("max")) == [
        PatientCall("p", "internal", None, None, None, 2, 0, "failed"),
        PatientCall("q", "internal", None, None, None, 2, 0, "skipped"),
    ]


@pytest.mark.parametrize(
    ("rule", "scores", "referred"),
    [
        # The band is [0.4, 0.7).
        ("max", [0.1, 0.5], 1),
        ("max", [0.5, 0.8], 0),
        ("mean", [0.1, 0.5], 0),
        ("mean", [0.2, 0.9], 1),
        ("any", [0.1, 0.5], 1),
        ("any", [0.5, 0.8], 0),
        ("any", [0.1, 0.2], 0),
        ("any", [0.1, 0.45], 1),
    ],
)
def test_referral_of_patients(rule: PatientRule, scores: list[float], referred: int) -> None:
    band = (0.4, 0.7)
    calls = [call("p", s, int(band[0] <= s < band[1])) for s in scores]
    (patient,) = roll_up(calls, aggregator(rule, band))
    assert patient.referred == referred


def test_file_is_written_beside_the_calls_and_read_back(tmp_path: Path) -> None:
    save_calls(tmp_path, CALLS, aggregator("mean"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.csv", "patients.csv"]
    path = tmp_path / "patients.csv"
    assert path.read_text().splitlines()[0] == ",".join(PATIENT_COLUMNS)
    assert read_patients(path) == roll_up(CALLS, aggregator("mean"))
    patients = [PatientCall("p", None, 1 / 3, 0, 0.5, 2, 1, "done", 1)]
    write_patients(path, patients)
    assert read_patients(path) == patients
    for old, new, message in (("done", "odd", "'odd'"), ("0.5", "x", "could not convert")):
        write_patients(path, patients)
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(StoreError, match=message):
            read_patients(path)
