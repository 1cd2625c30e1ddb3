"""Throughput and memory against the size of the slide."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.protocol import PLAIN
from benchmarks.summary import BASELINE, OURS, Row

_INCHES = (11, 4.5)
_DPI = 150


def plot(summed: Sequence[Row], path: Path) -> None:
    """Draw tiles a second as a multiple of HistoPrep's, and peak memory, of plain tiling.

    Without HistoPrep tiles a second are drawn themselves.
    """
    plain = [row for row in summed if row.variant == PLAIN]
    compared = any(row.tool == BASELINE for row in plain)
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    speed, memory = figure.subplots(1, 2)
    for number, (tool, arm) in enumerate(dict.fromkeys((row.tool, row.arm) for row in plain)):
        rows = [row for row in plain if (row.tool, row.arm) == (tool, arm)]
        places = [row.gigapixels for row in rows]
        speeds = [row.ratio if compared else row.tiles_per_s for row in rows]
        marker, line = ("o", "-") if tool == OURS else ("s", "--")
        style = {"marker": marker, "linestyle": line, "color": f"C{number}"}
        label = tool if arm == tool else f"{tool}: {arm}"
        # Of a command typed whole processes are compared, in the table.
        if not all(map(math.isnan, speeds)):
            speed.plot(places, speeds, label=label, **style)
        memory.plot(places, [row.peak_mb for row in rows], label=label, **style)
    sizes = sorted({row.gigapixels for row in plain})
    _dress(speed, f"tiles/s, multiple of {BASELINE}'s" if compared else "tiles/s", sizes)
    _dress(memory, "peak memory of the largest process, MB", sizes)
    speed.set_yscale("log")
    speed.yaxis.set_major_formatter("{x:g}")
    memory.set_ylim(bottom=0)
    lines, labels = memory.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right upper", fontsize="small")
    figure.savefig(path)


def _dress(axes: Axes, label: str, sizes: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("slide, gigapixels")
    axes.set_ylabel(label)
    axes.grid(visible=True, which="both", alpha=0.3)
