"""From the calls of a patient's slides to one call."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from wsi_specdec.aggregation.aggregator import Aggregator
from wsi_specdec.store.calls import Call, CallState
from wsi_specdec.store.patients import PatientCall

# Where no slide has a call: what most needs a look stands for the patient.
_GRAVEST: tuple[CallState, ...] = ("failed", "skipped", "empty")


def roll_up(calls: Sequence[Call], aggregator: Aggregator) -> list[PatientCall]:
    """Make one call for each patient of a cohort, in the order in which they appear.

    One who stands in several external cohorts gets a call in each, of the slides that are in it.

    - `max`: the highest score of the slides, called and referred as a slide of that score.
    - `mean`: the mean of the scores, likewise.
    - `any`: positive where a slide is called positive, and the highest score. It is referred where
      a slide is, unless one is called positive without being referred: then that settles it.

    Without abstention `max` and `any` call alike. The threshold is that of slides.

    Parameters
    ----------
    calls
        Of slides, by this aggregator.
    aggregator
        Its rule and threshold.
    """
    of_patient: dict[str, dict[str | None, list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        of_patient[call.patient_id][call.cohort].append(call)
    return [_patient(own, aggregator) for each in of_patient.values() for own in _cohorts(each)]


def _cohorts(of_cohort: Mapping[str | None, list[Call]]) -> list[list[Call]]:
    """Part a patient's slides by cohort; those that are in none count with the first."""
    named = [own for cohort, own in of_cohort.items() if cohort is not None]
    loose = of_cohort.get(None, [])
    return [[*named[0], *loose], *named[1:]] if named else [loose]


def _patient(slides: Sequence[Call], aggregator: Aggregator) -> PatientCall:
    called = [slide for slide in slides if slide.score is not None]
    names = [slide.cohort for slide in slides if slide.cohort is not None]
    cohort = names[0] if names else None
    patient = slides[0].patient_id
    if not called:
        states = {slide.state for slide in slides}
        state = next(state for state in _GRAVEST if state in states)
        return PatientCall(patient, cohort, None, None, None, len(slides), 0, state)
    scores = np.array([slide.score for slide in called], dtype=np.float64)
    # Sorted, so that the order of the slides does not change the last bit of the sum.
    averaged = aggregator.patient_rule == "mean"
    score = float(np.sort(scores).mean() if averaged else scores.max())
    call = int(score >= aggregator.threshold)
    return PatientCall(
        patient_id=patient,
        cohort=cohort,
        score=score,
        call=call,
        threshold=aggregator.threshold,
        n_slides=len(slides),
        n_called=len(called),
        state="done",
        referred=_referred(called, score, call, aggregator),
    )


def _referred(
    called: Sequence[Call], score: float, call: int, aggregator: Aggregator
) -> int | None:
    if aggregator.abstention is None:
        return None
    if aggregator.patient_rule != "any":
        return int(aggregator.abstention.refers(score, call))
    settled = any(slide.call == 1 and slide.referred == 0 for slide in called)
    return int(not settled and any(slide.referred == 1 for slide in called))
