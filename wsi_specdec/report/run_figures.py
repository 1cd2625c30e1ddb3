"""The figures of a comparison: what is drawn, said and written to `figures/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.files import write_bytes
from wsi_specdec.keys import EXTERNAL, FIGURES_DIR, INTERNAL, TRAIN, UNKNOWN_LABEL, VALIDATION
from wsi_specdec.report.drawing import Drawing
from wsi_specdec.report.figures import Interval, Panel, draw_forest, draw_pr, draw_roc
from wsi_specdec.report.heatmaps import is_shown
from wsi_specdec.report.plots import ScatterPanel, ScatterPoint, draw_reliability, draw_scatter
from wsi_specdec.report.reliability import Reliability, Tally
from wsi_specdec.report.roc import Curve, pr_curve, roc_curve
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.report.tables import (
    HEADLINE,
    Metric,
    headline,
    metric_of,
    order_cohorts,
    pair_name,
    percent,
    signed,
    signed_interval,
    sorted_differences,
    title_of_cohort,
    title_of_metric,
)
from wsi_specdec.report.wording import Wording

# What is lost outside is shown for these, as far as they are there.
_SCATTERED: Final = (HEADLINE[1], HEADLINE[4])


@dataclass(frozen=True)
class ReportFigure:
    """A drawing with its file name, heading, caption and text alternative."""

    name: str
    title: str
    caption: str
    alt: str
    drawing: Drawing
    # Taller than wide: printed, it needs a page.
    tall: bool = False


@dataclass(frozen=True)
class _Scores:
    """A cohort's slides that every seed of an arm gave a score."""

    labels: NDArray[np.int64]
    scores: Sequence[NDArray[np.float64]]
    patients: Sequence[str]


def make_figures(run: Run, results: Mapping[str, Any], confidence: float) -> list[ReportFigure]:
    """Draw each test cohort's curves and calibration, and forest plots and scatter of metrics."""
    cohorts = [
        name for name in order_cohorts(results["cohorts"]) if name not in {TRAIN, VALIDATION}
    ]
    figures = [
        figure
        for cohort in cohorts
        for figure in (
            *_curve_figures(run, cohort, confidence),
            _reliability_figure(run, cohort, confidence),
        )
        if figure is not None
    ]
    say = run.wording
    figures.append(_metrics_figure(results, cohorts, confidence, say))
    extra = (
        _differences_figure(results, cohorts, confidence, say),
        _scatter_figure(results, cohorts, confidence, say),
    )
    return [*figures, *(figure for figure in extra if figure is not None)]


def write_figures(run: Run, figures: Sequence[ReportFigure]) -> None:
    """Write the figures, as they look on a light page, to the run's `figures/`."""
    for figure in figures:
        write_bytes(run.path / FIGURES_DIR / f"{figure.name}.svg", figure.drawing.light)


def _curve_figures(run: Run, cohort: str, confidence: float) -> list[ReportFigure]:
    """ROC and precision-recall curves; none where slides are of one class."""
    slides = [s for s in run.slides.values() if s.split == cohort and s.label is not None]
    scored = {arm: _scores(slides, seeds) for arm, seeds in run.arms.items()}
    known = {arm: each for arm, each in scored.items() if each is not None}
    args = {arm: (each.labels, each.scores, each.patients) for arm, each in known.items()}
    roc = _there({arm: roc_curve(*each, confidence) for arm, each in args.items()})
    pr = _there({arm: pr_curve(*each, confidence) for arm, each in args.items()})
    if not roc:
        return []
    prevalence = float(np.mean([slide.label == 1 for slide in slides]))
    band = f"Band: pointwise {percent(confidence)} bootstrap interval over patients."
    mean = _mean_over(max(curve.seeds for curve in roc.values()))
    where, title = f"{cohort} cohort", f"{title_of_cohort(cohort).lower()} cohort"
    return [
        ReportFigure(
            name=f"roc_{cohort}",
            title=f"ROC, {title}",
            caption=f"Slide scores against slide labels.{mean} {band} Grey: the other arms.",
            alt=f"ROC curves of the {where}. Area under the curve: {_areas(roc)}.",
            drawing=draw_roc(roc),
        ),
        ReportFigure(
            name=f"pr_{cohort}",
            title=f"Precision and recall, {title}",
            caption=(
                f"Slide scores against slide labels.{mean} {band} Line: the share of positive "
                f"slides, {percent(round(prevalence, 3))}, which chance reaches."
            ),
            alt=(f"Precision-recall curves of the {where}. Average precision (AP): {_areas(pr)}."),
            drawing=draw_pr(pr, prevalence),
        ),
    ]


def _there(curves: Mapping[str, Curve | None]) -> dict[str, Curve]:
    return {arm: curve for arm, curve in curves.items() if curve is not None}


def _areas(curves: Mapping[str, Curve]) -> str:
    return ", ".join(f"{arm} {curve.area:.3f}" for arm, curve in curves.items())


def _mean_over(seeds: int) -> str:
    return f" The curve is the mean over {seeds} seeds." if seeds > 1 else ""


def _scores(slides: Sequence[Slide], seeds: Sequence[SeedFolder]) -> _Scores | None:
    calls = [{s.slide_id: seed.call(s.slide_id) for s in slides} for seed in seeds]
    scored = [s for s in slides if all(c[s.slide_id].score is not None for c in calls)]
    if not scored or not calls:
        return None
    return _Scores(
        np.array([slide.label for slide in scored], dtype=np.int64),
        [np.array([c[s.slide_id].score for s in scored], dtype=np.float64) for c in calls],
        [slide.patient_id for slide in scored],
    )


def _reliability_figure(run: Run, cohort: str, confidence: float) -> ReportFigure | None:
    """Tile probabilities against tile labels; None where no tile has a label."""
    slides = [s for s in run.slides.values() if s.split == cohort and is_shown(run, s.slide_id)]
    found = {arm: _reliability(run, slides, seeds, confidence) for arm, seeds in run.arms.items()}
    diagrams = {arm: each for arm, each in found.items() if each is not None}
    if not diagrams:
        return None
    said = "; ".join(f"{arm}: {_said_bins(each)}" for arm, each in diagrams.items())
    return ReportFigure(
        name=f"reliability_{cohort}",
        title=f"Calibration of tiles, {title_of_cohort(cohort).lower()} cohort",
        caption=(
            "Share of tiles with tumour among those of a predicted probability, all seeds "
            f"together, with {percent(confidence)} bootstrap intervals over patients; bars: where "
            "the tiles are. On the dashed line probabilities are true."
        ),
        alt=f"Reliability diagrams of the {cohort} cohort. Observed at predicted: {said}.",
        drawing=draw_reliability(diagrams),
    )


def _reliability(
    run: Run, slides: Sequence[Slide], seeds: Sequence[SeedFolder], confidence: float
) -> Reliability | None:
    tally = Tally()
    for slide in slides:
        for seed in seeds:
            coords, scores = seed.tile_scores(slide.slide_id)
            _, labels = run.tile_labels(slide.slide_id, coords)
            known = labels != UNKNOWN_LABEL
            if known.any():
                positive = (labels[known] > 0).astype(np.int64)
                tally.add(slide.patient_id, positive, scores[known])
    return tally.reliability(confidence)


def _said_bins(diagram: Reliability) -> str:
    pairs = zip(diagram.predicted, diagram.observed, strict=True)
    return ", ".join(f"{o:.2f} at {p:.2f}" for p, o in pairs if np.isfinite(o))


def _metrics_figure(
    results: Mapping[str, Any], cohorts: Sequence[str], confidence: float, say: Wording
) -> ReportFigure:
    panels = [
        Panel(
            say(metric.title),
            {
                arm: {
                    title_of_cohort(c): _interval(metric_of(results, arm, c, metric), "value")
                    for c in cohorts
                }
                for arm in results["arms"]
            },
        )
        for metric in headline(results)
    ]
    said = "; ".join(
        f"{panel.title}: "
        + ", ".join(
            f"{arm} {_said(point.value)} {name.lower()}"
            for arm, points in panel.rows.items()
            for name, point in points.items()
        )
        for panel in panels
    )
    return ReportFigure(
        name="metrics",
        title="Metrics by arm and cohort",
        caption=f"Points are values, lines {percent(confidence)} intervals.",
        alt=f"Forest plot of metrics. {said}.",
        drawing=draw_forest(panels, None, "Value"),
        tall=True,
    )


def _differences_figure(
    results: Mapping[str, Any], cohorts: Sequence[str], confidence: float, say: Wording
) -> ReportFigure | None:
    panels: dict[str, dict[str, dict[str, Interval]]] = {}
    said = []
    for d in sorted_differences(results):
        if d["cohort"] not in cohorts:
            continue
        metric = say(title_of_metric(d["unit"], d["metric"]))
        pair, cohort = pair_name(d), title_of_cohort(d["cohort"])
        panels.setdefault(metric, {}).setdefault(pair, {})[cohort] = _interval(d, "delta")
        bounds = signed_interval(d.get("ci_low"), d.get("ci_high"))
        said.append(f"{metric}, {pair}, {cohort.lower()}: {signed(d['delta'])} ({bounds})")
    if not panels:
        return None
    return ReportFigure(
        name="differences",
        title="Differences between arms",
        caption=(
            f"On the same slides, with {percent(confidence)} intervals; right of the line the "
            "first arm is higher."
        ),
        alt=f"Forest plot of differences between arms. {'; '.join(said)}.",
        drawing=draw_forest([Panel(*each) for each in panels.items()], 0.0, "Difference"),
        tall=True,
    )


def _scatter_figure(
    results: Mapping[str, Any], cohorts: Sequence[str], confidence: float, say: Wording
) -> ReportFigure | None:
    """External against internal values; None where one of the two is not there."""
    outside = [name for name in cohorts if name.startswith(EXTERNAL)]
    if INTERNAL not in cohorts or not outside:
        return None
    panels = [
        ScatterPanel(say(metric.title), points)
        for metric in _SCATTERED
        if (points := _scatter_points(results, outside, metric))
    ]
    if not panels:
        return None
    said = "; ".join(
        f"{panel.title}, {p.arm}: internal {_said(p.x.value)}, "
        f"{p.cohort.lower()} {_said(p.y.value)}"
        for panel in panels
        for p in panel.points
    )
    seeds = any(len(p.seeds) > 1 for panel in panels for p in panel.points)
    return ReportFigure(
        name="external_internal",
        title="External against internal",
        caption=(
            f"Lines are {percent(confidence)} intervals"
            + (", small open markers single seeds" if seeds else "")
            + ". Below the dashed line lies what is lost on slides of other hospitals."
        ),
        alt=f"Scatter of external against internal values. {said}.",
        drawing=draw_scatter(panels),
    )


def _scatter_points(
    results: Mapping[str, Any], outside: Sequence[str], metric: Metric
) -> list[ScatterPoint]:
    points = []
    for arm in results["arms"]:
        x = metric_of(results, arm, INTERNAL, metric)
        for cohort in outside:
            y = metric_of(results, arm, cohort, metric)
            if x.get("value") is None or y.get("value") is None:
                continue
            pairs = zip(x.get("per_seed") or (), y.get("per_seed") or (), strict=False)
            seeds = [(a, b) for a, b in pairs if a is not None and b is not None]
            place = _interval(x, "value"), _interval(y, "value")
            points.append(ScatterPoint(arm, title_of_cohort(cohort), *place, seeds))
    return points


def _interval(values: Mapping[str, Any], key: str) -> Interval:
    return Interval(values.get(key), values.get("ci_low"), values.get("ci_high"))


def _said(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
