"""Gradient starvation itself: a linear system against theory, and two moons."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from wsi_specdec.config import LinearConfig, StarvationConfig
from wsi_specdec.files import write_json
from wsi_specdec.keys import RESULTS_FILE
from wsi_specdec.provenance import provenance
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.page import Picture, Section, write_page
from wsi_specdec.studies.pool import in_processes
from wsi_specdec.studies.starvation.figures import draw_linear, draw_moon_boundaries
from wsi_specdec.studies.starvation.moons import Trained, Training, train_on_moons
from wsi_specdec.studies.starvation.tables import linear_table, moons_table
from wsi_specdec.studies.starvation.two_features import (
    Descent,
    LinearRun,
    System,
    descend,
    flow,
    margin_at_rest,
    rates_at_rest,
    response_at_rest,
)

Floats = NDArray[np.float64]

# Steps of gradient descent from one record to the next.
_EVERY: Final = 10
# Distances from rest between which a rate is measured: where the flow is linear, and above
# what it makes that the loss keeps λ in float32.
_NEAR, _NEAREST = 1e-3, 1e-6
_NOTES: Final = (
    "Nothing is chosen: every value of weight decay and of λ that was tried is shown.",
    (
        "Intervals are Student's over the seeds; a seed draws the points, the first parameters "
        "and, in the linear system, the angle and the directions of the features."
    ),
    (
        "Both systems are made to show gradient starvation: what spectral decoupling does here "
        "is no measure of what it does on images."
    ),
)


def run(config: StarvationConfig, out: Path, workers: int) -> Path:
    """Train both systems, compare them with theory, and write results, figures and page.

    Parameters
    ----------
    out
        Gets `results.json`, `figures/` and `page.md`.
    workers
        Processes at a time.

    Returns
    -------
    Path
        The page.
    """
    descents, trainings = linear_arms(config.linear), _trainings(config)
    jobs: list[Callable[[], Any]] = [
        *(partial(_run_linear, config, descent) for descent in descents.values()),
        *(partial(train_on_moons, training) for training in trainings.values()),
    ]
    # By the same processes, which take seconds to start.
    done = in_processes(_called, jobs, workers, "train")
    first = len(descents)
    linear: dict[str, LinearRun] = dict(zip(descents, done[:first], strict=True))
    moons: dict[tuple[str, float, int], Trained] = dict(zip(trainings, done[first:], strict=True))
    found: dict[str, Any] = {
        "linear": describe_linear(linear, config),
        "moons": describe_moons(moons, config),
    }
    outcome = Outcome(
        study=config.kind,
        title=config.title,
        config=config.model_dump(mode="json", exclude={"full"}),
        provenance=provenance(),
        seeds=config.seeds,
        conditions={},
        notes=_NOTES,
    )
    write_json(out / RESULTS_FILE, outcome.to_json() | found)
    figures = out / "figures"
    draw_linear(figures / "starvation_linear.png", linear, found["linear"], config.linear)
    draw_moon_boundaries(figures / "starvation_moons.png", moons, found["moons"], config)
    return write_page(out, outcome, _pictures(figures), _sections(found))


def linear_arms(config: LinearConfig) -> dict[str, Descent]:
    """Return how each arm is trained."""
    penalties = {"ce": (0.0, 0.0), "wd": (0.0, config.weight_decay), "sd": (config.sd_coef, 0.0)}
    return {
        arm: Descent(*penalty, config.lr, config.steps, config.parameters)
        for arm, penalty in penalties.items()
    }


def systems_of(config: StarvationConfig) -> list[list[System]]:
    """Return the systems by seed and strength of the strong feature."""
    linear = config.linear
    low, high = np.radians(linear.angles)
    angles = [np.random.default_rng([seed, 1]).uniform(low, high) for seed in config.seeds]
    return [[System(float(a), (strong, linear.weak)) for strong in linear.strong] for a in angles]


def describe_linear(runs: Mapping[str, LinearRun], config: StarvationConfig) -> dict[str, Any]:
    """Compare what was trained with what theory says, over the seeds.

    Returns
    -------
    By arm: each strength's responses; `kept`, what is left of the weak feature's response where
    the strong one is strongest; and `largest_error`, relative to the prediction.
    """
    arms = {arm: _describe_arm(each, config) for arm, each in runs.items()}
    sd = config.linear.sd_coef
    ratios = _measured_rates(runs["sd"], config) / _predicted_rates(config)
    return {
        "arms": arms,
        "margin_at_rest": margin_at_rest(sd),
        # Measured over predicted rate of the weak feature under decoupling.
        "rate_ratio": over_seeds(ratios.mean(axis=1), config.confidence),
    }


def describe_moons(
    trained: Mapping[tuple[str, float, int], Trained], config: StarvationConfig
) -> list[dict[str, Any]]:
    """Measure each arm and value over the seeds."""
    rows = []
    for arm, value in dict.fromkeys((arm, value) for arm, value, _ in trained):
        each = [trained[arm, value, seed] for seed in config.seeds]
        accuracy = np.array([one.accuracy for one in each])
        rows.append(
            {
                "arm": arm,
                "value": value,
                "training_accuracy": over_seeds(
                    [one.training_accuracy for one in each], config.confidence, 1.0
                ),
                "margin": over_seeds([one.margin for one in each], config.confidence),
                "accuracy": [
                    {"gap": gap, **over_seeds(accuracy[:, row], config.confidence, 1.0)}
                    for row, gap in enumerate(config.moons.test_gaps)
                ],
            }
        )
    return rows


def over_seeds(
    values: Sequence[float] | Floats, confidence: float, highest: float = np.inf
) -> dict[str, Any]:
    """Return the mean of values from 0 to `highest`, and Student's interval; none of one seed.

    Nothing is said where a seed has no value, which is NaN.
    """
    found = np.asarray(values, dtype=np.float64)
    if np.isnan(found).any():
        return {"value": None, "ci_low": None, "ci_high": None, "per_seed": []}
    mean, n = float(found.mean()), found.size
    reach = None
    if n > 1:
        error = float(found.std(ddof=1)) / np.sqrt(n)
        reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    return {
        "value": mean,
        "ci_low": None if reach is None else max(0.0, mean - reach),
        "ci_high": None if reach is None else min(highest, mean + reach),
        "per_seed": found.tolist(),
    }


def _called(job: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the job gives
    return job()


def _run_linear(config: StarvationConfig, descent: Descent) -> LinearRun:
    systems = systems_of(config)
    flat = [system for row in systems for system in row]
    seeds = [seed for seed, row in zip(config.seeds, systems, strict=True) for _ in row]
    steps, responses = descend(flat, seeds, descent, _EVERY)
    penalties = (descent.sd_coef, descent.weight_decay)
    flows = np.stack([flow(s, *penalties, steps * descent.lr) for s in flat], axis=1)
    expected = (
        np.stack([response_at_rest(s, *penalties) for s in flat]) if any(penalties) else flows[-1]
    )
    shape = (len(systems), -1, 2)
    return LinearRun(
        steps,
        responses.reshape(len(steps), *shape),
        flows.reshape(len(steps), *shape),
        expected.reshape(shape),
    )


def _describe_arm(run: LinearRun, config: StarvationConfig) -> dict[str, Any]:
    found, expected = run.responses[-1], run.expected
    faintest = [_faintest(config.linear)]
    kept = found[..., 1] / found[:, faintest, 1]
    expected_kept = expected[..., 1] / expected[:, faintest, 1]
    return {
        "strengths": [
            {
                "strong": strong,
                "strong_response": over_seeds(found[:, row, 0], config.confidence),
                "weak_response": over_seeds(found[:, row, 1], config.confidence),
                "kept": over_seeds(kept[:, row], config.confidence),
                "expected_strong_response": float(expected[:, row, 0].mean()),
                "expected_weak_response": float(expected[:, row, 1].mean()),
                "expected_kept": float(expected_kept[:, row].mean()),
            }
            for row, strong in enumerate(config.linear.strong)
        ],
        "kept": over_seeds(kept[:, _strongest(config.linear)], config.confidence),
        "largest_error": float(np.abs(found / expected - 1).max()),
    }


def _strongest(config: LinearConfig) -> int:
    return int(np.argmax(config.strong))


def _faintest(config: LinearConfig) -> int:
    return int(np.argmin(config.strong))


def _measured_rates(run: LinearRun, config: StarvationConfig) -> Floats:
    """Rate of the weak feature's approach to rest, per unit of time: (seeds, strengths).

    NaN where training ended too early to tell.
    """
    distance = np.abs(run.responses - run.expected)[..., 1]
    out = np.full(distance.shape[1:], np.nan)
    for place in np.ndindex(*out.shape):
        along = distance[(slice(None), *place)]
        # A response may pass its rest on the way: what counts is after it was last far off.
        begin = int(np.flatnonzero(along >= _NEAR)[-1]) + 1
        rows = begin + np.flatnonzero(along[begin:] > _NEAREST)
        if len(rows) > 1:
            first, last = rows[0], rows[-1]
            shrunk = distance[(last, *place)] / distance[(first, *place)]
            factor = shrunk ** (1 / (run.steps[last] - run.steps[first]))
            out[place] = (1 - factor) / config.linear.lr
    return out


def _predicted_rates(config: StarvationConfig) -> Floats:
    return np.array(
        [
            [rates_at_rest(system, config.linear.sd_coef)[1] for system in row]
            for row in systems_of(config)
        ]
    )


def _trainings(config: StarvationConfig) -> dict[tuple[str, float, int], Training]:
    """Return every training on the moons by arm, value and seed."""
    moons = config.moons
    penalties = [
        ("ce", 0.0, 0.0, 0.0),
        *(("wd", value, 0.0, value) for value in moons.weight_decays),
        *(("sd", value, value, 0.0) for value in moons.sd_coefs),
    ]
    return {
        (arm, value, seed): Training(sd_coef, decay, seed, moons)
        for arm, value, sd_coef, decay in penalties
        for seed in config.seeds
    }


def _pictures(figures: Path) -> list[Picture]:
    return [
        Picture(
            figures / "starvation_linear.png",
            "Linear system. Left: what is learnt of the weak feature in the end, relative to what "
            "is where the other one is faintest; marks are gradient descent (mean and interval "
            "over the seeds), lines are theory. Right: responses in the course of training at the "
            "greatest strength, first seed; solid the strong feature, dashed the weak one, dotted "
            "where theory has it come to rest.",
        ),
        Picture(
            figures / "starvation_moons.png",
            "Two moons: where each network of the first seed draws the line, and the share of "
            "test points that are right as the gap closes (mean and interval over the seeds).",
        ),
    ]


def _sections(found: Mapping[str, Any]) -> list[Section]:
    return [
        Section("Linear system", linear_table(found["linear"])),
        Section("Two moons", moons_table(found["moons"])),
        Section("Notes", [f"- {note}" for note in _NOTES]),
    ]
