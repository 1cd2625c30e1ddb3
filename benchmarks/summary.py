"""From measured runs to ratios, a table and the targets; pure functions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

BASELINE = "HistoPrep"
OURS = "ours"
LIMITS = "limits"
MEMORY_MB = 600.0
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One program on one slide, medians over rounds.

    Attributes
    ----------
    gigapixels
        Size of the slide.
    tool, arm, variant
        Who, by which way, and which kind of tiles.
    tiles
        How many it made.
    tiles_per_s
        From the closed slide to the complete result, imports excluded.
    ratio, whole_ratio
        Tiles a second over the baseline's of the same variant in the same round, imports excluded
        and of the whole processes; NaN without a baseline.
    peak_mb, peak_sum_mb
        Largest memory of one process, and of all together, over the rounds.
    """

    gigapixels: float
    tool: str
    arm: str
    variant: str
    tiles: int
    tiles_per_s: float
    ratio: float
    whole_ratio: float
    peak_mb: float
    peak_sum_mb: float


@dataclass(frozen=True)
class Target:
    """A promise, the figure measured and whether it holds; NaN where nothing was measured."""

    name: str
    figure: float
    bound: float
    at_least: bool
    unit: str = "x"

    @property
    def status(self) -> str:
        """PASS, FAIL or MISSING."""
        if math.isnan(self.figure):
            return "MISSING"
        kept = self.figure >= self.bound if self.at_least else self.figure < self.bound
        return "PASS" if kept else "FAIL"

    def line(self) -> str:
        """One line of the report."""
        sign = ">=" if self.at_least else "<"
        figure = "not measured" if math.isnan(self.figure) else f"{self.figure:.3g} {self.unit}"
        return f"{self.status:<8}{self.name}: {figure} (wanted {sign} {self.bound:g} {self.unit})"


def rows(runs: Sequence[Run]) -> list[Row]:
    """Sum up the runs that succeeded, by slide in the order in which the programs came."""
    done = [run for run in runs if not run["failure"] and run["tool"] != LIMITS]
    groups: dict[tuple[float, str, str, str], list[Run]] = {}
    for run in done:
        key = (run["gigapixels"], run["tool"], run["arm"], run["variant"])
        groups.setdefault(key, []).append(run)
    baselines = {
        (run["gigapixels"], run["variant"], run["round"]): run
        for run in done
        if run["tool"] == BASELINE
    }
    summed = [
        Row(
            *key,
            tiles=round(median(run["tiles"] for run in group)),
            tiles_per_s=median(run["tiles"] / run["seconds"] for run in group),
            ratio=_ratio(group, baselines, "seconds"),
            whole_ratio=_ratio(group, baselines, "wall_s"),
            peak_mb=max(run["peak_mb"] for run in group),
            peak_sum_mb=max(run["peak_sum_mb"] for run in group),
        )
        for key, group in groups.items()
    ]
    return sorted(summed, key=lambda row: row.gigapixels)


def _ratio(
    group: Sequence[Run], baselines: Mapping[tuple[float, str, int], Run], time: str
) -> float:
    """Median over rounds of the ratio within a round."""
    ratios = []
    for run in group:
        base = baselines.get((run["gigapixels"], run["variant"], run["round"]))
        if base is not None:
            ratios.append(run["tiles"] / run[time] / (base["tiles"] / base[time]))
    return median(ratios) if ratios else math.nan


def limits(runs: Sequence[Run]) -> dict[float, dict[str, float]]:
    """Tiles a second of each limit by slide, medians, and `decoding share` of ours in the limit."""
    found: dict[float, dict[str, float]] = {}
    done = [run for run in runs if run["tool"] == LIMITS and not run["failure"]]
    for size in sorted({run["gigapixels"] for run in done}):
        speeds = [run["tiles_per_s"] for run in done if run["gigapixels"] == size]
        found[size] = {name: median(speed[name] for speed in speeds) for name in speeds[0]}
        found[size]["decoding share"] = median(
            speed["our decoding"] / speed["decode limit"] for speed in speeds
        )
    return found


def table(summed: Iterable[Row]) -> str:
    """Lay out rows as a Markdown table; throughput as ratios alone."""
    titles = "slide, Gpx|tiles|program|tiles made|x HistoPrep|x, whole process"
    titles += "|MB, largest process|MB, all"
    lines = [f"| {titles.replace('|', ' | ')} |", "|---:|---|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {row.gigapixels:g} | {row.variant} | {_name(row)} | {row.tiles:,} | {_times(row.ratio)}"
        f" | {_times(row.whole_ratio)} | {row.peak_mb:.0f} | {row.peak_sum_mb:.0f} |"
        for row in summed
    ]
    return "\n".join(lines)


def limits_table(found: Mapping[float, Mapping[str, float]]) -> str:
    """Lay out the limits: how much of each limit's speed is decoding's, by slide."""
    lines = [
        "| slide, Gpx | our decoding / limit | OpenSlide `read_region` / limit | copying / limit |",
        "|---:|---:|---:|---:|",
    ]
    for size, speeds in found.items():
        shares = [
            speeds[name] / speeds["decode limit"]
            for name in ("our decoding", "OpenSlide read_region", "copy limit")
        ]
        lines.append(f"| {size:g} | " + " | ".join(f"{share:.3g}" for share in shares) + " |")
    return "\n".join(lines)


def targets(
    summed: Sequence[Row], found: Mapping[float, Mapping[str, float]], others: Mapping[str, float]
) -> list[Target]:
    """Compare with what issue 3 asks for, on the largest slide.

    Parameters
    ----------
    summed, found
        From `rows` and `limits`.
    others
        "help" in seconds, and "batch reading" as a share of decoding from memory, where measured.
    """
    sizes = [row.gigapixels for row in summed]
    largest = max(sizes, default=math.nan)
    ours = {row.arm: row for row in summed if row.tool == OURS and row.gigapixels == largest}

    def ratio(arm: str) -> float:
        return ours[arm].ratio if arm in ours else math.nan

    peaks = [row.peak_mb for row in summed if row.tool == OURS]
    return [
        Target("passthrough over HistoPrep", ratio("passthrough"), 40, at_least=True),
        Target("difference in number of tiles", _difference(summed, largest), 30, False, "%"),
        Target("decode to JPEG over HistoPrep", ratio("decode to JPEG"), 4, at_least=True),
        Target("decode to lossless over HistoPrep", ratio("decode to lossless"), 4, at_least=True),
        Target(
            "decoding over the limit",
            found.get(largest, {}).get("decoding share", math.nan),
            0.8,
            at_least=True,
        ),
        Target("overlapping over HistoPrep", ratio("overlapping"), 2, at_least=True),
        Target("resampled over HistoPrep", ratio("resampled"), 2, at_least=True),
        Target(
            "batch reading over decoding from memory",
            others.get("batch reading", math.nan),
            0.85,
            at_least=True,
        ),
        Target("memory, largest slide against smallest", _growth(summed), 10, False, "%"),
        Target("memory of a worker", max(peaks, default=math.nan), MEMORY_MB, False, "MB"),
        Target("wsi-specdec --help", others.get("help", math.nan), 0.5, False, "s"),
    ]


def _growth(summed: Sequence[Row]) -> float:
    """Largest difference of our memory between the smallest and largest slide, in percent."""
    ours = [row for row in summed if row.tool == OURS]
    sizes = {row.gigapixels for row in ours}
    if len(sizes) < 2:
        return math.nan
    small, large = min(sizes), max(sizes)
    before = {row.arm: row.peak_mb for row in ours if row.gigapixels == small}
    after = {row.arm: row.peak_mb for row in ours if row.gigapixels == large}
    both = [abs(after[arm] / before[arm] - 1) for arm in before if arm in after]
    return 100 * max(both, default=math.nan)


def _difference(summed: Sequence[Row], size: float) -> float:
    """Largest difference of our number of tiles from the baseline's, in percent."""
    here = [row for row in summed if row.gigapixels == size]
    base = {row.variant: row.tiles for row in here if row.tool == BASELINE}
    differences = [
        abs(row.tiles / base[row.variant] - 1)
        for row in here
        if row.tool == OURS and row.variant in base
    ]
    return 100 * max(differences, default=math.nan)


def _name(row: Row) -> str:
    return row.tool if row.arm == row.tool else f"{row.tool}: {row.arm}"


def _times(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.3g}"
