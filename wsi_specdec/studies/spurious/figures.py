"""Figures of the study of marks: tests, values tried, probes, logits, and the marks themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi_specdec.config import SpuriousConfig
from wsi_specdec.keys import FIGURES_DIR, INTERNAL
from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, marker, style
from wsi_specdec.studies.pages.figures import (
    by_condition_figure,
    curves_figure,
    difference_figure,
    save_png,
)
from wsi_specdec.studies.pages.page import Picture
from wsi_specdec.studies.sets.files import open_set
from wsi_specdec.studies.sets.prepare import read_truth
from wsi_specdec.studies.spurious.features import CLASS, MARK
from wsi_specdec.studies.spurious.sets import REVERSED, marking_of

_PROBABILITY: Final = "Probability of the mark"
_SHOWN_OF_A_CLASS: Final = 3
_TITLES: Final = {CLASS: "The class, read from the features", MARK: "The mark, read from them"}
_SPREAD: Final = 0.12


def draw_study(
    out: Path,
    config: SpuriousConfig,
    base: Path,
    told: Mapping[str, Any],
    features: Mapping[str, Mapping[str, Any]],
) -> list[Picture]:
    """Draw all figures of the study, those of each mark by itself.

    Parameters
    ----------
    out
        The study's folder.
    base
        The set that all others are made of.
    told
        Content of the study's `results.json`.
    features
        By condition, what `describe_features` returns.
    """
    folder = out / FIGURES_DIR
    pictures = [
        picture
        for mark in config.marks
        for picture in _of_mark(folder, mark, config, told, features)
    ]
    path = folder / "marks.png"
    truth, store = read_truth(base), open_set(base)
    internal = np.array(truth.split) == INTERNAL
    rows = np.concatenate(
        [np.flatnonzero(internal & (truth.label == label))[:_SHOWN_OF_A_CLASS] for label in (0, 1)]
    )
    tiles = store.read(rows)
    draw_marks(path, tiles, {m: marking_of(m, config.strengths, base)(tiles) for m in config.marks})
    return [*pictures, Picture(path, "Images of both classes as they are, and with the mark.")]


def _of_mark(
    folder: Path,
    mark: str,
    config: SpuriousConfig,
    told: Mapping[str, Any],
    features: Mapping[str, Mapping[str, Any]],
) -> list[Picture]:
    names = {p: f"{mark}/p-{p:g}" for p in sorted(config.probabilities)}
    results = {p: told["conditions"][name] for p, name in names.items()}
    pictures = []

    def picture(name: str, caption: str) -> Path:
        pictures.append(Picture(folder / f"{name}_{mark}.png", f"{mark.capitalize()}: {caption}"))
        return pictures[-1].path

    for metric, title in (("accuracy", "accuracy"), ("auroc", "AUROC")):
        path = picture(metric, f"{title} on each test, by the probability of the mark in training.")
        by_condition_figure(path, results, _PROBABILITY, metric)
    if len(config.arms) > 1:
        by_name = {name: told["conditions"][name] for name in names.values()}
        path = picture("differences", "differences of accuracy on the reversed test.")
        difference_figure(path, by_name, "accuracy", [REVERSED])
    shown = max((p for p in names if p <= config.shown_probability), default=min(names))
    for p in dict.fromkeys((shown, max(names))):
        if any(len(each["means"]) > 1 for each in told["choices"]):
            path = picture(f"values_{p:g}", f"accuracy of every value tried, at p = {p:g}.")
            curves_figure(path, told["curves"], "accuracy", names[p])
    held = {p: features[name] for p, name in names.items()}
    draw_probes(picture("probes", "class and mark, read from the features."), held)
    path = picture("logits", f"logits where mark and class are independent, at p = {shown:g}.")
    draw_logits(path, held[shown])
    return pictures


def draw_probes(path: Path, found: Mapping[float, Mapping[str, Any]]) -> None:
    """Draw how well class and mark are read from the features, a line for each arm.

    Parameters
    ----------
    path
        The picture.
    found
        What `describe_features` returned, by the mark's probability.
    """
    with style():
        figure = Figure(figsize=(7.2, 3.3), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, (target, title) in zip(axes, _TITLES.items(), strict=True):
            axis.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            each = list(found.values())
            arms = {a: [t["arms"][a]["probes"][target] for t in each] for a in each[0]["arms"]}
            _lines(axis, arms, list(found))
            axis.set_xlabel(_PROBABILITY)
            axis.set_ylim(0.45, 1.02)
        axes[0].set_ylabel("AUROC of a linear probe")
        _legend(figure, axes[0])
        save_png(figure, path)


def draw_logits(path: Path, found: Mapping[str, Any]) -> None:
    """Draw how the logits of the positive class lie by class and mark, a panel for each arm.

    Parameters
    ----------
    found
        What `describe_features` returned.
    """
    arms = found["arms"]
    with style():
        figure = Figure(figsize=(2.6 * len(arms) + 0.4, 3.1), layout="constrained")
        panels = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
        for axis, (arm, told) in zip(panels, arms.items(), strict=True):
            axis.set_title(arm, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            _logit_panel(axis, told["histogram"])
        panels[0].set_ylabel("Share of the images")
        _legend(figure, panels[0], 2)
        save_png(figure, path)


def draw_marks(
    path: Path, tiles: NDArray[np.uint8], marked: Mapping[str, NDArray[np.uint8]]
) -> None:
    """Show a few images as they are and, below, with each mark.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3).
    marked
        By mark, the same images with it.
    """
    rows: dict[str, NDArray[np.uint8]] = {"as they are": tiles, **marked}
    with style():
        figure = Figure(figsize=(1.3 * len(tiles) + 0.6, 1.4 * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), len(tiles), squeeze=False)
        for line, (name, images) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name)
            for axis, image in zip(line, images, strict=True):
                axis.imshow(image, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
        save_png(figure, path)


def _lines(
    axis: Axes, measured: Mapping[str, Sequence[Mapping[str, Any]]], probabilities: Sequence[float]
) -> None:
    """Draw each arm's measures over the probabilities, evenly spaced."""
    axis.grid(axis="y")
    axis.axhline(0.5, color=LIGHT.faint, lw=0.9, ls=(0, (4, 3)))
    for rank, (arm, each) in enumerate(measured.items()):
        # Side by side, so that intervals do not hide each other.
        x = np.arange(len(each)) + _SPREAD * (rank - (len(measured) - 1) / 2)
        _line(axis, x, each, rank, arm)
    axis.set_xticks(range(len(probabilities)), [f"{value:g}" for value in probabilities])


def _legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=columns)


def _line(
    axis: Axes,
    x: NDArray[np.floating[Any]],
    measured: Sequence[Mapping[str, Any]],
    rank: int,
    name: str,
) -> None:
    known = [(at, m) for at, m in zip(x, measured, strict=True) if m["value"] is not None]
    colour = LIGHT.colour(rank)
    for at, each in known:
        if each["ci_low"] is not None:
            axis.vlines(at, each["ci_low"], each["ci_high"], color=colour, lw=1.4)
    axis.plot(
        [at for at, _ in known],
        [each["value"] for _, each in known],
        marker(rank) + "-",
        color=colour,
        ms=5,
        lw=1,
        label=name,
    )


def _logit_panel(axis: Axes, histogram: Mapping[str, Any]) -> None:
    edges = np.array(histogram["edges"])
    for group in histogram["groups"]:
        counts = np.array(group["counts"], np.float64)
        carried = "with" if group["mark"] else "without"
        axis.stairs(
            counts / max(1.0, counts.sum()),
            edges,
            color=LIGHT.colour(1 if group["class"] else 0),
            ls="-" if group["mark"] else ":",
            lw=1.6,
            label=f"{'positive' if group['class'] else 'negative'}, {carried} the mark",
        )
    axis.axvline(0, color=LIGHT.faint, lw=0.9)
    axis.set_xlabel("Logit")
