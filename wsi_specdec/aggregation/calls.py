"""Calls: every slide of the manifest gets a row."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from wsi_specdec.aggregation.aggregator import Aggregator, member_of
from wsi_specdec.aggregation.patients import roll_up
from wsi_specdec.aggregation.scores import (
    SlideScore,
    one_model,
    read_slide_scores,
    scored_ids,
)
from wsi_specdec.aggregation.thresholds import confidence
from wsi_specdec.cohort import Slide, evaluated_cohorts
from wsi_specdec.errors import LeakError, ModelError
from wsi_specdec.keys import CALLS_FILE, PATIENTS_FILE
from wsi_specdec.progress import console
from wsi_specdec.store.calls import Call, write_calls
from wsi_specdec.store.patients import write_patients
from wsi_specdec.store.scores import scores_path


def make_calls(
    scores: Path,
    slides: Sequence[Slide],
    aggregator: Aggregator,
    states: Mapping[str, str] | None = None,
    *,
    known: Collection[str] = (),
) -> list[Call]:
    """Call each slide by the aggregator, unchanged.

    Parameters
    ----------
    scores
        Folder of `<slide_id>.parquet`.
    slides
        The manifest. Scores of slides that it lacks are left over from another one: they are not
        called, and a message names them. Where it is empty the slides that `states` names as done
        are called, and where that is empty too, all that have scores; each is then its own patient
        and in no cohort.
    aggregator
        Pooling and threshold.
    states
        Ledger state of each slide: why one has no tiles. Only those that are done, or that it does
        not name, are called, whatever scores an earlier run has left.
    known
        Ids of slides that are not called for a reason, and not left over.

    Raises
    ------
    ManifestError
        Naming the slides of the manifest that have no scores and no state to excuse it.
    LeakError
        If a slide of a test cohort is one that the aggregator was fitted on.
    ModelError
        If the scores are of another model than the aggregator was fitted on.
    """
    _refuse_leaks(slides, aggregator)
    everyone, left_over = _to_call(scores, slides, states or {}, known)
    _mention(left_over, scores, "manifest" if slides else "ledger's finished ones")
    found = read_slide_scores(scores, everyone, aggregator.pooler, states or {})
    model = one_model(scores, [each.slide_id for each in found if each.state == "done"])
    if model is not None and aggregator.model_sha256 not in {None, model}:
        msg = (
            f"the scores in {scores} are of another model than the aggregator was fitted on, so "
            "its threshold does not apply: score with that model, or fit an aggregator again"
        )
        raise ModelError(msg)
    return [_call(slide, each, aggregator) for slide, each in zip(everyone, found, strict=True)]


def save_calls(folder: Path, calls: Sequence[Call], aggregator: Aggregator) -> None:
    """Write `calls.csv`, and beside it `patients.csv` by the aggregator's rule."""
    write_patients(folder / PATIENTS_FILE, roll_up(calls, aggregator))
    write_calls(folder / CALLS_FILE, calls)


def _to_call(
    scores: Path, slides: Sequence[Slide], states: Mapping[str, str], known: Collection[str]
) -> tuple[list[Slide], list[str]]:
    """Return the slides to call, and the ids of those whose scores are left over."""
    with_file = scored_ids(scores)
    if slides:
        named = {slide.slide_id for slide in slides} | set(known)
        return list(slides), [name for name in with_file if name not in named]
    called = [name for name in with_file if not states or states.get(name) == "done"]
    everyone = [Slide(name, scores_path(scores, name), name) for name in called]
    return everyone, [name for name in with_file if name not in {*called, *states, *known}]


def _mention(left_over: Sequence[str], scores: Path, of: str) -> None:
    if left_over:
        shown = ", ".join(left_over[:10])
        more = f" and {len(left_over) - 10} more" if len(left_over) > 10 else ""
        console().print(
            f"{scores} holds scores of slides that are not among the {of}; they are not called: "
            f"{shown}{more}",
            style="yellow",
        )


def _refuse_leaks(slides: Sequence[Slide], aggregator: Aggregator) -> None:
    tested, members = set(evaluated_cohorts(slides)), set(aggregator.fit_members)
    leaks = [s.slide_id for s in slides if s.split in tested and member_of(s) in members]
    if leaks:
        more = f" and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        msg = (
            f"the aggregator was fitted on slides that the manifest tests it on: "
            f"{', '.join(leaks[:10])}{more}; take them out of the test cohorts, or fit it on others"
        )
        raise LeakError(msg)


def _call(slide: Slide, found: SlideScore, aggregator: Aggregator) -> Call:
    score, threshold = found.score, aggregator.threshold
    if score is None:
        return Call(
            slide.slide_id, slide.patient_id, slide.split, None, None, None, None, 0, found.state
        )
    call = int(score >= threshold)
    calibration, abstention = aggregator.calibration, aggregator.abstention
    return Call(
        slide_id=slide.slide_id,
        patient_id=slide.patient_id,
        cohort=slide.split,
        score=score,
        call=call,
        threshold=threshold,
        confidence=(
            calibration.confidence(score, call) if calibration else confidence(score, threshold)
        ),
        n_tiles=found.n_tiles,
        state=found.state,
        probability=calibration.probability(score) if calibration else None,
        referred=int(abstention.refers(score, call)) if abstention else None,
    )
