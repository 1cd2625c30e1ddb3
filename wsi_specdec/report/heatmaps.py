"""The heatmap files of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wsi_specdec.keys import TRAIN, VALIDATION
from wsi_specdec.progress import progress
from wsi_specdec.report.heatmap import write_heatmap
from wsi_specdec.report.images import fit
from wsi_specdec.report.run import Run, SeedFolder

_MAX_PX: Final = 640


def write_heatmaps(run: Run) -> list[Path]:
    """Write a heatmap for each test slide with tiles, of every arm's first seed.

    A run without truth (`process`) gets one for each of its slides, a run on packed images none:
    an image has one score.

    Raises
    ------
    RunDirectoryError, StoreError
        If a slide's thumbnail, store or scores are missing.
    """
    if run.images is not None:
        return []
    folders = [seeds[0] for seeds in run.arms.values() if seeds]
    chosen = [slide_id for slide_id in run.slides if is_shown(run, slide_id)]
    written: list[Path] = []
    with progress("heatmaps", len(chosen)) as tick:
        for slide_id in chosen:
            written += _write_slide(run, slide_id, folders)
            tick()
    return written


def is_shown(run: Run, slide_id: str) -> bool:
    """Tell whether a slide has tile scores that are worth a picture."""
    outcome = run.ledger.get(slide_id)
    if outcome is None or outcome.state != "done" or outcome.tiles == 0:
        return False
    return run.results is None or run.slides[slide_id].split not in {None, TRAIN, VALIDATION}


def _write_slide(run: Run, slide_id: str, folders: Sequence[SeedFolder]) -> list[Path]:
    thumbnail = fit(run.thumbnail(slide_id), _MAX_PX)
    layout = run.layout(slide_id)
    for folder in folders:
        coords, scores = folder.tile_scores(slide_id)
        path = folder.heatmap(slide_id)
        write_heatmap(path, thumbnail, layout.level0, coords, scores, layout.tile_size)
    return [folder.heatmap(slide_id) for folder in folders]
