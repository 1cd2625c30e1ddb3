"""Figures of the study of chest radiographs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsi_specdec.keys import VALIDATION
from wsi_specdec.report.drawing import LIGHT, style
from wsi_specdec.report.tables import order_cohorts, title_of_cohort
from wsi_specdec.studies.pages.figures import save_png
from wsi_specdec.studies.radiographs.attribution import Explained, Shown

_WIDTH_IN: Final = 7.2
_ROW_IN: Final = 0.27
_CELL_IN: Final = 0.74
_SMALL: Final = 8.5
# Across a map, as it is drawn.
_CELLS: Final = 32


def draw_results(results: Mapping[str, Any], arms: Sequence[str], path: Path) -> None:
    """Draw each arm on each cohort: AUROC, or what one class alone allows, with intervals.

    Parameters
    ----------
    results
        As `evaluate_patches` returns them.
    arms
        From the top to the bottom.
    path
        The PNG to write; it is replaced.
    """
    cohorts = [name for name in order_cohorts(results["cohorts"]) if name != VALIDATION]
    heads = list(dict.fromkeys(arm.partition("+")[0] for arm in arms))
    with style():
        height = 1.0 + _ROW_IN * len(arms)
        figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
        panels = figure.subplots(1, len(cohorts), sharey=True, squeeze=False)[0]
        for axis, cohort in zip(panels, cohorts, strict=True):
            metric = metric_of(results["cohorts"][cohort])
            for place, arm in enumerate(arms):
                found = results["arms"][arm]["cohorts"][cohort]["patch"][metric]
                _interval(axis, found, place, heads.index(arm.partition("+")[0]))
            axis.set_title(_two_lines(cohort), loc="left", fontsize=_SMALL + 1, fontweight="bold")
            axis.set_xlabel("AUROC" if metric == "auroc" else metric.capitalize())
            axis.grid(axis="x")
            axis.tick_params(axis="both", length=0, labelsize=_SMALL)
        panels[0].set_yticks(range(len(arms)), arms)
        panels[0].set_ylim(len(arms) - 0.5, -0.5)
        save_png(figure, path)


def metric_of(counts: Mapping[str, Any]) -> str:
    """Name the metric that a cohort's classes allow.

    >>> metric_of({"images": 9, "positives": 9}), metric_of({"images": 9, "positives": 4})
    ('sensitivity', 'auroc')
    """
    if counts["positives"] == 0:
        return "specificity"
    return "sensitivity" if counts["positives"] == counts["images"] else "auroc"


def draw_maps(
    by_arm: Mapping[str, Sequence[Explained]],
    shown: Mapping[str, Sequence[Shown]],
    classes: Sequence[str],
    path: Path,
) -> None:
    """Draw mean absolute attribution: a row for each arm, a column for each cohort and class.

    Parameters
    ----------
    by_arm
        Attribution of each arm's models.
    shown
        By arm, the images that were explained.
    classes
        Names of the labels.
    path
        The PNG to write; it is replaced.
    """
    names = list(dict.fromkeys(each.name for arm in by_arm for each in shown[arm]))
    wide, high = 1.35 + _CELL_IN * len(names), 0.6 + _CELL_IN * len(by_arm)
    with style():
        figure = Figure(figsize=(wide, high))
        figure.subplots_adjust(1.3 / wide, 0.02 / high, 1, 1 - 0.55 / high, 0.04, 0.04)
        axes = figure.subplots(len(by_arm), len(names), squeeze=False)
        for row, (arm, explained) in zip(axes, by_arm.items(), strict=True):
            own = {each.name: each for each in shown[arm]}
            for axis, name in zip(row, names, strict=True):
                _bare(axis)
                if name in own:
                    _map(axis, explained, own[name])
            row[0].set_ylabel(arm, fontsize=_SMALL, rotation=0, ha="right", va="center")
        for axis, name in zip(axes[0], names, strict=True):
            cohort, _, label = name.rpartition(":")
            title = f"{_two_lines(cohort)}\n{classes[int(label)]}"
            axis.set_title(title, fontsize=_SMALL - 1.5)
        save_png(figure, path)


def _two_lines(cohort: str) -> str:
    return title_of_cohort(cohort).replace(" (", "\n(")


def _map(axis: Axes, explained: Sequence[Explained], shown: Shown) -> None:
    mean = np.mean([each.maps[shown.name] for each in explained], axis=0)
    size = len(mean)
    # Single pixels are mostly noise, and blow the file up.
    cells = min(size, _CELLS)
    coarse = cv2.resize(mean, (cells, cells), interpolation=cv2.INTER_AREA)
    place = (-0.5, size - 0.5, size - 0.5, -0.5)
    axis.imshow(coarse, cmap="magma", vmin=0, interpolation="nearest", extent=place)
    if shown.found.any():
        half = shown.mask[shown.found].mean(axis=0)
        axis.contour(half, levels=[0.5], colors=[LIGHT.series[4]], linewidths=0.8)


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _interval(axis: Axes, found: Mapping[str, Any], place: float, rank: int) -> None:
    colour = LIGHT.colour(rank)
    if found["value"] is None:
        return
    if found["ci_low"] is not None:
        axis.plot([found["ci_low"], found["ci_high"]], [place, place], color=colour, lw=1.5)
    axis.plot(found["value"], place, "o", color=colour, ms=4.5, zorder=3)
