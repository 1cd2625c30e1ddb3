"""Calls: every slide of the manifest gets a row, and every scored slide too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsi_specdec.aggregation.aggregator import Aggregator
from wsi_specdec.aggregation.scores import (
    SlideScore,
    one_model,
    read_slide_scores,
    scored_ids,
)
from wsi_specdec.aggregation.thresholds import confidence
from wsi_specdec.cohort import Slide
from wsi_specdec.errors import ModelError
from wsi_specdec.store.calls import Call
from wsi_specdec.store.scores import scores_path


def make_calls(
    scores: Path,
    slides: Sequence[Slide],
    aggregator: Aggregator,
    states: Mapping[str, str] | None = None,
) -> list[Call]:
    """Call each slide by the aggregator, unchanged.

    Parameters
    ----------
    scores
        Folder of `<slide_id>.parquet`.
    slides
        The manifest. Scored slides that it lacks are called too, after the others, as their own
        patient and without a cohort.
    aggregator
        Pooling and threshold.
    states
        Ledger state of each slide: why one has no tiles.

    Raises
    ------
    ManifestError
        Naming the slides of the manifest that have no scores and no state to excuse it.
    ModelError
        If the scores are of another model than the aggregator was fitted on.
    """
    everyone = [*slides, *_strangers(scores, slides)]
    found = read_slide_scores(scores, everyone, aggregator.pooler, states or {})
    model = one_model(scores, [each.slide_id for each in found if each.state == "done"])
    if model is not None and aggregator.model_sha256 not in {None, model}:
        msg = (
            f"the scores in {scores} are of another model than the aggregator was fitted on, so "
            "its threshold does not apply: score with that model, or fit an aggregator again"
        )
        raise ModelError(msg)
    threshold = aggregator.threshold
    return [_call(slide, each, threshold) for slide, each in zip(everyone, found, strict=True)]


def _strangers(scores: Path, slides: Sequence[Slide]) -> list[Slide]:
    known = {slide.slide_id for slide in slides}
    names = [name for name in scored_ids(scores) if name not in known]
    return [Slide(name, scores_path(scores, name), name) for name in names]


def _call(slide: Slide, found: SlideScore, threshold: float) -> Call:
    score = found.score
    return Call(
        slide_id=slide.slide_id,
        patient_id=slide.patient_id,
        cohort=slide.split,
        score=score,
        call=None if score is None else int(score >= threshold),
        threshold=None if score is None else threshold,
        confidence=None if score is None else confidence(score, threshold),
        n_tiles=found.n_tiles,
        state=found.state,
    )
