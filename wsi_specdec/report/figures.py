"""Figures of a comparison: ROC curves and forest plots, legible at a phone's width."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsi_specdec.report.roc import GRID, RocCurve

# Okabe and Ito's colours, which any colour vision tells apart; yellow is too pale for lines.
_ARM_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS: Final = ("o", "D", "s", "^", "v", "P")
_WIDTH_IN: Final = 5.2


@dataclass(frozen=True)
class Palette:
    """Ink of a figure on a light or a dark page."""

    ink: str
    faint: str
    grid: str


LIGHT: Final = Palette("#1b2430", "#5c6773", "#dde2e8")
DARK: Final = Palette("#e6eaf0", "#9aa6b4", "#333d4a")


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
    return _both(lambda palette: _roc_figure(curves, palette))


def draw_forest(
    panels: Sequence[Panel], reference: float | None, label: str
) -> Drawing:
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
    return _both(lambda palette: _forest_figure(panels, reference, label, palette))


def _both(draw: Callable[[Palette], Figure]) -> Drawing:
    return Drawing(_svg(draw, LIGHT), _svg(draw, DARK))


def _svg(draw: Callable[[Palette], Figure], palette: Palette) -> bytes:
    with _style(palette):
        figure = draw(palette)
        FigureCanvasAgg(figure)
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


@contextmanager
def _style(palette: Palette) -> Iterator[None]:
    settings = {
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.faint,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": palette.faint,
        "ytick.color": palette.faint,
        "xtick.labelcolor": palette.ink,
        "ytick.labelcolor": palette.ink,
        "grid.color": palette.grid,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "svg.fonttype": "path",
        # The same figure gives the same bytes.
        "svg.hashsalt": "wsi_specdec",
    }
    with mpl.rc_context(settings):
        yield


def _roc_figure(curves: Mapping[str, RocCurve], palette: Palette) -> Figure:
    columns = 1 if len(curves) == 1 else 2
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(_WIDTH_IN, rows * (2.75 if columns == 2 else 4.6) + 0.35))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(0.115, 0.5 / figure.get_figheight(), 0.985, 0.96, 0.1, 0.16)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for index, (arm, curve) in enumerate(curves.items()):
        axis = axes.flat[index]
        others = [other for name, other in curves.items() if name != arm]
        _roc_panel(axis, curve, others, _ARM_COLOURS[index % len(_ARM_COLOURS)], palette)
        axis.set_title(arm, loc="left", fontsize=10.5, fontweight="bold", color=palette.ink)
        if index % columns == 0:
            axis.set_ylabel("Sensitivity")
        if index + columns >= len(curves):
            axis.set_xlabel("1 − specificity")
            axis.tick_params(labelbottom=True)
    return figure


def _roc_panel(
    axis: Axes, curve: RocCurve, others: Sequence[RocCurve], colour: str, palette: Palette
) -> None:
    axis.plot([0, 1], [0, 1], color=palette.grid, lw=1, zorder=1)
    for other in others:
        axis.plot(*_steps(other), color=palette.faint, alpha=0.45, lw=0.9, zorder=2)
    axis.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.2, lw=0, zorder=3)
    axis.plot(*_steps(curve), color=colour, lw=2, zorder=4)
    axis.text(0.97, 0.06, f"AUROC {curve.auroc:.3f}", ha="right", transform=axis.transAxes)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _steps(curve: RocCurve) -> tuple[Sequence[float], Sequence[float]]:
    """Points of the curve, started at the origin that the grid's first column steps over."""
    return [0.0, *GRID], [0.0, *curve.tpr]


def _forest_figure(
    panels: Sequence[Panel], reference: float | None, label: str, palette: Palette
) -> Figure:
    sizes = [max(1, len(panel.rows)) for panel in panels]
    height = 0.34 * sum(sizes) + 0.42 * len(panels) + 0.95
    figure = Figure(figsize=(_WIDTH_IN, height))
    axes = figure.subplots(
        len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": sizes}
    )[:, 0]
    longest = max((len(row) for panel in panels for row in panel.rows), default=1)
    left = min(0.4, 0.05 + longest * 0.0175)
    middle = 0.42 * len(panels) / max(1, 0.34 * sum(sizes))
    figure.subplots_adjust(
        left, 0.5 / height, 0.97, 1 - 0.7 / height, hspace=middle * sum(sizes) / len(panels)
    )
    series = list(dict.fromkeys(n for p in panels for row in p.rows.values() for n in row))
    for axis, panel in zip(axes, panels, strict=True):
        _forest_panel(axis, panel, series, palette)
        if reference is not None:
            axis.axvline(reference, color=palette.ink, lw=1, zorder=1)
    axes[-1].set_xlabel(label)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0, 1), ncols=3, handletextpad=0.4
    )
    return figure


def _forest_panel(axis: Axes, panel: Panel, series: Sequence[str], palette: Palette) -> None:
    axis.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", pad=3)
    axis.grid(axis="x", zorder=0)
    axis.set_axisbelow(True)
    spread = np.linspace(-0.16, 0.16, len(series)) if len(series) > 1 else np.zeros(1)
    for rank, name in enumerate(series):
        colour = _ARM_COLOURS[rank % len(_ARM_COLOURS)]
        axis.plot([], [], _MARKERS[rank % len(_MARKERS)], color=colour, label=name)
        for place, row in enumerate(panel.rows.values()):
            _forest_point(axis, row.get(name), place + spread[rank], rank)
    axis.set_yticks(range(len(panel.rows)), list(panel.rows))
    axis.set_ylim(max(1, len(panel.rows)) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", length=0)
    axis.spines["left"].set_visible(False)
    axis.spines["bottom"].set_color(palette.grid)


def _forest_point(axis: Axes, point: Interval | None, place: float, rank: int) -> None:
    if point is None or point.value is None:
        return
    colour = _ARM_COLOURS[rank % len(_ARM_COLOURS)]
    if point.low is not None and point.high is not None:
        axis.plot([point.low, point.high], [place, place], color=colour, lw=1.6, zorder=3)
    marker = _MARKERS[rank % len(_MARKERS)]
    axis.plot(point.value, place, marker, color=colour, ms=5.5, zorder=4)
