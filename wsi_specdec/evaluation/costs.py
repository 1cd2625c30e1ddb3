"""What an arm cost beside what it found: seconds and gigabytes for each slide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_specdec.cohort import Slide
from wsi_specdec.evaluation.runs import Evaluated
from wsi_specdec.evaluation.units import Stores
from wsi_specdec.store.scores import scores_path

_GIGABYTE = 1e9


def with_costs(
    cost: Mapping[str, Any], arm: str, slides: Sequence[Slide], evaluated: Evaluated, stores: Stores
) -> dict[str, Any]:
    """Add to an arm's cost what a slide takes: seconds to score, gigabytes of tiles and of scores.

    Parameters
    ----------
    cost
        What the arm took as a whole: `score_seconds` of a seed, `stain_seconds` of all slides.
    arm, evaluated
        The arm, and the runs.
    slides
        The slides that were evaluated.
    stores
        Tile stores by slide; those that lie nowhere on disk take no space.

    Returns
    -------
    `cost`, and of these what can be known: `seconds_per_slide`, `scores_gb_per_slide`,
    `tiles_gb_per_slide`.
    """
    scored = [slide for slide in slides if slide.slide_id in evaluated.called]
    out = dict(cost)
    if not scored:
        return out
    if "score_seconds" in cost:
        per_slide = float(cost["score_seconds"]) / len(scored)
        if stores:
            per_slide += float(cost.get("stain_seconds", 0.0)) / len(stores)
        out["seconds_per_slide"] = round(per_slide, 4)
    runs = evaluated.runs[arm]
    written = sum(_size(scores_path(run.scores, s.slide_id)) for run in runs for s in scored)
    out["scores_gb_per_slide"] = _gigabytes(written / (len(scored) * len(runs)))
    paths = [getattr(stores.get(slide.slide_id), "path", None) for slide in scored]
    kept = [_size(path) for path in paths if path is not None]
    if kept:
        out["tiles_gb_per_slide"] = _gigabytes(sum(kept) / len(kept))
    return out


def _gigabytes(size: float) -> float:
    return round(size / _GIGABYTE, 6)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder; 0 where there is none."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size if path.is_file() else 0
