"""Figures of penalties with and without treatments of the stain, such as `sd` and `wd+macenko`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsi_specdec.keys import EXTERNAL
from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, style
from wsi_specdec.report.tables import Metric, metric_of, title_of_cohort
from wsi_specdec.studies.pages.figures import save_png

_WIDTH_IN: Final = 7.2
_ROW_IN: Final = 0.3
# Of studies of patches.
_PATCH: Final = (Metric("patch", "auroc", "AUROC"), Metric("patch", "accuracy", "Accuracy"))
# What a pair of arms asks.
_QUESTIONS: Final = (
    "By itself",
    "In place of the treatment",
    "On top of the treatment",
    "The treatment by itself",
    "Both against neither",
)
_MINUS: Final = "\N{MINUS SIGN}"


def draw_arms(
    results: Mapping[str, Any],
    arms: Sequence[str],
    path: Path,
    metrics: Sequence[Metric] = _PATCH,
    cohorts: Sequence[str] | None = None,
) -> None:
    """Draw metrics of every arm with intervals: filled outside, open inside.

    Parameters
    ----------
    results
        Content of `results.json`.
    arms
        From the top to the bottom; arms of one treatment, what stands behind `+`, lie together.
    path
        The PNG to write; it is replaced.
    metrics
        A panel each.
    cohorts
        The one outside last; those of `tested` if None.
    """
    cohorts = tested(results) if cohorts is None else cohorts
    heads = list(dict.fromkeys(arm.partition("+")[0] for arm in arms))
    height = 0.95 + _ROW_IN * len(arms)
    with style():
        figure = Figure(figsize=(_WIDTH_IN, height))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(0.18, 0.42 / height, 0.98, 1 - 0.62 / height, 0.08)
        places = _places(arms)
        for axis, metric in zip(panels, metrics, strict=True):
            for arm in arms:
                colour = LIGHT.colour(heads.index(arm.partition("+")[0]))
                for cohort in cohorts:
                    found = metric_of(results, arm, cohort, metric)
                    filled = cohort == cohorts[-1]
                    shift = 0.12 * (cohorts.index(cohort) - (len(cohorts) - 1) / 2)
                    _interval(axis, found, places[arm] + shift, colour, filled=filled)
            axis.set_title(metric.title, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
        _finish(panels, [places[arm] for arm in arms], arms)
        _legend(figure, cohorts)
        save_png(figure, path)


def draw_differences(
    results: Mapping[str, Any],
    path: Path,
    metrics: Sequence[Metric] = _PATCH,
    cohort: str | None = None,
) -> None:
    """Draw the differences of arms on one cohort, in points, with adjusted p-values.

    Parameters
    ----------
    results
        Content of `results.json`.
    path
        The PNG to write; it is replaced.
    metrics
        A panel each.
    cohort
        The last one of `tested` if None.
    """
    cohort = tested(results)[-1] if cohort is None else cohort
    rows = [row for row in results["differences"] if row["cohort"] == cohort]
    pairs = sorted_pairs(list(dict.fromkeys((row["arm"], row["baseline"]) for row in rows)))
    places = _spread(pairs)
    height = 1.15 + _ROW_IN * (places[-1] + 1)
    with style():
        figure = Figure(figsize=(_WIDTH_IN, height))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(0.37, 0.5 / height, 0.98, 1 - 0.62 / height, 0.1)
        for axis, metric in zip(panels, metrics, strict=True):
            axis.axvline(0, color=LIGHT.faint, lw=0.9, ls=(0, (4, 3)), zorder=1)
            asked = (metric.unit, metric.name)
            found = {
                (r["arm"], r["baseline"]): r for r in rows if (r["unit"], r["metric"]) == asked
            }
            for place, pair in zip(places, pairs, strict=True):
                _difference(axis, found[pair], place)
            axis.set_title(metric.title, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            axis.set_xlabel("points; filled: adj. p < 0.05")
        names = [f"{arm} {_MINUS} {baseline}" for arm, baseline in pairs]
        _finish(panels, places, names)
        _head(panels[0], pairs, places)
        figure.text(
            0.01, 1 - 0.2 / height, f"Differences, {title_of_cohort(cohort)}", fontsize=TITLE_SIZE
        )
        save_png(figure, path)


def draw_sources(
    results: Mapping[str, Any],
    sources: Mapping[str, str],
    metrics: Sequence[Metric],
    path: Path,
) -> None:
    """Draw metrics of every arm by source, such as a centre: a column of panels a treatment.

    Parameters
    ----------
    results
        Content of `results.json`.
    sources
        Cohorts and what their ticks say, from the left to the right.
    metrics
        A row of panels each.
    path
        The PNG to write; it is replaced.
    """
    heads = list(dict.fromkeys(arm.partition("+")[0] for arm in results["arms"]))
    treatments = list(dict.fromkeys(arm.partition("+")[2] for arm in results["arms"]))
    with style():
        figure = Figure((_WIDTH_IN, 0.7 + 1.7 * len(metrics)), layout="constrained")
        shape = (len(metrics), len(treatments))
        panels = figure.subplots(*shape, sharex=True, sharey="row", squeeze=False)
        for row, metric in zip(panels, metrics, strict=True):
            row[0].set_ylabel(metric.title)
            for axis, treatment in zip(row, treatments, strict=True):
                for head in heads:
                    arm = f"{head}+{treatment}" if treatment else head
                    if arm in results["arms"]:
                        found = [metric_of(results, arm, name, metric) for name in sources]
                        _by_source(axis, found, heads.index(head), head)
                axis.set_xticks(range(len(sources)), list(sources.values()))
                axis.grid(visible=True, axis="y")
        for axis, treatment in zip(panels[0], treatments, strict=True):
            axis.set_title(treatment or "as they are", fontsize=TITLE_SIZE)
        handles, names = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(heads))
        save_png(figure, path)


def _by_source(axis: Axes, found: Sequence[Mapping[str, Any]], rank: int, label: str) -> None:
    places = np.arange(len(found)) + 0.16 * (rank - 0.5)
    colour = LIGHT.colour(rank)
    for place, each in zip(places, found, strict=True):
        if each["ci_low"] is not None:
            axis.plot([place, place], [each["ci_low"], each["ci_high"]], color=colour, lw=1.2)
    values = [np.nan if each["value"] is None else each["value"] for each in found]
    axis.plot(places, values, "o", color=colour, ms=4.5, label=label, zorder=3)


def tested(results: Mapping[str, Any]) -> list[str]:
    """Name the cohorts that no threshold was chosen on, external ones last."""
    names = [n for n, each in results["cohorts"].items() if not each["threshold_chosen_here"]]
    return sorted(names, key=lambda name: name.partition("-")[0] == EXTERNAL)


def sorted_pairs(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sort pairs by what they ask, as the figure's headings name it.

    Examples
    --------
    >>> sorted_pairs([("wd+m", "wd"), ("sd+m", "wd+m"), ("sd", "wd+m"), ("sd", "wd")])
    [('sd', 'wd'), ('sd', 'wd+m'), ('sd+m', 'wd+m'), ('wd+m', 'wd')]
    """
    return sorted(pairs, key=_question)


def _question(pair: tuple[str, str]) -> int:
    """Place in `_QUESTIONS` of what a pair asks."""
    (head, _, with_), (other, _, against) = (name.partition("+") for name in pair)
    if head == other:
        return 3
    if with_ == against:
        return 2 if with_ else 0
    return 4 if with_ else 1


def _spread(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Height of each pair, with room above each question's first."""
    asked = [_question(pair) for pair in pairs]
    return [row + 0.95 * (1 + len(set(asked[: row + 1]))) for row in range(len(pairs))]


def _head(axis: Axes, pairs: Sequence[tuple[str, str]], places: Sequence[float]) -> None:
    """Write each question above its first pair."""
    first: dict[int, float] = {}
    for pair, place in zip(pairs, places, strict=True):
        first.setdefault(_question(pair), place)
    axis.set_ylim(places[-1] + 0.6, places[0] - 1.4)
    for asked, place in first.items():
        axis.annotate(
            _QUESTIONS[asked],
            (-0.02, place - 0.9),
            xycoords=axis.get_yaxis_transform(),
            ha="right",
            va="center",
            color=LIGHT.faint,
            fontsize=9,
        )


def _places(arms: Sequence[str]) -> dict[str, float]:
    """Height of each arm: those of one treatment closer to each other than to the next."""
    treatments = list(dict.fromkeys(arm.partition("+")[2] for arm in arms))
    return {
        arm: row + 0.5 * treatments.index(arm.partition("+")[2]) for row, arm in enumerate(arms)
    }


def _interval(
    axis: Axes, found: Mapping[str, Any], place: float, colour: str, *, filled: bool
) -> None:
    if found["value"] is None:
        return
    if found["ci_low"] is not None:
        axis.plot([found["ci_low"], found["ci_high"]], [place, place], color=colour, lw=1.4)
    face = colour if filled else "white"
    axis.plot(found["value"], place, "o", color=colour, mfc=face, ms=5.5, zorder=3)


def _difference(axis: Axes, row: Mapping[str, Any], place: float) -> None:
    if row["delta"] is None:
        return
    p = row["p_adjusted"]
    colour = LIGHT.colour(0)
    if row["ci_low"] is not None:
        ends = 100 * np.array([row["ci_low"], row["ci_high"]])
        axis.plot(ends, [place, place], color=colour, lw=1.4)
    face = colour if p is not None and p < 0.05 else "white"
    axis.plot(100 * row["delta"], place, "o", color=colour, mfc=face, ms=5.5, zorder=3)


def _finish(panels: Sequence[Axes], places: Sequence[float], names: Sequence[str]) -> None:
    panels[0].set_yticks(list(places), list(names))
    panels[0].invert_yaxis()
    for axis in panels:
        axis.grid(visible=True, axis="x")
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=5)


def _legend(figure: Figure, cohorts: Sequence[str]) -> None:
    axis = figure.axes[0]
    handles = [
        axis.plot(
            [],
            [],
            "o",
            color=LIGHT.ink,
            mfc=LIGHT.ink if c == cohorts[-1] else "white",
            label=title_of_cohort(c),
        )[0]
        for c in cohorts
    ]
    figure.legend(
        handles=handles, loc="upper left", ncols=len(cohorts), borderaxespad=0.2, fontsize=9.5
    )
