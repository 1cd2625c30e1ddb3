"""Figures of robustness: curves over strengths, mean corruption errors, and the shifts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsi_specdec.keys import FIGURES_DIR
from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, marker, style
from wsi_specdec.studies.pages.figures import curves_figure, save_png
from wsi_specdec.studies.pages.page import Picture
from wsi_specdec.studies.robustness.measures import MCE
from wsi_specdec.studies.robustness.sets import ShiftSet
from wsi_specdec.studies.robustness.tables import TOTALS
from wsi_specdec.studies.sets.prepare import open_set

_COLUMNS: Final = 5
_SMALL: Final = 8.5
_FAINT_LINE: Final = 0.9


def draw_shifts(
    out: Path,
    outcome: Mapping[str, Any],
    found: Mapping[str, Any],
    clean: Path,
    sets: Sequence[ShiftSet],
) -> list[Picture]:
    """Draw the study's figures into `out`/figures.

    Parameters
    ----------
    outcome
        Content of `results.json`.
    found
        What `describe_shifts` returned.
    clean, sets
        The test images as they are, and shifted.
    """
    figures = out / FIGURES_DIR
    paths = {
        name: figures / f"robustness_{name}.png"
        for name in ("accuracy", "auroc", "totals", "values", "shifts")
    }
    for metric in ("accuracy", "auroc"):
        _draw_strengths(paths[metric], metric, found)
    _draw_totals(paths["totals"], found)
    _draw_examples(paths["shifts"], clean, sets)
    pictures = [
        Picture(
            paths["totals"],
            "Over all shifts: area under accuracy and AUROC over the strengths, and mean "
            "corruption error; intervals over trainings and patients.",
        ),
        Picture(paths["accuracy"], "Accuracy by strength, a panel for each shift; 0 is clean."),
        Picture(paths["auroc"], "AUROC by strength, a panel for each shift; 0 is clean."),
    ]
    if curves := _mean_curves(outcome["curves"]):
        curves_figure(paths["values"], curves, metric="accuracy")
        pictures.append(
            Picture(
                paths["values"],
                "Accuracy by the values that were tried: on clean test images, and as a mean over "
                "all shifted ones. The starred value was chosen on validation images; the others "
                "were not.",
            )
        )
    pictures.append(Picture(paths["shifts"], "One test image under each shift, from 0 to 5."))
    return pictures


def _draw_strengths(path: Path, metric: str, found: Mapping[str, Any]) -> None:
    arms = found["arms"]
    names = [row["shift"] for row in next(iter(arms.values()))["shifts"]]
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with style():
        figure = Figure(figsize=(1.75 * columns + 0.5, 1.65 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        for place, (axis, name) in enumerate(zip(axes.flat, names, strict=False)):
            for rank, (arm, told) in enumerate(arms.items()):
                _curve(axis, told["shifts"][place][metric], arm, rank)
            axis.set_title(name, loc="left", fontsize=_SMALL + 1, fontweight="bold")
            axis.grid(visible=True)
            axis.set_xticks(range(6))
            axis.tick_params(labelsize=_SMALL)
        figure.supxlabel("Strength", fontsize=TITLE_SIZE)
        figure.supylabel(TOTALS[f"{metric}_area"].split(",")[0], fontsize=TITLE_SIZE)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        save_png(figure, path)


def _curve(axis: Axes, values: Sequence[float | None], arm: str, rank: int) -> None:
    known = [(k, value) for k, value in enumerate(values) if value is not None]
    if known:
        x, y = zip(*known, strict=True)
        axis.plot(x, y, marker(rank) + "-", color=LIGHT.colour(rank), ms=3.5, lw=1.3, label=arm)


def _draw_totals(path: Path, found: Mapping[str, Any]) -> None:
    arms = found["arms"]
    shown = [
        name
        for name in ("accuracy_area", "auroc_area", MCE)
        if any(name in told["totals"] for told in arms.values())
    ]
    with style():
        figure = Figure(
            figsize=(2.6 * len(shown) + 0.8, 0.34 * len(arms) + 1.0), layout="constrained"
        )
        axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axis, name in zip(axes, shown, strict=True):
            for rank, told in enumerate(arms.values()):
                _bar(axis, rank, told["totals"][name])
            axis.set_title(TOTALS[name], loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            axis.grid(visible=True, axis="x")
            axis.locator_params(axis="x", nbins=4)
            if name == MCE:
                axis.axvline(100, color=LIGHT.faint, lw=_FAINT_LINE, ls=(0, (4, 3)))
        axes[0].set_yticks(range(len(arms)), list(arms))
        axes[0].set_ylim(len(arms) - 0.5, -0.5)
        save_png(figure, path)


def _bar(axis: Axes, rank: int, told: Mapping[str, Any]) -> None:
    colour = LIGHT.colour(rank)
    if told["value"] is None:
        return
    if told["ci_low"] is not None:
        axis.plot([told["ci_low"], told["ci_high"]], [rank, rank], color=colour, lw=1.6)
    axis.plot(told["value"], rank, marker(rank), color=colour, ms=7)


def _mean_curves(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Average each training's accuracy over the shifted sets; none where nothing was chosen."""
    keys = ("condition", "arm", "setting", "value", "seed", "selected")
    groups: dict[tuple[Any, ...], list[float]] = {}
    for point in points:
        if point["cohort"] == "validation" or point["accuracy"] is None:
            continue
        cohort = "internal" if point["cohort"] == "internal" else "external"
        groups.setdefault((*(point[key] for key in keys), cohort), []).append(point["accuracy"])
    tried: dict[str, set[float]] = {}
    for key in groups:
        tried.setdefault(key[1], set()).add(key[3])
    if all(len(values) < 2 for values in tried.values()):
        return []
    return [
        {**dict(zip((*keys, "cohort"), key, strict=True)), "accuracy": float(np.mean(values))}
        for key, values in groups.items()
    ]


def _draw_examples(path: Path, clean: Path, sets: Sequence[ShiftSet]) -> None:
    names = list(dict.fromkeys(each.shift for each in sets))
    folders = {(each.shift, each.strength): each.folder for each in sets}
    strengths = sorted({each.strength for each in sets})
    row = np.array([0], np.int64)
    original = open_set(clean).read(row)[0]
    with style():
        figure = Figure(figsize=(0.62 * len(names) + 0.4, 0.62 * (len(strengths) + 1) + 0.5))
        axes = figure.subplots(len(strengths) + 1, len(names), squeeze=False)
        figure.subplots_adjust(0.03, 0.01, 0.995, 0.86, 0.06, 0.06)
        for column, name in enumerate(names):
            images = [original, *(open_set(folders[name, k]).read(row)[0] for k in strengths)]
            axes[0, column].set_title(name, fontsize=6.5)
            for line, image in enumerate(images):
                axes[line, column].imshow(image)
                axes[line, column].set(xticks=[], yticks=[])
        for line in range(len(strengths) + 1):
            axes[line, 0].set_ylabel(str(line), fontsize=_SMALL)
        save_png(figure, path)
