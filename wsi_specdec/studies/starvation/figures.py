"""Figures of gradient starvation: responses against theory, and boundaries between moons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi_specdec.config import LinearConfig, StarvationConfig
from wsi_specdec.report.drawing import LIGHT, TITLE_SIZE, marker, style
from wsi_specdec.studies.pages.figures import save_png
from wsi_specdec.studies.starvation.moons import EXTENT, Trained, draw_moons, parted
from wsi_specdec.studies.starvation.tables import ARMS
from wsi_specdec.studies.starvation.two_features import LinearRun

Floats = NDArray[np.float64]

_LINES: Final = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_VIEW: Final = 1.8
_RANKS: Final = {arm: rank for rank, arm in enumerate(ARMS)}


def draw_linear(
    path: Path,
    runs: Mapping[str, LinearRun],
    found: Mapping[str, Any],
    config: LinearConfig,
) -> None:
    """Draw what is learnt of the weak feature, and both features in the course of training.

    Parameters
    ----------
    path
        The picture, PNG.
    runs
        By arm.
    found
        What `describe_linear` returned.
    """
    with style():
        figure = Figure(figsize=(8.4, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for arm, told in found["arms"].items():
            _against_strength(left, arm, told["strengths"])
        left.set(
            xlabel="Strength of the strong feature",
            ylabel="Weak feature's response, relative",
            xticks=config.strong,
        )
        left.set_ylim(bottom=0)
        place = int(np.argmax(config.strong))
        for arm, run in runs.items():
            _over_time(right, arm, run, place)
        right.set(xlabel="Steps of gradient descent", ylabel="Response", xscale="log", yscale="log")
        for axis, title in ((left, "After training"), (right, "In the course of training")):
            axis.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold")
            axis.grid(visible=True)
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        save_png(figure, path)


def draw_moon_boundaries(
    path: Path,
    trained: Mapping[tuple[str, float, int], Trained],
    found: Sequence[Mapping[str, Any]],
    config: StarvationConfig,
) -> None:
    """Draw boundaries of the first seed, a panel for each arm, and accuracy over the gap.

    Parameters
    ----------
    trained
        By arm, value and seed.
    found
        What `describe_moons` returned.
    """
    with style():
        figure = Figure(figsize=(8.4, 6.6), layout="constrained")
        axes = figure.subplots(2, 2).flat
        for axis, arm in zip(axes, ARMS, strict=False):
            _moon_panel(axis, arm, trained, config)
        _accuracy_panel(axes[len(ARMS)], found)
        save_png(figure, path)


def _against_strength(axis: Axes, arm: str, rows: Sequence[Mapping[str, Any]]) -> None:
    colour = LIGHT.colour(_RANKS[arm])
    strong = [row["strong"] for row in rows]
    axis.plot(strong, [row["expected_kept"] for row in rows], color=colour, lw=1.4)
    responses = [row["kept"] for row in rows]
    axis.errorbar(
        strong,
        [each["value"] for each in responses],
        yerr=_reach(responses),
        fmt=marker(_RANKS[arm]),
        color=colour,
        ms=6,
        elinewidth=1,
        label=ARMS[arm],
    )


def _over_time(axis: Axes, arm: str, run: LinearRun, place: int) -> None:
    colour = LIGHT.colour(_RANKS[arm])
    steps = run.steps[1:]
    for feature, line in ((0, "-"), (1, "--")):
        axis.plot(steps, run.responses[1:, 0, place, feature], line, color=colour, lw=1.6)
        if arm != "ce":
            axis.axhline(run.expected[0, place, feature], color=colour, lw=0.9, ls=":")


def _moon_panel(
    axis: Axes,
    arm: str,
    trained: Mapping[tuple[str, float, int], Trained],
    config: StarvationConfig,
) -> None:
    moons, seed = config.moons, config.seeds[0]
    points, labels = draw_moons(moons.points, moons.gap, moons.noise, seed)
    points = parted(points, labels, moons.gap)
    for label, colour in ((1, LIGHT.faint), (0, "#c3cad3")):
        chosen = points[labels == label]
        axis.plot(*chosen.T, "o", color=colour, ms=2.6, mew=0)
    ticks = np.linspace(-EXTENT, EXTENT, trained[next(iter(trained))].plane.shape[0])
    values = [value for name, value, of_seed in trained if name == arm and of_seed == seed]
    for value, line in zip(values, _LINES * len(values), strict=False):
        axis.contour(
            ticks,
            ticks,
            trained[arm, value, seed].plane,
            levels=[0],
            colors=[LIGHT.colour(_RANKS[arm])],
            linewidths=1.8,
            linestyles=[line],
        )
        if value:
            axis.plot([], [], color=LIGHT.colour(_RANKS[arm]), ls=line, label=f"{value:g}")
    axis.set_title(ARMS[arm], loc="left", fontsize=TITLE_SIZE, fontweight="bold")
    axis.set(xlim=(-_VIEW, _VIEW), ylim=(-_VIEW, _VIEW), aspect="equal", xticks=[], yticks=[])
    if any(values):
        axis.legend(loc="lower right", fontsize=9)


def _accuracy_panel(axis: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    seen: dict[str, int] = {}
    for row in found:
        arm, rank = row["arm"], _RANKS[row["arm"]]
        line = _LINES[seen.get(arm, 0) % len(_LINES)]
        seen[arm] = seen.get(arm, 0) + 1
        axis.errorbar(
            [each["gap"] for each in row["accuracy"]],
            [each["value"] for each in row["accuracy"]],
            yerr=_reach(row["accuracy"]),
            marker=marker(rank),
            ls=line,
            color=LIGHT.colour(rank),
            ms=5,
            lw=1.4,
            elinewidth=1,
        )
    axis.set_title("Test points right", loc="left", fontsize=TITLE_SIZE, fontweight="bold")
    axis.set(xlabel="Gap between the moons", ylabel="Accuracy")
    axis.invert_xaxis()
    axis.grid(visible=True)


def _reach(rows: Sequence[Mapping[str, Any]]) -> Floats | None:
    """Lengths of error bars (2, n), None where there are no intervals."""
    if any(row["ci_low"] is None for row in rows):
        return None
    return np.array(
        [[r["value"] - r["ci_low"] for r in rows], [r["ci_high"] - r["value"] for r in rows]]
    )
