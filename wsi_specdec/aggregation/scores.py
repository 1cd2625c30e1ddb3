"""Slide scores from a folder of tile scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from wsi_specdec.aggregation.pooling import Pooler
from wsi_specdec.cohort import Slide
from wsi_specdec.errors import ManifestError, ModelError
from wsi_specdec.keys import MODEL_HASH, SCORES_SUFFIX
from wsi_specdec.store.calls import CallState, positive_scores
from wsi_specdec.store.scores import read_scores_metadata, scores_path

# Ledger states that explain why a slide has no scores.
_EXCUSED: Final = frozenset({"empty", "failed", "skipped"})


@dataclass(frozen=True, slots=True)
class SlideScore:
    """A slide's pooled score, or why it has none.

    Attributes
    ----------
    slide_id
        The slide.
    score
        In [0, 1]; None where `state` is not `done`.
    n_tiles
        Tiles pooled.
    state
        `done`, `empty`, `failed` or `skipped`.
    """

    slide_id: str
    score: float | None
    n_tiles: int
    state: CallState


def scored_ids(scores: Path) -> list[str]:
    """Return the ids of the slides that have a file in a folder of scores, sorted."""
    names = (path.stem for path in scores.glob(f"*{SCORES_SUFFIX}"))
    return sorted(name for name in names if not name.startswith("."))


def one_model(scores: Path, slide_ids: Sequence[str]) -> str | None:
    """Return the model that the scores of these slides name, or None where they name none.

    Raises
    ------
    ModelError
        If they name several.
    """
    files = [scores_path(scores, slide_id) for slide_id in slide_ids]
    models = {read_scores_metadata(path).get(MODEL_HASH) for path in files} - {None}
    if len(models) > 1:
        msg = f"{scores} holds scores of {len(models)} models; score all slides with one again"
        raise ModelError(msg)
    return next(map(str, models), None)


def read_slide_scores(
    scores: Path, slides: Sequence[Slide], pooler: Pooler, states: Mapping[str, str]
) -> list[SlideScore]:
    """Pool the tiles of each slide, in the order given.

    A slide that the ledger says is empty or failed gets no score even where a file of an earlier
    run is left.

    Raises
    ------
    ManifestError
        Naming the slides that have no scores and no state to excuse it.
    """
    with_file = set(scored_ids(scores))
    unexplained = [
        slide
        for slide in slides
        if slide.slide_id not in with_file and states.get(slide.slide_id) not in _EXCUSED
    ]
    if unexplained:
        _refuse(unexplained, scores)
    found = []
    for slide in slides:
        state = states.get(slide.slide_id, "done")
        if state in {"empty", "failed"} or slide.slide_id not in with_file:
            found.append(SlideScore(slide.slide_id, None, 0, cast("CallState", state)))
        else:
            found.append(_pooled(scores_path(scores, slide.slide_id), pooler))
    return found


def _pooled(path: Path, pooler: Pooler) -> SlideScore:
    _, probabilities = positive_scores(path)
    score = pooler(probabilities)
    state: CallState = "empty" if score is None else "done"
    return SlideScore(path.stem, score, probabilities.size, state)


def _refuse(slides: Sequence[Slide], scores: Path) -> None:
    labelled = "labelled " if any(slide.label is not None for slide in slides) else ""
    shown = ", ".join(slide.slide_id for slide in slides[:10])
    more = f" and {len(slides) - 10} more" if len(slides) > 10 else ""
    msg = (
        f"{labelled}slides with no scores in {scores}: {shown}{more}; "
        "run `wsi-specdec score` on them, or take them out of the manifest"
    )
    raise ManifestError(msg)
