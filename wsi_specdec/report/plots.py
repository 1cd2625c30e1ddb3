"""Figures of calibration and of what is lost elsewhere: reliability diagrams and scatter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, WIDTH_IN, Drawing, draw, marker, style
from wsi_specdec.report.figures import Interval, arm_grid, label_edges
from wsi_specdec.report.reliability import BINS, Reliability

# Share of a panel's height that the tallest bar fills.
_BARS: Final = 0.2
_MARGIN: Final = 0.03
_LEGEND_IN: Final = 0.28


@dataclass(frozen=True)
class ScatterPoint:
    """One arm on the internal cohort (x) and on an external one (y), with its seeds."""

    arm: str
    cohort: str
    x: Interval
    y: Interval
    seeds: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ScatterPanel:
    """One metric."""

    title: str
    points: Sequence[ScatterPoint]


def draw_reliability(diagrams: Mapping[str, Reliability]) -> Drawing:
    """Draw observed shares over predicted probabilities, an arm a panel.

    Points with intervals lie on the diagonal where the probabilities are true; the bars below say
    how many of the tiles each bin holds.
    """
    with style():
        figure, axes = arm_grid(list(diagrams))
        label_edges(axes, "Predicted probability", "Observed share")
        for rank, (arm, diagram) in enumerate(diagrams.items()):
            _reliability_panel(axes[arm], diagram, LIGHT.colour(rank))
        return draw(figure)


def draw_scatter(panels: Sequence[ScatterPanel]) -> Drawing:
    """Draw external against internal values, a metric a panel, an arm a colour.

    Below the diagonal lies what is lost on other hospitals' slides. External cohorts are told
    apart by markers, and seeds are small and open.
    """
    with style():
        return draw(_scatter_figure(panels))


def _reliability_panel(axis: Axes, diagram: Reliability, colour: str) -> None:
    edges = np.linspace(0, 1, BINS + 1)
    axis.bar(
        edges[:-1],
        diagram.share * (_BARS / diagram.share.max()),
        width=1 / BINS,
        align="edge",
        color=LIGHT.faint,
        alpha=0.35,
        lw=0,
        zorder=1,
    )
    axis.plot([0, 1], [0, 1], color=LIGHT.faint, lw=0.9, ls=(0, (4, 3)), zorder=2)
    known = np.isfinite(diagram.observed)
    x = diagram.predicted[known]
    axis.vlines(x, diagram.low[known], diagram.high[known], color=colour, lw=1.6, zorder=3)
    axis.plot(x, diagram.observed[known], "o-", color=colour, lw=1, ms=4, zorder=4)


def _scatter_figure(panels: Sequence[ScatterPanel]) -> Figure:
    arms = list(dict.fromkeys(p.arm for panel in panels for p in panel.points))
    cohorts = list(dict.fromkeys(p.cohort for panel in panels for p in panel.points))
    entries = len(arms) + (len(cohorts) if len(cohorts) > 1 else 0)
    legend = _LEGEND_IN * -(-entries // 2) + 0.1
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    height = rows * (2.55 if columns == 2 else 4.2) + legend + 0.1
    figure = Figure(figsize=(WIDTH_IN, height))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.13, 0.52 / height, 0.97, 1 - (legend + 0.18) / height, 0.34, 0.3)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for index, panel in enumerate(panels):
        axis = axes.flat[index]
        _scatter_panel(axis, panel, arms, cohorts)
        if index % columns == 0:
            axis.set_ylabel("External")
        if index + columns >= len(panels):
            axis.set_xlabel("Internal")
    _scatter_legend(figure, arms, cohorts)
    return figure


def _scatter_panel(
    axis: Axes, panel: ScatterPanel, arms: Sequence[str], cohorts: Sequence[str]
) -> None:
    axis.set_title(panel.title, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
    low, high = _limits(panel.points)
    axis.plot([low, high], [low, high], color=LIGHT.faint, lw=0.9, ls=(0, (4, 3)), zorder=1)
    for point in panel.points:
        rank = arms.index(point.arm)
        # With one cohort there are markers left to tell arms apart by more than colour.
        shape = marker(cohorts.index(point.cohort) if len(cohorts) > 1 else rank)
        colour = LIGHT.colour(rank)
        x, y = point.x.value, point.y.value
        if x is None or y is None:
            continue
        if point.x.low is not None and point.x.high is not None:
            axis.plot([point.x.low, point.x.high], [y, y], color=colour, lw=1.2, alpha=0.6)
        if point.y.low is not None and point.y.high is not None:
            axis.plot([x, x], [point.y.low, point.y.high], color=colour, lw=1.2, alpha=0.6)
        if len(point.seeds) > 1:
            xs, ys = zip(*point.seeds, strict=True)
            axis.plot(xs, ys, shape, color=colour, ms=3.5, mfc="none", zorder=3)
        axis.plot(x, y, shape, color=colour, ms=7, zorder=4)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.locator_params(nbins=4)


def _limits(points: Sequence[ScatterPoint]) -> tuple[float, float]:
    """Least and greatest value that is drawn, the same for both axes, with a margin."""
    drawn = [v for p in points for i in (p.x, p.y) for v in (i.value, i.low, i.high)]
    drawn += [value for p in points for pair in p.seeds for value in pair]
    known = [value for value in drawn if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = max(_MARGIN, 0.06 * (high - low))
    return low - margin, high + margin


def _scatter_legend(figure: Figure, arms: Sequence[str], cohorts: Sequence[str]) -> None:
    axis = figure.axes[0]
    handles = [
        axis.plot([], [], _shape(rank, cohorts), color=LIGHT.colour(rank), label=arm)[0]
        for rank, arm in enumerate(arms)
    ]
    if len(cohorts) > 1:
        handles += [
            axis.plot([], [], marker(rank), color=LIGHT.faint, label=cohort)[0]
            for rank, cohort in enumerate(cohorts)
        ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=2, handletextpad=0.4
    )


def _shape(rank: int, cohorts: Sequence[str]) -> str:
    """Marker of an arm in the legend: of its own where cohorts do not take them."""
    return "o" if len(cohorts) > 1 else marker(rank)
