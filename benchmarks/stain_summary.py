"""From runs of stain normalisers to ratios, a table, the targets and a plot; pure but for that."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure

from benchmarks.summary import Target

OURS = "ours"
BASELINE = ("torchstain numpy", "macenko")
_BASELINE_SLIDE = f"{BASELINE[0]} slide"
_SLIDE, _TILE = f"{OURS} slide", f"{OURS} tile"
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One way of normalising, over the rounds.

    Attributes
    ----------
    method, arm
        Whose, and which way.
    tiles, failed
        In one pass; and how many raised an error, at most.
    tiles_per_s
        Median over the rounds, on one core.
    ratio
        Median over the rounds of the ratio to the baseline's in the same round; NaN without one.
    peak_mb
        Largest memory of the process: interpreter, libraries and tiles are in it.
    means, distributions
        Variation between centres left, mean over the rounds; NaN where not measured.
    """

    method: str
    arm: str
    tiles: int
    failed: int
    tiles_per_s: float
    ratio: float
    peak_mb: float
    means: float
    distributions: float


def rows(runs: Sequence[Run]) -> list[Row]:
    """Sum up the runs that succeeded, in the order in which they came."""
    done = [run for run in runs if not run["failure"]]
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in done:
        groups.setdefault((run["method"], run["arm"]), []).append(run)
    base = {r["round"]: r["tiles_per_s"] for r in groups.get(BASELINE[::-1], [])}
    return [_row(*key, group, base) for key, group in sorted(groups.items())]


def _row(method: str, arm: str, group: Sequence[Run], base: Mapping[int, float]) -> Row:
    ratios = [run["tiles_per_s"] / base[run["round"]] for run in group if run["round"] in base]
    colours = [run["colours"] for run in group if run.get("colours")]
    means, distributions = (
        mean(colour[name] for colour in colours) if colours else math.nan
        for name in ("means", "distributions")
    )
    return Row(
        method,
        arm,
        tiles=max(run["tiles"] for run in group),
        failed=max(run["failed_tiles"] for run in group),
        tiles_per_s=median(run["tiles_per_s"] for run in group),
        ratio=median(ratios) if ratios else math.nan,
        peak_mb=max(run["peak_mb"] for run in group),
        means=means,
        distributions=distributions,
    )


def table(summed: Sequence[Row], untouched: Mapping[str, float]) -> str:
    """Lay out rows as a Markdown table; throughput as ratios alone."""
    titles = "method | program | x torchstain's Macenko | MB | failed tiles"
    titles += " | colour between centres, ΔE | distributions, ΔE"
    left = f"{untouched['means']:.2f} | {untouched['distributions']:.2f}"
    lines = [f"| {titles} |", "|---|---|---:|---:|---:|---:|---:|", f"| none | | | | | {left} |"]
    lines += [
        f"| {row.method} | {row.arm} | {row.ratio:.3g} | {row.peak_mb:.0f} |"
        f" {row.failed} of {row.tiles} | {_shown(row.means)} | {_shown(row.distributions)} |"
        for row in summed
    ]
    return "\n".join(lines)


def targets(
    summed: Sequence[Row], agreement: Mapping[str, float], broken: int, wrong: int
) -> list[Target]:
    """Compare with what issue 5 asks for.

    Parameters
    ----------
    summed
        From `rows`.
    agreement
        By method, share of values within one grey level of torch's.
    broken, wrong
        Crops that raised an error or held NaN, and statuses that were not as expected.
    """
    found = {(row.method, row.arm): row for row in summed}

    def of(method: str, arm: str, name: str) -> float:
        row = found.get((method, arm))
        return math.nan if row is None else getattr(row, name)

    checked = [
        Target(
            "macenko, slide's profile, over torchstain", of("macenko", _SLIDE, "ratio"), 20, True
        ),
        Target("macenko, every tile, over torchstain", of("macenko", _TILE, "ratio"), 5, True),
        Target("crops with an error or NaN", broken, 1, False, ""),
        Target("crops with a wrong status", wrong, 1, False, ""),
    ]
    # torchstain as it is used, and with one profile a slide as well.
    for arm, theirs in ((_SLIDE, BASELINE[0]), (_SLIDE, _BASELINE_SLIDE), (_TILE, BASELINE[0])):
        for name in ("means", "distributions"):
            what = f"{arm}: variation of {name} over {theirs}"
            ratio = of("macenko", arm, name) / of("macenko", theirs, name)
            checked.append(Target(what, ratio, 1.0 + 1e-9, False))
    checked += [
        Target(f"{method}, torch within one grey level", 100 * share, 99.9, True, "%")
        for method, share in agreement.items()
    ]
    return checked


def plot(summed: Sequence[Row], untouched: Mapping[str, float], path: Path) -> None:
    """Draw speed against the variation that is left."""
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    markers = {"macenko": "o", "vahadane": "s", "reinhard": "^"}
    shown = [row for row in summed if not math.isnan(row.means) and not math.isnan(row.ratio)]
    arms = list(dict.fromkeys(row.arm for row in shown))
    for row in shown:
        axes.plot(
            row.ratio,
            row.means,
            markers[row.method],
            color=f"C{arms.index(row.arm)}",
            markersize=9,
            label=f"{row.method}, {row.arm}",
        )
    axes.axhline(untouched["means"], linestyle="--", color="grey", label="not normalised")
    axes.set_xscale("log")
    axes.set_xlabel("tiles/s on one core, multiple of torchstain's Macenko (numpy)")
    axes.set_ylabel("colour between centres, ΔE")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path)


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
