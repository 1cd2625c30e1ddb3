"""Figures of a comparison: ROC curves and forest plots, legible at a phone's width."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsi_specdec.report.roc import GRID, RocCurve

_MARKERS: Final = ("o", "D", "s", "^", "v", "P")
_WIDTH_IN: Final = 4.6
# Heights within a forest plot.
_ROW_IN: Final = 0.3
_TITLE_IN: Final = 0.36
_LEGEND_IN: Final = 0.3
_AXIS_IN: Final = 0.52


@dataclass(frozen=True)
class Palette:
    """Colours of a figure on a light or a dark page; `series` are told apart by any vision."""

    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]

    def colours(self) -> tuple[str, ...]:
        """All of them, in an order that palettes share."""
        return (self.ink, self.faint, self.grid, *self.series)

    def colour(self, rank: int) -> str:
        """Colour of the series of a rank; they repeat when there are more than colours."""
        return self.series[rank % len(self.series)]


# After Okabe and Ito; on dark pages their lighter ones, and the others lightened.
LIGHT: Final = Palette(
    "#1b2430",
    "#5c6773",
    "#dde2e8",
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B07A00"),
)
DARK: Final = Palette(
    "#e6eaf0",
    "#9aa6b4",
    "#333d4a",
    ("#56B4E9", "#F08A4B", "#35C79B", "#E3A3C6", "#9AC7F0", "#E6B95C"),
)


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
class Drawing:
    """A figure as SVG, for light and for dark pages."""

    light: bytes
    dark: bytes


def draw_roc(curves: Mapping[str, RocCurve]) -> Drawing:
    """Draw the ROC curves of a cohort's arms, each in a panel of its own with its band.

    The other arms stand behind it in grey, so that curves are compared without their bands
    hiding one another.
    """
    with _style():
        return _draw(_roc_figure(curves))


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
    with _style():
        return _draw(_forest_figure(panels, reference, label))


def _draw(figure: Figure) -> Drawing:
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    light = out.getvalue().decode("utf-8")
    return Drawing(light.encode(), _recoloured(light).encode())


def _recoloured(svg: str) -> str:
    """Exchange each colour of the light palette for its counterpart; twice as fast as redrawing."""
    pairs = zip(LIGHT.colours(), DARK.colours(), strict=True)
    dark_of = {light.lower(): dark.lower() for light, dark in pairs}
    return re.sub("|".join(dark_of), lambda match: dark_of[match.group()], svg)


@contextmanager
def _style() -> Iterator[None]:
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": LIGHT.ink,
        "axes.labelcolor": LIGHT.ink,
        "axes.edgecolor": LIGHT.faint,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": LIGHT.faint,
        "ytick.color": LIGHT.faint,
        "xtick.labelcolor": LIGHT.ink,
        "ytick.labelcolor": LIGHT.ink,
        "grid.color": LIGHT.grid,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "svg.fonttype": "path",
        # The same figure gives the same bytes.
        "svg.hashsalt": "wsi_specdec",
    }
    with mpl.rc_context(settings):
        yield


def _roc_figure(curves: Mapping[str, RocCurve]) -> Figure:
    columns = 1 if len(curves) == 1 else 2
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(_WIDTH_IN, rows * (2.4 if columns == 2 else 4.1) + 0.35))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(0.13, 0.5 / figure.get_figheight(), 0.985, 0.96, 0.1, 0.16)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for index, (arm, curve) in enumerate(curves.items()):
        axis = axes.flat[index]
        others = [other for name, other in curves.items() if name != arm]
        _roc_panel(axis, curve, others, LIGHT.colour(index))
        axis.set_title(arm, loc="left", fontsize=10.5, fontweight="bold", color=LIGHT.ink)
        if index % columns == 0:
            axis.set_ylabel("Sensitivity")
        if index + columns >= len(curves):
            axis.set_xlabel("1 − specificity")
            axis.tick_params(labelbottom=True)
    return figure


def _roc_panel(axis: Axes, curve: RocCurve, others: Sequence[RocCurve], colour: str) -> None:
    axis.plot([0, 1], [0, 1], color=LIGHT.grid, lw=1, zorder=1)
    for other in others:
        axis.plot(*_steps(other), color=LIGHT.faint, alpha=0.45, lw=0.9, zorder=2)
    axis.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.2, lw=0, zorder=3)
    axis.plot(*_steps(curve), color=colour, lw=2, zorder=4)
    axis.text(0.97, 0.06, f"AUROC {curve.auroc:.3f}", ha="right", transform=axis.transAxes)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _steps(curve: RocCurve) -> tuple[Sequence[float], Sequence[float]]:
    """Points of the curve, started at the origin that the grid's first column steps over."""
    return [0.0, *GRID], [0.0, *curve.tpr]


def _forest_figure(panels: Sequence[Panel], reference: float | None, label: str) -> Figure:
    heights = [_ROW_IN * max(1, len(panel.rows)) for panel in panels]
    height = sum(heights) + _TITLE_IN * len(panels) + _LEGEND_IN + _AXIS_IN
    figure = Figure(figsize=(_WIDTH_IN, height))
    axes: list[Axes] = []
    top = height - _LEGEND_IN
    for tall in heights:
        top -= _TITLE_IN + tall
        place = (0.1, top / height, 0.87, tall / height)
        axes.append(figure.add_axes(place, sharex=axes[0] if axes else None))
    series = list(dict.fromkeys(n for p in panels for row in p.rows.values() for n in row))
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
    axis.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", pad=3)
    axis.grid(axis="x", zorder=0)
    axis.set_axisbelow(True)
    spread = np.linspace(-0.16, 0.16, len(series)) if len(series) > 1 else np.zeros(1)
    for rank, name in enumerate(series):
        colour = LIGHT.colour(rank)
        axis.plot([], [], _MARKERS[rank % len(_MARKERS)], color=colour, label=name)
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
    marker = _MARKERS[rank % len(_MARKERS)]
    axis.plot(point.value, place, marker, color=colour, ms=5.5, zorder=4)
