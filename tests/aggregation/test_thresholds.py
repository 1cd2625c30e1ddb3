"""Threshold rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from wsi_specdec.aggregation import Rule, confidence, fit_threshold
from wsi_specdec.config import ThresholdRule
from wsi_specdec.errors import NotEnoughDataError

LABELS = [0, 0, 0, 1, 1, 1]
# One negative above one positive.
SCORES = [0.1, 0.2, 0.5, 0.4, 0.7, 0.9]

slides = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 10).map(lambda level: level / 10)),
    min_size=2,
    max_size=25,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def fit(rule: ThresholdRule, target: float = 0.9) -> float:
    return fit_threshold(LABELS, SCORES, Rule(rule, target), "the split")


def rates(labels: list[int], scores: list[float], threshold: float) -> tuple[float, float]:
    truth, called = np.array(labels), np.array(scores) >= threshold
    return float(called[truth == 1].mean()), float((~called[truth == 0]).mean())


def test_youden_lies_midway_between_neighbours_and_prefers_sensitivity() -> None:
    # At 0.3: 1 + 2/3 - 1. At 0.6: 2/3 + 1 - 1. Equal, so the lower one.
    assert fit("youden") == pytest.approx(0.3)


def test_youden_of_separate_classes_is_the_middle_of_the_gap() -> None:
    assert fit_threshold([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], Rule("youden"), "") == pytest.approx(
        0.5
    )


def test_sensitivity_and_specificity_by_hand() -> None:
    assert fit("sensitivity", 1.0) == pytest.approx(0.3)
    assert fit("sensitivity", 2 / 3) == pytest.approx(0.6)
    assert fit("sensitivity", 0.5) == pytest.approx(0.6)
    assert fit("specificity", 1.0) == pytest.approx(0.6)
    assert fit("specificity", 2 / 3) == pytest.approx(0.3)


@given(slides)
def test_youden_reaches_the_best_that_scikit_learn_finds(rows: list[tuple[int, float]]) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]
    sensitivity, specificity = rates(
        labels, scores, fit_threshold(labels, scores, Rule("youden"), "")
    )
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert sensitivity + specificity - 1 == pytest.approx((tpr - fpr).max())


@given(slides, st.floats(0, 1))
def test_targets_are_kept_at_the_least_cost(rows: list[tuple[int, float]], target: float) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    kept = rates(labels, scores, fit_threshold(labels, scores, Rule("sensitivity", target), ""))
    assert kept[0] >= target - 1e-9
    assert kept[1] == pytest.approx(1 - fpr[tpr >= target - 1e-9].min())
    kept = rates(labels, scores, fit_threshold(labels, scores, Rule("specificity", target), ""))
    assert kept[1] >= target - 1e-9
    assert kept[0] == pytest.approx(tpr[1 - fpr >= target - 1e-9].max())


@given(slides, st.floats(0.01, 100), st.floats(0.01, 0.99))
def test_cost_is_the_least_of_all_thresholds(
    rows: list[tuple[int, float]], ratio: float, prevalence: float
) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]

    def cost(threshold: float) -> float:
        sensitivity, specificity = rates(labels, scores, threshold)
        return prevalence * ratio * (1 - sensitivity) + (1 - prevalence) * (1 - specificity)

    rule = Rule("cost", cost_ratio=ratio, prevalence=prevalence)
    found = cost(fit_threshold(labels, scores, rule, ""))
    every = [cost(threshold) for threshold in [*scores, 2.0]]
    assert found == pytest.approx(min(every), abs=1e-9)


@given(slides)
def test_cost_of_equal_errors_counts_them_and_metz_slope_of_one_is_youden(
    rows: list[tuple[int, float]],
) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]

    def errors(threshold: float) -> int:
        return sum((score >= threshold) != label for label, score in rows)

    found = fit_threshold(labels, scores, Rule("cost"), "")
    assert errors(found) == min(errors(threshold) for threshold in [*scores, 2.0])
    even = Rule("cost", cost_ratio=1, prevalence=0.5)
    youden = fit_threshold(labels, scores, Rule("youden"), "")
    assert fit_threshold(labels, scores, even, "") == youden


def test_cost_moves_the_threshold_with_its_ratio_and_the_prevalence() -> None:
    # One negative above one positive: 0.3 misses none, 0.6 has no false positive.
    def at(ratio: float, prevalence: float | None) -> float:
        rule = Rule("cost", cost_ratio=ratio, prevalence=prevalence)
        return fit_threshold(LABELS, SCORES, rule, "")

    assert at(1.01, None) == pytest.approx(0.3)
    assert at(0.99, None) == pytest.approx(0.6)
    assert at(1, 0.51) == pytest.approx(0.3)
    assert at(1, 0.49) == pytest.approx(0.6)
    # At a prevalence of 1 in 100 a miss outweighs a false positive from 99 on.
    assert at(98, 0.01) == pytest.approx(0.6)
    assert at(100, 0.01) == pytest.approx(0.3)


@given(slides)
def test_a_threshold_is_no_score_so_rounding_cannot_flip_a_call(
    rows: list[tuple[int, float]],
) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]
    threshold = fit_threshold(labels, scores, Rule("youden"), "")
    assert min(abs(threshold - score) for score in scores) > 1e-3 or threshold in {0.0, 1.0}


def test_neighbouring_floats_are_still_parted() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    threshold = fit_threshold([0, 1], [low, high], Rule("youden"), "")
    assert low < threshold <= high


def test_full_specificity_is_kept_where_a_negative_scores_one() -> None:
    threshold = fit_threshold([0, 1], [1.0, 0.5], Rule("specificity", 1.0), "")
    assert threshold > 1


def test_fixed_needs_no_slides() -> None:
    assert fit_threshold([], [], Rule("fixed", 0.37), "") == 0.37


@pytest.mark.parametrize("rule", ["youden", "sensitivity", "specificity", "cost"])
@pytest.mark.parametrize(("labels", "counts"), [([1, 1], "2 positive and 0"), ([], "0 positive")])
def test_one_class_says_what_to_do(rule: ThresholdRule, labels: list[int], counts: str) -> None:
    with pytest.raises(NotEnoughDataError, match=f"the split 'x' holds {counts}") as caught:
        fit_threshold(labels, [0.5] * len(labels), Rule(rule), "the split 'x'")
    assert "threshold_rule to 'fixed'" in str(caught.value)


@pytest.mark.parametrize(
    ("score", "threshold", "expected"),
    [
        (0.3, 0.3, 0),
        (1.0, 0.3, 1),
        (0.0, 0.3, 1),
        (0.65, 0.3, 0.5),
        (0.15, 0.3, 0.5),
        (0.0, 0.0, 0),
        (1.0, 1.0, 0),
        (0.4, 0.0, 0.4),
        (0.4, 1.0, 0.6),
        (0.4, float(np.nextafter(1, 2)), 0.6),
    ],
)
def test_confidence_by_hand(score: float, threshold: float, expected: float) -> None:
    assert confidence(score, threshold) == pytest.approx(expected)
