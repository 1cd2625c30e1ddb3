"""Which slides of a folder of tile scores there are, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from wsi_specdec.aggregation.tiles import SlideTiles, read_tiles
from wsi_specdec.cohort import Slide
from wsi_specdec.errors import ManifestError, ModelError
from wsi_specdec.keys import MODEL_HASH, SCORES_SUFFIX
from wsi_specdec.store.calls import CallState
from wsi_specdec.store.scores import read_scores_metadata, scores_path

# Ledger states of slides that have no scores, or only those of an earlier run.
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
    scores: Path,
    slides: Sequence[Slide],
    pool: Callable[[SlideTiles], float | None],
    states: Mapping[str, str],
) -> list[SlideScore]:
    """Pool the tiles of each slide, in the order given.

    A slide that the ledger says is empty, failed or skipped gets no score even where a file of an
    earlier run is left: what it holds is not what became of the slide now.

    Raises
    ------
    ManifestError
        Naming the slides that have no scores and no state to excuse it.
    """
    refuse_unscored(scores, slides, states)
    return [_scored(scores, slide, pool, states) for slide in slides]


def with_scores(slides: Sequence[Slide], states: Mapping[str, str]) -> list[Slide]:
    """Return the slides that the ledger does not excuse from having scores."""
    return [slide for slide in slides if states.get(slide.slide_id) not in _EXCUSED]


def refuse_unscored(scores: Path, slides: Sequence[Slide], states: Mapping[str, str]) -> None:
    """Refuse slides that have no scores and no state to excuse it.

    Raises
    ------
    ManifestError
        Naming them.
    """
    with_file = set(scored_ids(scores))
    lacking = [s for s in with_scores(slides, states) if s.slide_id not in with_file]
    if not lacking:
        return
    labelled = "labelled " if any(slide.label is not None for slide in lacking) else ""
    shown = ", ".join(slide.slide_id for slide in lacking[:10])
    more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
    msg = (
        f"{labelled}slides with no scores in {scores}: {shown}{more}; "
        "run `wsi-specdec score` on them, or take them out of the manifest"
    )
    raise ManifestError(msg)


def _scored(
    scores: Path,
    slide: Slide,
    pool: Callable[[SlideTiles], float | None],
    states: Mapping[str, str],
) -> SlideScore:
    state = states.get(slide.slide_id)
    if state in _EXCUSED:
        return SlideScore(slide.slide_id, None, 0, cast("CallState", state))
    tiles = read_tiles(scores_path(scores, slide.slide_id))
    score = pool(tiles)
    return SlideScore(
        slide.slide_id, score, tiles.probabilities.size, "empty" if score is None else "done"
    )
