"""The figures of a comparison: what is drawn, said and written to `figures/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsi_specdec.cohort import Slide
from wsi_specdec.files import write_bytes
from wsi_specdec.keys import FIGURES_DIR, TRAIN, VALIDATION
from wsi_specdec.report.figures import Drawing, Interval, Panel, draw_forest, draw_roc
from wsi_specdec.report.roc import RocCurve, roc_curve
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.report.tables import (
    HEADLINE,
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


@dataclass(frozen=True)
class ReportFigure:
    """A drawing with its file name, heading, caption and text alternative."""

    name: str
    title: str
    caption: str
    alt: str
    drawing: Drawing


def make_figures(run: Run, results: Mapping[str, Any], confidence: float) -> list[ReportFigure]:
    """Draw the ROC curves of each test cohort, and forest plots of metrics and differences."""
    cohorts = [
        name for name in order_cohorts(results["cohorts"]) if name not in {TRAIN, VALIDATION}
    ]
    figures = [
        figure for cohort in cohorts if (figure := _roc_figure(run, cohort, confidence)) is not None
    ]
    figures.append(_metrics_figure(results, cohorts, confidence))
    if (differences := _differences_figure(results, cohorts, confidence)) is not None:
        figures.append(differences)
    return figures


def write_figures(run: Run, figures: Sequence[ReportFigure]) -> None:
    """Write the figures, as they look on a light page, to the run's `figures/`."""
    for figure in figures:
        write_bytes(run.path / FIGURES_DIR / f"{figure.name}.svg", figure.drawing.light)


def _roc_figure(run: Run, cohort: str, confidence: float) -> ReportFigure | None:
    slides = [s for s in run.slides.values() if s.split == cohort and s.label is not None]
    found = {arm: _curve(slides, seeds, confidence) for arm, seeds in run.arms.items()}
    curves = {arm: curve for arm, curve in found.items() if curve is not None}
    if not curves:
        return None
    areas = ", ".join(f"{arm} {curve.auroc:.3f}" for arm, curve in curves.items())
    seeds = max(curve.seeds for curve in curves.values())
    mean = f" The curve is the mean over {seeds} seeds." if seeds > 1 else ""
    return ReportFigure(
        name=f"roc_{cohort}",
        title=f"ROC, {title_of_cohort(cohort).lower()} cohort",
        caption=(
            f"Slide scores against slide labels.{mean} Band: pointwise {percent(confidence)} "
            "bootstrap interval over patients. Grey: the other arms."
        ),
        alt=f"ROC curves of the {cohort} cohort. Area under the curve: {areas}.",
        drawing=draw_roc(curves),
    )


def _curve(
    slides: Sequence[Slide], seeds: Sequence[SeedFolder], confidence: float
) -> RocCurve | None:
    """Curve over the slides that every seed gave a score."""
    calls = [{s.slide_id: seed.call(s.slide_id) for s in slides} for seed in seeds]
    scored = [s for s in slides if all(c[s.slide_id].score is not None for c in calls)]
    if not scored or not calls:
        return None
    return roc_curve(
        np.array([slide.label for slide in scored], dtype=np.int64),
        [np.array([c[s.slide_id].score for s in scored], dtype=np.float64) for c in calls],
        [slide.patient_id for slide in scored],
        confidence,
    )


def _metrics_figure(
    results: Mapping[str, Any], cohorts: Sequence[str], confidence: float
) -> ReportFigure:
    panels = [
        Panel(
            metric.title,
            {
                arm: {
                    title_of_cohort(c): _interval(metric_of(results, arm, c, metric), "value")
                    for c in cohorts
                }
                for arm in results["arms"]
            },
        )
        for metric in HEADLINE
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
    )


def _differences_figure(
    results: Mapping[str, Any], cohorts: Sequence[str], confidence: float
) -> ReportFigure | None:
    panels: dict[str, dict[str, dict[str, Interval]]] = {}
    said = []
    for d in sorted_differences(results):
        if d["cohort"] not in cohorts:
            continue
        metric = title_of_metric(d["unit"], d["metric"])
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
    )


def _interval(values: Mapping[str, Any], key: str) -> Interval:
    return Interval(values.get(key), values.get("ci_low"), values.get("ci_high"))


def _said(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
