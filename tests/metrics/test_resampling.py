"""Measures and differences with clusters and seeds."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from wsi_specdec.metrics import (
    METRICS,
    Measure,
    Plan,
    Sample,
    compare,
    gap,
    measure,
    measure_all,
    plan_for,
    resample,
    wilson_interval,
)

Floats = NDArray[np.float64]
EVERY = tuple(METRICS)


def sample_of(
    seed: int, n_patients: int = 20, units: int = 3, seeds: int = 1, shift: float = 0.25
) -> Sample:
    """Patients with one label each, units that share part of their noise within a patient."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), units)
    labels = (np.arange(n_patients) % 2)[patients]
    noise = rng.normal(0, 0.2, n_patients)[patients] + rng.normal(0, 0.1, patients.size)
    training = rng.normal(0, 0.1, (seeds, patients.size))
    scores = np.clip(0.4 + shift * labels + noise + training, 0, 1)
    return Sample(labels, patients, scores, (scores >= 0.5).astype(np.int64))


def measured(sample: Sample, names: tuple[str, ...] = EVERY, seed: int = 0) -> dict[str, Measure]:
    return measure_all(sample, names, resamples=400, confidence=0.95, seed=seed)


def test_value_is_the_point_metric_and_lies_in_its_interval() -> None:
    sample = sample_of(0)
    for name, found in measured(sample).items():
        values = sample.calls if METRICS[name].of_calls else sample.scores
        point = METRICS[name].point(sample.labels, values[0])
        assert (found.value, found.n, found.per_seed) == (point.value, point.n, (point.value,))
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.value is not None
        # A calibration error is biased upwards by resampling, so its own value may lie outside.
        if name != "ece":
            assert found.ci_low < found.value < found.ci_high
        assert found.reason is None


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    sample = sample_of(0)
    assert measured(sample, seed=3) == measured(sample, seed=3)
    assert measured(sample, seed=3)["f1"] != measured(sample, seed=4)["f1"]
    # No chance in these.
    for name in ("auroc", "sensitivity", "balanced_accuracy"):
        assert measured(sample, seed=3)[name] == measured(sample, seed=4)[name]


def test_replicates_are_the_metric_of_resampled_patients_and_seeds() -> None:
    sample = sample_of(1, n_patients=8, seeds=3)
    plan = plan_for(sample, 20, seed=5)
    found = resample(sample, ["auroc", "accuracy"], plan)
    for name, rows in (("auroc", sample.scores), ("accuracy", sample.calls)):
        for draw in range(20):
            again = np.repeat(np.arange(24), plan.patients[draw].astype(int)[sample.patients])
            values = [METRICS[name].point(sample.labels[again], row[again]).value for row in rows]
            expected = np.dot(plan.seeds[draw], np.array(values, dtype=float))
            assert found[name].replicates[draw] == pytest.approx(expected, nan_ok=True)


def test_jackknife_leaves_out_whole_patients() -> None:
    sample = sample_of(2, n_patients=7, seeds=2)
    found = resample(sample, ["auroc"], plan_for(sample, 100, seed=0))["auroc"]
    for patient in range(7):
        kept = sample.patients != patient
        values = [METRICS["auroc"].point(sample.labels[kept], row[kept]) for row in sample.scores]
        expected = np.mean([point.value for point in values if point.value is not None])
        assert found.jackknife[patient] == pytest.approx(expected)


def test_units_of_one_patient_are_drawn_together() -> None:
    """Copies of every unit add nothing: the interval stays, where one over units would shrink."""
    single = sample_of(3, n_patients=40, units=1)
    copies = np.repeat(np.arange(40), 25)
    copied = Sample(
        single.labels[copies], copies, single.scores[:, copies], single.calls[:, copies]
    )
    once, often = measured(single), measured(copied)
    shares = {"sensitivity", "specificity", "accuracy", "balanced_accuracy"}
    for name, found in once.items():
        again = often[name]
        if name in shares:
            # Wilson's intervals of several units a patient are by Student's t: a little wider.
            ends = np.array([each.ci_high for each in (again, found)], dtype=float)
            ends -= np.array([each.ci_low for each in (again, found)], dtype=float)
            assert 1 < ends[0] / ends[1] < 1.1
            continue
        assert again.ci_low == pytest.approx(found.ci_low)
        assert again.ci_high == pytest.approx(found.ci_high)


def test_several_seeds_report_each_and_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    base = sample_of(4, n_patients=200, units=1)
    # Seeds of very different quality: what training again would give is part of the doubt.
    noise = np.array([0.0, 1.0, 4.0])[:, None] * rng.normal(size=(3, 200))
    scores = 1 / (1 + np.exp(-(4 * base.scores[0] - 2 + noise)))
    several = Sample(base.labels, base.patients, scores, (scores >= 0.5).astype(np.int64))
    found = measured(several, ("auroc",))["auroc"]
    assert found.value == pytest.approx(np.mean(np.array(found.per_seed, dtype=float)))
    assert len(found.per_seed) == 3
    alike = Sample(
        base.labels, base.patients, np.tile(scores[1], (3, 1)), np.tile(several.calls[1], (3, 1))
    )
    narrow = measured(alike, ("auroc",))["auroc"]
    assert found.ci_high is not None
    assert found.ci_low is not None
    assert narrow.ci_high is not None
    assert narrow.ci_low is not None
    assert found.ci_high - found.ci_low > 1.2 * (narrow.ci_high - narrow.ci_low)


def simple(labels: list[int], calls: list[int], patients: list[int] | None = None) -> Sample:
    codes = np.arange(len(labels)) if patients is None else np.array(patients)
    rows = np.array([calls])
    return Sample(np.array(labels, dtype=np.int64), codes, rows * 0.6 + 0.2, rows)


def test_perfect_calls_get_exact_intervals_or_a_reason() -> None:
    found = measured(simple([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]))
    for name in ("auroc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"):
        each = found[name]
        assert each.value == 1
        assert each.ci_low is not None
        assert 0 < each.ci_low < 1
        assert each.ci_high == 1
        assert each.reason is not None
    for name in ("f1", "average_precision"):
        assert found[name].value == 1
        assert (found[name].ci_low, found[name].ci_high) == (None, None)
        assert found[name].reason == "every resample gives 1"


@pytest.mark.parametrize(
    "sample",
    [
        simple([], []),
        simple([0], [0]),
        simple([1, 1], [1, 0]),
        simple([0, 0, 0], [0, 0, 0]),
        simple([0, 1], [0, 1], patients=[0, 0]),
        simple([0, 1], [1, 0]),
        simple([1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]),
    ],
    ids=["none", "one", "positive", "negative", "one patient", "all wrong", "one positive"],
)
def test_whatever_is_missing_has_a_reason(sample: Sample) -> None:
    for found in measured(sample).values():
        parts = (found.value, found.ci_low, found.ci_high)
        assert all(part is None or np.isfinite(part) for part in parts)
        assert (found.ci_low is None) == (found.ci_high is None)
        if None in parts:
            assert found.reason


def test_one_patient_gives_no_interval_however_many_units() -> None:
    found = measured(simple([0, 1, 0, 1], [0, 1, 1, 1], patients=[0, 0, 0, 0]))
    for each in found.values():
        assert each.value is not None
        assert (each.ci_low, each.ci_high) == (None, None)
        assert each.reason == "no interval: there is one patient"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
@example(442, 1)
def test_small_random_samples_never_give_nan_or_a_bare_none(seed: int, seeds: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    patients = np.unique(rng.integers(0, 5, n), return_inverse=True)[1]
    scores = rng.integers(0, 4, (seeds, n)) / 3
    calls = (scores > 0.5).astype(np.int64)
    sample = Sample(rng.integers(0, 2, n), patients, scores, calls)
    measures = measure_all(sample, EVERY, resamples=100, confidence=0.95, seed=0)
    for name, found in measures.items():
        parts = (found.value, found.ci_low, found.ci_high)
        assert None not in parts or found.reason
        lowest = METRICS[name].lowest
        assert all(part is None or lowest - 1e-9 <= part <= 1 + 1e-9 for part in parts)
        assert (found.interval is None) == (found.ci_low is None)


def arms(seed: int, gain: float, n_patients: int = 40, seeds: int = 1) -> tuple[Sample, Sample]:
    base = sample_of(seed, n_patients, seeds=seeds)
    rng = np.random.default_rng(seed + 1)
    better = np.clip(
        base.scores + gain * (base.labels - 0.5) + rng.normal(0, 0.05, base.scores.shape), 0, 1
    )
    return Sample(base.labels, base.patients, better, (better >= 0.5).astype(np.int64)), base


def test_difference_is_paired() -> None:
    arm, base = arms(0, gain=0.1)
    plan = plan_for(base, 1000, seed=0)
    one, other = (resample(each, ["auroc"], plan)["auroc"] for each in (arm, base))
    found = compare(one, other, 0.95)
    assert one.value is not None
    assert other.value is not None
    assert found.delta == pytest.approx(one.value - other.value)
    assert found.ci_low is not None
    assert found.ci_high is not None
    width = found.ci_high - found.ci_low
    alone = [measure(each, 0.95) for each in (one, other)]
    widths = np.array([m.ci_high - m.ci_low for m in alone if m.ci_high and m.ci_low])
    # Shared patients cancel: far below what two independent arms would give.
    assert width < 0.7 * np.linalg.norm(widths)
    assert found.test == "bootstrap over patients"
    reverse = compare(other, one, 0.95)
    assert reverse.delta == pytest.approx(other.value - one.value)
    assert reverse.p == pytest.approx(found.p)
    assert reverse.ci_low == pytest.approx(-found.ci_high, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_interval_and_p_of_a_difference_agree(seed: int) -> None:
    arm, base = arms(seed, gain=0.02 * seed)
    plan = plan_for(base, 999, seed=0)
    one, other = (resample(each, ["auroc"], plan)["auroc"] for each in (arm, base))
    found = compare(one, other, 0.95)
    assert found.p is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    if abs(found.p - 0.05) > 0.005:
        assert (found.p < 0.05) == (found.ci_low > 0 or found.ci_high < 0)


def test_arms_that_agree_everywhere_have_p_one_and_no_interval() -> None:
    base = sample_of(0)
    plan = plan_for(base, 100, seed=0)
    one = resample(base, ["accuracy"], plan)["accuracy"]
    found = compare(one, one, 0.95)
    assert (found.delta, found.p, found.ci_low, found.ci_high) == (0, 1, None, None)
    assert found.reason == "every resample gives 0"


def test_undefined_difference_has_a_reason() -> None:
    one_class = simple([1, 1], [1, 0])
    plan = plan_for(one_class, 100, seed=0)
    each = resample(one_class, ["auroc"], plan)["auroc"]
    found = compare(each, each, 0.95)
    assert (found.delta, found.p) == (None, None)
    assert found.reason == "all 2 units are positive"


def test_other_units_are_not_compared() -> None:
    one, other = sample_of(0), sample_of(1, n_patients=21)
    first, second = (
        resample(each, ["auroc"], plan_for(each, 100, seed=0))["auroc"] for each in (one, other)
    )
    with pytest.raises(ValueError, match="same units"):
        compare(first, second, 0.95)


def test_seeds_are_paired_too() -> None:
    """A seed that is lucky for both arms cancels in their difference."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    luck = np.array([0.0, 0.6, 1.2])[:, None]
    noise = rng.normal(size=100)
    base = luck * labels + noise
    better = base + 0.05 * labels
    plan = Plan(np.ones((500, 100)), plan_for_seeds(500))
    found = [
        resample(Sample(labels, np.arange(100), each, (each > 0).astype(int)), ["auroc"], plan)
        for each in (better, base)
    ]
    one, other = found[0]["auroc"], found[1]["auroc"]
    difference = compare(one, other, 0.95)
    assert difference.test == "bootstrap over seeds and patients"
    assert np.ptp(one.replicates - other.replicates) < 0.1 * np.ptp(one.replicates)


def plan_for_seeds(resamples: int) -> Floats:
    return np.random.default_rng(0).multinomial(3, np.full(3, 1 / 3), size=resamples) / 3


def test_a_gap_adds_the_distances_of_both_intervals() -> None:
    """Newcombe (1998), Statistics in Medicine 17: 873, table II, method 10 on 56/70 and 48/80."""
    intervals = [wilson_interval(k / n, n, norm.ppf(0.975)) for k, n in ((56, 70), (48, 80))]
    first, second = (
        Measure(k / n, each.low, each.high, n, (k / n,))
        for (k, n), each in zip(((56, 70), (48, 80)), intervals, strict=True)
    )
    found = gap(first, second)
    assert found.delta == pytest.approx(0.2)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert gap(second, first).ci_high == pytest.approx(-0.0524, abs=5e-5)


def test_a_gap_without_a_value_or_an_interval_says_why() -> None:
    sound = Measure(0.8, 0.7, 0.9, 10, (0.8,))
    undefined = Measure(None, None, None, 0, (None,), "no unit is positive")
    bare = Measure(0.9, None, None, 1, (0.9,), "no interval: there is one patient")
    for pair in ((sound, undefined), (undefined, sound)):
        found = gap(*pair)
        assert (found.delta, found.ci_low, found.reason) == (None, None, "no unit is positive")
    found = gap(sound, bare)
    assert found.delta == pytest.approx(-0.1)
    assert (found.ci_high, found.reason) == (None, bare.reason)


def test_intervals_cover_the_truth() -> None:
    """200 cohorts of 60 patients with two correlated slides each; 95 % intervals.

    The true AUROC of normal scores is known; 200 draws at 95 % lie within 90 and 99 % in 99.9 %
    of runs, and a bootstrap over slides instead of patients falls far below.
    """
    covered = {"auroc": 0, "accuracy": 0, "sensitivity": 0}
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 2)
    labels = (np.arange(60) % 2)[patients]
    truth = {"auroc": 0.760250, "accuracy": 0.691462, "sensitivity": 0.691462}
    for trial in range(200):
        noise = np.sqrt(0.8) * rng.normal(size=60)[patients] + np.sqrt(0.2) * rng.normal(size=120)
        scores = (labels + noise)[None]
        sample = Sample(labels, patients, scores, (scores >= 0.5).astype(np.int64))
        found = measure_all(sample, tuple(covered), resamples=100, confidence=0.95, seed=trial)
        for name, each in found.items():
            assert each.ci_low is not None
            assert each.ci_high is not None
            covered[name] += each.ci_low <= truth[name] <= each.ci_high
    for count in covered.values():
        assert 0.9 <= count / 200 <= 0.99
