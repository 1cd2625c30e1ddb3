"""Figures of a comparison: curves, forest plots, reliability, scatter; legible on a phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, WIDTH_IN, Drawing, draw, marker, style
from wsi_specdec.report.roc import GRID, Curve

# Heights within a forest plot.
_ROW_IN: Final = 0.3
_TITLE_IN: Final = 0.36
_LEGEND_IN: Final = 0.3
_AXIS_IN: Final = 0.52


@dataclass(frozen=True)
class Interval:
    """One point of a forest plot with its interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Panel:
    """One group of a forest plot: for each row, a point per series."""

    title: str
    rows: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class CurveKind:
    """What a curve shows: names of its axes and of its area, and how it begins and rests.

    Attributes
    ----------
    start
        Value at 0 from which a step rises to the grid's first column; None draws none.
    chance
        Ends (x, y) of the line of a model that knows nothing.
    text_at
        Where the area is written: x, y as shares of the panel.
    """

    x: str
    y: str
    area: str
    start: float | None
    chance: tuple[tuple[float, float], tuple[float, float]]
    text_at: tuple[float, float]


def draw_roc(curves: Mapping[str, Curve]) -> Drawing:
    """Draw the ROC curves of a cohort's arms, each in a panel of its own with its band.

    The other arms stand behind it in grey, so that curves are compared without their bands
    hiding one another.
    """
    diagonal = ((0.0, 0.0), (1.0, 1.0))
    kind = CurveKind("1 − specificity", "Sensitivity", "AUROC", 0.0, diagonal, (0.97, 0.06))
    with style():
        return draw(_curves_figure(curves, kind))


def draw_pr(curves: Mapping[str, Curve], prevalence: float) -> Drawing:
    """Draw precision over recall as `draw_roc` does, with a line at the share of positives."""
    flat = ((0.0, prevalence), (1.0, prevalence))
    kind = CurveKind("Recall (sensitivity)", "Precision", "AP", None, flat, (0.97, 0.06))
    with style():
        return draw(_curves_figure(curves, kind))


def draw_forest(panels: Sequence[Panel], reference: float | None, label: str) -> Drawing:
    """Draw points with intervals, a panel per metric, a row per arm, a marker per cohort.

    Parameters
    ----------
    panels
        What is drawn, top to bottom.
    reference
        Value at which a line stands, such as no difference; None draws none.
    label
        What the horizontal axis shows.
    """
    with style():
        return draw(_forest_figure(panels, reference, label))


def arm_grid(names: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Lay out a square panel per arm, over the unit square, two a row; titles and ticks set."""
    columns = 1 if len(names) == 1 else 2
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH_IN, rows * (2.4 if columns == 2 else 4.1) + 0.35))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(0.13, 0.5 / figure.get_figheight(), 0.985, 0.96, 0.1, 0.16)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for index, name in enumerate(names):
        axis = axes.flat[index]
        axis.set_title(name, loc="left", fontsize=TITLE_SIZE, fontweight="bold", color=LIGHT.ink)
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.tick_params(labelbottom=index + columns >= len(names))
    return figure, dict(zip(names, axes.flat, strict=False))


def label_edges(axes: Mapping[str, Axes], x: str, y: str) -> None:
    """Name the axes of `arm_grid` once, at its left and at its bottom."""
    columns = 1 if len(axes) == 1 else 2
    for index, axis in enumerate(axes.values()):
        if index % columns == 0:
            axis.set_ylabel(y)
        if index + columns >= len(axes):
            axis.set_xlabel(x)


def _curves_figure(curves: Mapping[str, Curve], kind: CurveKind) -> Figure:
    figure, axes = arm_grid(list(curves))
    label_edges(axes, kind.x, kind.y)
    for rank, (arm, curve) in enumerate(curves.items()):
        others = [other for name, other in curves.items() if name != arm]
        _curve_panel(axes[arm], curve, others, kind, LIGHT.colour(rank))
    return figure


def _curve_panel(
    axis: Axes, curve: Curve, others: Sequence[Curve], kind: CurveKind, colour: str
) -> None:
    (x0, y0), (x1, y1) = kind.chance
    axis.plot([x0, x1], [y0, y1], color=LIGHT.grid, lw=1, zorder=1)
    for other in others:
        axis.plot(*_steps(other, kind), color=LIGHT.faint, alpha=0.45, lw=0.9, zorder=2)
    axis.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.2, lw=0, zorder=3)
    axis.plot(*_steps(curve, kind), color=colour, lw=2, zorder=4)
    x, y = kind.text_at
    axis.text(x, y, f"{kind.area} {curve.area:.3f}", ha="right", transform=axis.transAxes)


def _steps(curve: Curve, kind: CurveKind) -> tuple[Sequence[float], Sequence[float]]:
    """Points of the curve, started where the grid's first column may step over."""
    if kind.start is None:
        return list(GRID), list(curve.values)
    return [0.0, *GRID], [kind.start, *curve.values]


def _forest_figure(panels: Sequence[Panel], reference: float | None, label: str) -> Figure:
    heights = [_ROW_IN * max(1, len(panel.rows)) for panel in panels]
    series = list(dict.fromkeys(n for p in panels for row in p.rows.values() for n in row))
    legend = _LEGEND_IN * -(-len(series) // 3)
    height = sum(heights) + _TITLE_IN * len(panels) + legend + _AXIS_IN
    figure = Figure(figsize=(WIDTH_IN, height))
    axes: list[Axes] = []
    top = height - legend
    for tall in heights:
        top -= _TITLE_IN + tall
        place = (0.1, top / height, 0.87, tall / height)
        axes.append(figure.add_axes(place, sharex=axes[0] if axes else None))
    for axis, panel in zip(axes, panels, strict=True):
        _forest_panel(axis, panel, series)
        if reference is not None:
            axis.axvline(reference, color=LIGHT.ink, lw=1, zorder=1)
    _make_room_for_labels(figure, axes)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    axes[-1].set_xlabel(label)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0, 1), ncols=3, handletextpad=0.4
    )
    return figure


def _make_room_for_labels(figure: Figure, axes: Sequence[Axes]) -> None:
    """Move the left edges to where the longest row label ends, but not beyond the middle."""
    FigureCanvasAgg(figure)
    labels = [label for axis in axes for label in axis.get_yticklabels()]
    widest = max((label.get_window_extent().width for label in labels), default=0.0)
    left = min(0.5, widest / figure.bbox.width + 0.03)
    for axis in axes:
        box = axis.get_position()
        axis.set_position((left, box.y0, 0.97 - left, box.height))


def _forest_panel(axis: Axes, panel: Panel, series: Sequence[str]) -> None:
    axis.set_title(panel.title, loc="left", fontsize=TITLE_SIZE, fontweight="bold", pad=3)
    axis.grid(axis="x", zorder=0)
    axis.set_axisbelow(True)
    spread = np.linspace(-0.16, 0.16, len(series)) if len(series) > 1 else np.zeros(1)
    for rank, name in enumerate(series):
        axis.plot([], [], marker(rank), color=LIGHT.colour(rank), label=name)
        for place, row in enumerate(panel.rows.values()):
            _forest_point(axis, row.get(name), place + spread[rank], rank)
    axis.set_yticks(range(len(panel.rows)), list(panel.rows))
    axis.set_ylim(max(1, len(panel.rows)) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", length=0)
    axis.spines["left"].set_visible(False)
    axis.spines["bottom"].set_color(LIGHT.grid)


def _forest_point(axis: Axes, point: Interval | None, place: float, rank: int) -> None:
    if point is None or point.value is None:
        return
    colour = LIGHT.colour(rank)
    if point.low is not None and point.high is not None:
        axis.plot([point.low, point.high], [place, place], color=colour, lw=1.6, zorder=3)
    axis.plot(point.value, place, marker(rank), color=colour, ms=5.5, zorder=4)
