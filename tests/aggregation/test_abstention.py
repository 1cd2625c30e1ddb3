"""Which slides are referred: coverage by simulation, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.aggregation import Band, Conformal, fit_band, fit_conformal
from wsi_specdec.aggregation.abstention import fit_abstention
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import NotEnoughDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draw(rng: np.random.Generator, n: int) -> tuple[Ints, Floats]:
    """Slides of a rare class whose scores are far from probabilities."""
    labels = np.concatenate([np.ones(n // 5, int), np.zeros(n - n // 5, int)])
    return labels, rng.beta(1 + 2 * labels, 3 - labels)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_sets_hold_the_class_of_each_as_often_as_promised(alpha: float) -> None:
    rng = np.random.default_rng(7)
    held: dict[int, list[float]] = {0: [], 1: []}
    wrong: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(400):
        found = fit_conformal(*draw(rng, 100), alpha)
        labels, scores = draw(rng, 200)
        for label in (0, 1):
            own = scores[labels == label]
            held[label].append(float(np.mean([label in found.prediction_set(s) for s in own])))
            calls = [int(score >= 0.5) for score in own]
            kept = [c for c, s in zip(calls, own, strict=True) if not found.refers(s, c)]
            wrong[label].append(sum(call != label for call in kept) / len(own))
    for label, n in ((1, 20), (0, 80)):
        # Exact for scores without ties: ceil((n + 1)(1 - alpha)) / (n + 1), never below 1 - alpha.
        exact = math.ceil((n + 1) * (1 - alpha)) / (n + 1)
        error = float(4 * np.std(held[label]) / math.sqrt(400))
        assert np.mean(held[label]) == pytest.approx(exact, abs=error)
        assert np.mean(held[label]) >= 1 - alpha - error
        assert np.mean(wrong[label]) <= alpha + error


def test_by_hand() -> None:
    labels = [1] * 9 + [0] * 9
    positive = [0.1, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    negative = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.35, 0.45, 0.8]
    # Rank ceil(10 · 0.9) = 9 of 9: the oddest. Rank 8 of 9 at alpha 0.2.
    found = fit_conformal(labels, positive + negative, 0.1)
    assert (found.positive_from, found.negative_to) == (0.1, 0.8)
    found = fit_conformal(labels, positive + negative, 0.2)
    assert (found.positive_from, found.negative_to) == (0.4, 0.45)
    assert found.prediction_set(0.39) == {0}
    assert found.prediction_set(0.4) == found.prediction_set(0.45) == {0, 1}
    assert found.prediction_set(0.46) == {1}
    assert [found.refers(s, c) for s, c in ((0.39, 0), (0.45, 0), (0.46, 1))] == [0, 1, 0]
    # The set says positive and the threshold said negative.
    assert found.refers(0.46, 0)


def test_too_few_slides_of_a_class_refer_what_might_be_of_it() -> None:
    # ceil(9 · 0.9) = 9 > 8 slides.
    found = fit_conformal([1] * 8 + [0] * 9, [0.9] * 8 + [0.1] * 9, 0.1)
    assert found.positive_from is None
    assert found.negative_to == 0.1
    assert found.refers(0.0, 0)
    assert not found.refers(0.5, 1)


def test_no_class_is_likely_between_classes_that_are_apart() -> None:
    found = fit_conformal([1] * 19 + [0] * 19, [0.9] * 19 + [0.1] * 19, 0.1)
    assert found.prediction_set(0.5) == frozenset()
    assert found.refers(0.5, 1)
    assert found.refers(0.5, 0)


rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda level: level / 20)),
    min_size=2,
    max_size=40,
).filter(lambda pairs: len({label for label, _ in pairs}) == 2)


@given(rows, st.floats(0.01, 0.9), st.floats(0, 1))
def test_band_leaves_no_more_errors_than_allowed_on_either_side(
    pairs: list[tuple[int, float]], alpha: float, threshold: float
) -> None:
    labels, scores = [label for label, _ in pairs], [score for _, score in pairs]
    band = fit_band(labels, scores, alpha, threshold)
    assert band.low <= threshold <= band.high
    for label in (0, 1):
        own = [score for found, score in pairs if found == label]
        kept = [s for s in own if not band.refers(s, int(s >= threshold))]
        assert sum((s >= threshold) != label for s in kept) <= alpha * len(own) + 1e-9


def test_band_by_hand() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    scores = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9]
    # No miss below 0.35, no false positive from 0.65 on.
    band = fit_band(labels, scores, 0.1, 0.5)
    assert [band.low, band.high] == pytest.approx([0.35, 0.65])
    assert [band.refers(s, 0) for s in (0.3, 0.35, 0.6, 0.7)] == [False, True, True, False]
    # It reaches to a threshold outside.
    assert fit_band(labels, scores, 0.1, 0.2).low == 0.2
    # One error in four is allowed: the threshold 0.5 does both.
    assert fit_band(labels, scores, 0.25, 0.5) == Band(alpha=0.25, low=0.5, high=0.5)


def test_settings_choose_and_one_class_is_refused() -> None:
    labels, scores = [0, 1], [0.2, 0.8]
    assert fit_abstention(labels, scores, 0.5, AggregateConfig(), "x") is None
    conformal = AggregateConfig(abstain="conformal", alpha=0.5)
    assert isinstance(fit_abstention(labels, scores, 0.5, conformal, "x"), Conformal)
    band = AggregateConfig(abstain="band")
    assert isinstance(fit_abstention(labels, scores, 0.5, band, "x"), Band)
    with pytest.raises(NotEnoughDataError, match=r"x has .* abstain 'band' needs both"):
        fit_abstention([1, 1], scores, 0.5, band, "x")
