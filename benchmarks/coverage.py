"""How often 95 % intervals hold the truth, on simulated cohorts whose truth is known.

    python -m benchmarks.coverage [--simulations N] [--workers N] [--resamples N] [--only NAME]

The scores of a patient's slides share a part of their noise. The truth is that of the population:
4 million simulated slides, over 400 trainings where there are several seeds. Every interval is the
one that `evaluate` writes; that of the plain BCa bootstrap stands beside it. Prints a Markdown
table, which docs/statistics.md holds.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.metrics import (
    METRICS,
    Sample,
    bootstrap_interval,
    measure,
    plan_for,
    resample,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("auroc", "average_precision", "sensitivity", "specificity", "balanced_accuracy")
CONFIDENCE = 0.95
TRUTH_SLIDES = 4_000_000
CHUNK = 50


@dataclass(frozen=True)
class Scenario:
    """A population of patients and of trainings.

    Attributes
    ----------
    name
        What it is called.
    patients
        Number in a cohort.
    positives
        Chance that a patient, or where `mixed` a slide, is positive.
    shift
        Distance of the classes' mean scores, in standard deviations.
    threshold
        A slide is called positive at or above it.
    slides
        A patient has 1 to this many slides, with equal chance.
    shared
        Share of the variance that a patient's slides have in common.
    mixed
        Whether a patient's slides differ in class.
    seeds, training
        Trainings, and the standard deviation of a training's shift and of its threshold.
    """

    name: str
    patients: int = 100
    positives: float = 0.5
    shift: float = 1.5
    threshold: float = 0.75
    slides: int = 1
    shared: float = 0.0
    mixed: bool = False
    seeds: int = 1
    training: float = 0.0

    def draw(self, rng: np.random.Generator, patients: int | None = None) -> Sample:
        """Draw a cohort, and what each training makes of it."""
        count = patients or self.patients
        owners = np.repeat(np.arange(count), rng.integers(1, self.slides + 1, count))
        labels = (rng.random(count) < self.positives).astype(np.int64)[owners]
        if self.mixed:
            labels = (rng.random(owners.size) < self.positives).astype(np.int64)
        noise = np.sqrt(self.shared) * rng.normal(size=count)[owners]
        noise += np.sqrt(1 - self.shared) * rng.normal(size=owners.size)
        rows, calls = [], []
        for _ in range(self.seeds):
            shift, threshold = self.training * rng.normal(size=2)
            # What trainings disagree about on a slide beside how good they are.
            own = self.training * rng.normal(size=owners.size)
            row = (self.shift + shift) * labels + noise + own
            rows.append(row)
            calls.append(row >= self.threshold + threshold)
        return Sample(labels, owners, np.stack(rows), np.stack(calls).astype(np.int64))


SCENARIOS = (
    Scenario("100 patients, half positive"),
    Scenario("100 patients, 30 % positive", positives=0.3),
    Scenario("100 patients, strong classifier", shift=2.6, threshold=1.3),
    Scenario("100 patients, 30 % positive, strong", positives=0.3, shift=2.6, threshold=1.0),
    Scenario("100 patients, 1 to 5 slides", slides=5, shared=0.6),
    Scenario("100 patients, 1 to 5 slides, 30 % positive", positives=0.3, slides=5, shared=0.6),
    Scenario("100 patients, 1 to 5 slides, strong", slides=5, shared=0.6, shift=2.6, threshold=1.3),
    Scenario("100 patients, 1 to 5 slides of either class", slides=5, shared=0.6, mixed=True),
    Scenario("300 patients, 20 % positive", patients=300, positives=0.2),
    Scenario("100 patients, 3 seeds", seeds=3, training=0.3),
    Scenario("100 patients, 5 seeds, 1 to 5 slides", seeds=5, training=0.3, slides=5, shared=0.6),
)


def truth_of(scenario: Scenario, slides: int = TRUTH_SLIDES) -> dict[str, float]:
    """Return each metric's value on the population: the mean over many cohorts' worth of slides."""
    one = Scenario(
        **{**vars(scenario), "seeds": 1, "slides": 1, "shared": 0.0, "mixed": False, "training": 0}
    )
    if scenario.training == 0:
        return _values(one.draw(np.random.default_rng(1), slides))
    # Metrics are no linear functions of a training's luck: average over many trainings.
    found = []
    for seed in range(400):
        luck = Scenario(**{**vars(one), "training": scenario.training})
        found.append(_values(luck.draw(np.random.default_rng([2, seed]), slides // 100)))
    return {name: float(np.mean([each[name] for each in found])) for name in NAMES}


def _values(sample: Sample) -> dict[str, float]:
    out = {}
    for name in NAMES:
        values = sample.calls if METRICS[name].of_calls else sample.scores
        value = METRICS[name].point(sample.labels, values[0]).value
        assert value is not None
        out[name] = value
    return out


@dataclass(frozen=True)
class Tally:
    """What one metric's intervals did over simulations.

    Attributes
    ----------
    covered, below, none, width
        Intervals that hold the truth, that lie below it, that could not be had, and the summed
        width of the others.
    """

    covered: int = 0
    below: int = 0
    none: int = 0
    width: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        """Add two counts."""
        return Tally(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


def judge(low: float | None, high: float | None, truth: float) -> Tally:
    """Judge one interval."""
    if low is None or high is None:
        return Tally(none=1)
    return Tally(int(low <= truth <= high), int(high < truth), 0, high - low)


Tallies = dict[tuple[str, str], Tally]


def simulate(
    scenario: Scenario, truth: Mapping[str, float], resamples: int, numbers: Sequence[int]
) -> Tallies:
    """Run simulations; tally by metric and method ("ours", "BCa")."""
    out: Tallies = {(name, way): Tally() for name in NAMES for way in ("ours", "BCa")}
    for number in numbers:
        sample = scenario.draw(np.random.default_rng([0, number]))
        for name, each in resample(sample, NAMES, plan_for(sample, resamples, number)).items():
            ours = measure(each, CONFIDENCE)
            out[name, "ours"] += judge(ours.ci_low, ours.ci_high, truth[name])
            if each.undefined is None:
                plain = bootstrap_interval(
                    each.estimate, each.replicates, each.jackknife, CONFIDENCE
                )
                out[name, "BCa"] += judge(plain.low, plain.high, truth[name])
    return out


def run(scenario: Scenario, simulations: int, resamples: int, pool: ProcessPoolExecutor) -> Tallies:
    """Run a scenario over a pool of processes."""
    work: Callable[[Sequence[int]], Tallies] = partial(
        simulate, scenario, truth_of(scenario), resamples
    )
    total: Tallies = {}
    for part in pool.map(work, _chunks(simulations)):
        total = {key: total.get(key, Tally()) + tally for key, tally in part.items()}
    return total


def _chunks(count: int) -> Iterator[Sequence[int]]:
    for start in range(0, count, CHUNK):
        yield range(start, min(start + CHUNK, count))


def rows_of(scenario: Scenario, tallies: Tallies, simulations: int) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    for way in ("ours", "BCa"):
        cells = []
        for name in NAMES:
            tally = tallies[name, way]
            share = 100 * tally.covered / simulations
            cells.append(f"{share:.1f}" + (f" ({tally.none} none)" if tally.none else ""))
        yield f"| {scenario.name} | {way} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table of coverages in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="scenarios whose name holds this")
    given = parser.parse_args()
    titles = ("cohort", "interval", *(name.replace("_", " ") for name in NAMES))
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    started = time.monotonic()
    with ProcessPoolExecutor(given.workers) as pool:
        for scenario in SCENARIOS:
            if given.only is None or given.only in scenario.name:
                tallies = run(scenario, given.simulations, given.resamples, pool)
                for row in rows_of(scenario, tallies, given.simulations):
                    print(row, flush=True)
    seconds = time.monotonic() - started
    print(f"\n{given.simulations} simulations each, {given.resamples} resamples, {seconds:.0f} s")


if __name__ == "__main__":
    main()
