"""Figures that studies share: values tried, differences, and metrics by condition, as PNG."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from wsi_specdec.files import atomic_path
from wsi_specdec.keys import VALIDATION
from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, marker, style
from wsi_specdec.report.tables import order_cohorts, p_value, pair_name, title_of_cohort
from wsi_specdec.studies.pages.tables import METRICS, ONE_CLASS, SETTINGS

WIDTH_IN: Final = 7.2
_DPI: Final = 120
_COLOURS: Final = 192
_ROW_IN: Final = 0.27
# In a row of figures of many arms.
_PANELS: Final = 4
_SMALL: Final = 9.0
_TITLES: Final = {**METRICS, **ONE_CLASS}

Point = Mapping[str, Any]


def curves_figure(
    path: Path,
    points: Sequence[Point],
    metric: str = "auroc",
    condition: str | None = None,
    cohorts: Sequence[str] | None = None,
) -> None:
    """Draw a metric of each cohort by the values that were tried, a panel for each arm.

    Dots are trainings and the line is their mean. The chosen value is starred; the others were not
    selected, and what they do on the test sets played no part in the choice.

    Parameters
    ----------
    path
        The PNG to write; it is replaced.
    points
        As in `Outcome.curves`. Arms with one value alone are left out.
    metric
        `auroc` or `accuracy`.
    condition
        The condition to draw; all points if None.
    cohorts
        Cohorts to draw; all if None.

    Raises
    ------
    ValueError
        If no arm has several values.
    """
    shown = [p for p in points if condition is None or p["condition"] == condition]
    arms = {p["arm"]: p["setting"] for p in shown}
    tried = {arm: sorted({p["value"] for p in shown if p["arm"] == arm}) for arm in arms}
    arms = {arm: setting for arm, setting in arms.items() if len(tried[arm]) > 1}
    if not arms:
        msg = "there is no arm of which several values were tried"
        raise ValueError(msg)
    found = order_cohorts({p["cohort"] for p in shown})
    drawn = [name for name in found if cohorts is None or name in cohorts]
    columns = min(len(arms), _PANELS)
    rows = -(-len(arms) // columns)
    with style():
        figure = Figure(figsize=(WIDTH_IN, 0.8 + 2.6 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axis in panels[len(arms) :]:
            axis.set_visible(False)
        for axis, (arm, setting) in zip(panels, arms.items(), strict=False):
            own = [p for p in shown if p["arm"] == arm and p[metric] is not None]
            for rank, cohort in enumerate(drawn):
                line = [p for p in own if p["cohort"] == cohort]
                _curve(axis, line, metric, tried[arm], rank, len(drawn))
            axis.set_title(arm, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            axis.set_xticks(range(len(tried[arm])), [f"{value:g}" for value in tried[arm]])
            axis.set_xlabel(SETTINGS.get(setting, setting))
            axis.grid(axis="y")
        for axis in panels[::columns]:
            axis.set_ylabel(_TITLES[metric])
        _curve_legend(figure, drawn)
        save_png(figure, path)


def difference_figure(
    path: Path,
    conditions: Mapping[str, Mapping[str, Any]],
    metric: str = "auroc",
    cohorts: Sequence[str] | None = None,
) -> None:
    """Draw differences of arms with intervals, a row for each, and their adjusted p-values.

    Parameters
    ----------
    path
        The PNG to write; it is replaced.
    conditions
        Content of `results.json` by condition.
    metric
        What is compared; differences that are not defined have no row.
    cohorts
        Cohorts to draw; all that were compared if None.

    Raises
    ------
    ValueError
        If there is no difference to draw.
    """
    rows = [
        (name, row)
        for name, results in conditions.items()
        for row in results["differences"]
        if row["metric"] == metric
        and row["delta"] is not None
        and (cohorts is None or row["cohort"] in cohorts)
    ]
    if not rows:
        msg = f"there is no difference of {metric} to draw"
        raise ValueError(msg)
    pairs = list(dict.fromkeys(pair_name(row) for _, row in rows))
    with style():
        height = 0.95 + _ROW_IN * len(rows)
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axis = figure.subplots()
        axis.axvline(0, color=LIGHT.faint, lw=0.9, zorder=1)
        for place, (_, row) in enumerate(rows):
            _difference(axis, place, row, pairs.index(pair_name(row)))
        names = [_row_name(name, row, len(conditions) > 1) for name, row in rows]
        axis.set_yticks(range(len(rows)), names, fontsize=_SMALL)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.set_xlabel(f"Difference of {_lower(metric)}; filled: adjusted p < 0.05")
        axis.annotate(
            "adjusted p",
            (1.02, 1.0),
            xycoords="axes fraction",
            va="bottom",
            fontsize=_SMALL,
            color=LIGHT.faint,
        )
        right = axis.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), [p_value(row["p_adjusted"]) for _, row in rows])
        right.tick_params(length=0, labelsize=_SMALL, labelcolor=LIGHT.faint)
        right.spines["right"].set_visible(False)
        save_png(figure, path)


def by_condition_figure(
    path: Path,
    conditions: Mapping[float, Mapping[str, Any]],
    label: str,
    metric: str = "auroc",
    cohorts: Sequence[str] | None = None,
) -> None:
    """Draw a metric by a number that conditions differ in: a panel per cohort, a line per arm.

    Bands are intervals over trainings and patients.

    Parameters
    ----------
    path
        The PNG to write; it is replaced.
    conditions
        Content of `results.json` by the number, such as a probability or a strength.
    label
        What the number is.
    metric
        A metric of `patch`.
    cohorts
        Cohorts to draw; all but `validation` if None.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    found = order_cohorts({name for each in conditions.values() for name in each["cohorts"]})
    wanted = [n for n in found if (n != VALIDATION if cohorts is None else n in cohorts)]
    shown = [name for name in wanted if _is_defined(conditions, name, metric)]
    if not shown:
        msg = f"there is no cohort with {metric} among {', '.join(found) or 'none'}"
        raise ValueError(msg)
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    with style():
        figure = Figure(figsize=(WIDTH_IN, 0.45 + 2.6 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for axis, cohort in zip(axes, shown, strict=False):
            _condition_panel(axis, conditions, cohort, metric)
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        for row in range(lines):
            axes[row * columns].set_ylabel(_TITLES.get(metric, metric))
        figure.supxlabel(label, fontsize=10.5)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(6, len(names)))
        save_png(figure, path)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a small PNG in one go; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    # A drawing has few colours: a palette takes a third of the bytes.
    picture = Image.open(drawn).convert("RGB").quantize(_COLOURS)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _curve(
    axis: Axes,
    points: Sequence[Point],
    metric: str,
    tried: Sequence[float],
    rank: int,
    count: int,
) -> None:
    """Draw one cohort's dots, their mean, and the star, beside those of other cohorts."""
    by_value: dict[float, list[float]] = defaultdict(list)
    for point in points:
        by_value[point["value"]].append(point[metric])
    colour = LIGHT.colour(rank)
    shift = 0.12 * (rank - (count - 1) / 2)
    places = {value: tried.index(value) + shift for value in sorted(by_value)}
    for value, place in places.items():
        axis.plot(
            [place] * len(by_value[value]), by_value[value], ".", color=colour, ms=4, alpha=0.5
        )
    means = [float(np.mean(by_value[value])) for value in places]
    axis.plot(list(places.values()), means, "-", color=colour, lw=1.4)
    chosen = {point["value"] for point in points if point["selected"]}
    for (value, place), mean in zip(places.items(), means, strict=True):
        shape, size = ("*", 12) if value in chosen else ("o", 5)
        face = colour if value in chosen else "white"
        axis.plot(place, mean, shape, color=colour, mfc=face, ms=size, zorder=4)


def _curve_legend(figure: Figure, cohorts: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=LIGHT.colour(rank), lw=1.6, label=title_of_cohort(cohort))
        for rank, cohort in enumerate(cohorts)
    ]
    for shape, size, face, label in (
        ("*", 11, LIGHT.ink, "chosen on validation"),
        ("o", 5, "white", "not selected"),
        (".", 5, LIGHT.ink, "one training"),
    ):
        one = Line2D([], [], color=LIGHT.ink, mfc=face, marker=shape, ms=size, ls="", label=label)
        handles.append(one)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=4, fontsize=_SMALL, columnspacing=1.2
    )


def _difference(axis: Axes, place: int, row: Mapping[str, Any], rank: int) -> None:
    colour = LIGHT.colour(rank)
    if row["ci_low"] is not None:
        axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=1.5)
    p = row["p_adjusted"]
    face = colour if p is not None and p < 0.05 else "white"
    axis.plot(row["delta"], place, "o", color=colour, mfc=face, ms=5.5, zorder=3)


def _row_name(condition: str, row: Mapping[str, Any], several: bool) -> str:
    where = title_of_cohort(row["cohort"])
    named = f"{condition}, {where}" if several and condition else where
    return f"{named}: {pair_name(row)}"


def _is_defined(conditions: Mapping[float, Mapping[str, Any]], cohort: str, metric: str) -> bool:
    return any(
        arm["cohorts"][cohort]["patch"][metric]["value"] is not None
        for results in conditions.values()
        if cohort in results["cohorts"]
        for arm in results["arms"].values()
    )


def _condition_panel(
    axis: Axes, conditions: Mapping[float, Mapping[str, Any]], cohort: str, metric: str
) -> None:
    numbers = sorted(number for number in conditions if cohort in conditions[number]["cohorts"])
    # Evenly spaced, since what matters happens between 0.98 and 1 as well as from 0.5 to 0.9.
    place = {number: row for row, number in enumerate(numbers)}
    arms = dict.fromkeys(arm for number in numbers for arm in conditions[number]["arms"])
    for rank, arm in enumerate(arms):
        measured = [
            (place[number], conditions[number]["arms"][arm]["cohorts"][cohort]["patch"][metric])
            for number in numbers
            if arm in conditions[number]["arms"]
        ]
        known = [(at, each) for at, each in measured if each["value"] is not None]
        colour = LIGHT.colour(rank)
        bounded = [(at, each) for at, each in known if each["ci_low"] is not None]
        axis.fill_between(
            [at for at, _ in bounded],
            [each["ci_low"] for _, each in bounded],
            [each["ci_high"] for _, each in bounded],
            color=colour,
            alpha=0.14,
            lw=0,
        )
        axis.plot(
            [at for at, _ in known],
            [each["value"] for _, each in known],
            marker(rank) + "-",
            color=colour,
            ms=4.5,
            lw=1.4,
            label=arm,
        )
    axis.set_title(title_of_cohort(cohort), loc="left", fontsize=TITLE_SIZE, fontweight="bold")
    axis.set_xticks(range(len(numbers)), [f"{number:g}" for number in numbers], fontsize=_SMALL)
    axis.grid(axis="y")


def _lower(metric: str) -> str:
    title = _TITLES.get(metric, metric)
    return title if title.isupper() else title.lower()
