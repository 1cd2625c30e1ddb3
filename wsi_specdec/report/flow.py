"""Patient flow: how many slides and patients of each cohort are left after every step."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsi_specdec.cohort import Slide
from wsi_specdec.keys import TRAIN
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.report.tables import order_cohorts, title_of_cohort

NO_SPLIT = "no split"


@dataclass(frozen=True)
class FlowRow:
    """One cohort; a slide is left out for the first reason that holds, in this order.

    Attributes
    ----------
    slides, patients
        In the manifest.
    failed
        Slides that could not be tiled, or were skipped.
    empty
        Slides without tissue.
    uncalled
        Slides that have tiles but no call of every model; none in the training set.
    unlabelled
        Slides that were called but have no label of their own; none in the training set.
    used, used_patients, positives
        What is left: slides, their patients, and the slides that are positive.
    """

    title: str
    slides: int
    patients: int
    failed: int
    empty: int
    uncalled: int
    unlabelled: int
    used: int
    used_patients: int
    positives: int


def patient_flow(run: Run) -> list[FlowRow]:
    """Count the slides of each split of the manifest, and why they are not used."""
    groups: dict[str, list[Slide]] = {}
    for slide in run.slides.values():
        groups.setdefault(slide.split or NO_SPLIT, []).append(slide)
    return [_row(run, name, groups[name]) for name in order_cohorts(groups)]


def _row(run: Run, cohort: str, slides: Sequence[Slide]) -> FlowRow:
    judged = cohort not in {TRAIN, NO_SPLIT}
    reasons = [_reason(run, slide, judged=judged) for slide in slides]
    used = [slide for slide, reason in zip(slides, reasons, strict=True) if reason is None]
    return FlowRow(
        title=title_of_cohort(cohort),
        slides=len(slides),
        patients=len({slide.patient_id for slide in slides}),
        failed=reasons.count("failed"),
        empty=reasons.count("empty"),
        uncalled=reasons.count("uncalled"),
        unlabelled=reasons.count("unlabelled"),
        used=len(used),
        used_patients=len({slide.patient_id for slide in used}),
        positives=sum(slide.label == 1 for slide in used),
    )


def _reason(run: Run, slide: Slide, *, judged: bool) -> str | None:
    outcome = run.ledger.get(slide.slide_id)
    if outcome is None or outcome.state in {"failed", "skipped"}:
        return "failed"
    if outcome.state == "empty" or outcome.tiles == 0:
        return "empty"
    if not judged:
        return None
    if not all(_is_called(seed, slide) for seeds in run.arms.values() for seed in seeds):
        return "uncalled"
    return "unlabelled" if slide.label is None else None


def _is_called(seed: SeedFolder, slide: Slide) -> bool:
    call = seed.calls.get(slide.slide_id)
    return call is not None and call.call is not None
