"""ROC curves against scikit-learn, and their band."""

import numpy as np
from sklearn import metrics

from wsi_specdec.report.roc import GRID, pr_curve, pr_points, roc_curve, roc_points


def _sample(n: int = 60, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(np.int64)
    # Rounded, so that scores are tied.
    return labels, np.round(rng.normal(labels * 0.8), 1)


def test_points_are_those_of_scikit_learn() -> None:
    labels, scores = _sample()
    fpr, tpr = roc_points(labels, scores, np.ones((1, len(labels))))
    expected_fpr, expected_tpr, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr[0], expected_fpr)
    np.testing.assert_allclose(tpr[0], expected_tpr)


def test_weights_count_as_repeated_slides() -> None:
    labels, scores = _sample(20)
    weights = np.random.default_rng(0).integers(1, 4, len(labels))
    fpr, tpr = roc_points(labels, scores, weights[None].astype(np.float64))
    expected_fpr, expected_tpr, _ = metrics.roc_curve(
        labels, scores, sample_weight=weights, drop_intermediate=False
    )
    np.testing.assert_allclose(fpr[0], expected_fpr)
    np.testing.assert_allclose(tpr[0], expected_tpr)


def test_area_is_the_mean_over_seeds() -> None:
    labels, scores = _sample()
    other = _sample(seed=9)[1]
    curve = roc_curve(labels, [scores, other], [str(i) for i in range(len(labels))])
    assert curve is not None
    expected = np.mean([metrics.roc_auc_score(labels, s) for s in (scores, other)])
    assert abs(curve.area - float(expected)) < 1e-12
    assert curve.seeds == 2


def test_a_perfect_classifier_has_no_band() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    curve = roc_curve(labels, [labels.astype(np.float64)], list("abcdef"))
    assert curve is not None
    for values in (curve.values, curve.low, curve.high):
        np.testing.assert_array_equal(values, np.ones_like(GRID))


def test_band_holds_the_curve_and_widens_when_slides_share_patients() -> None:
    labels, scores = _sample(80)
    alone = roc_curve(labels, [scores], [str(i) for i in range(80)])
    shared = roc_curve(labels, [scores], [str(i // 8) for i in range(80)])
    repeated = roc_curve(np.tile(labels, 4), [np.tile(scores, 4)], [str(i) for i in range(80)] * 4)
    assert alone is not None
    assert shared is not None
    assert repeated is not None
    assert (alone.low <= alone.values).all()
    assert (alone.values <= alone.high).all()
    # Four copies of each slide in one patient are no more evidence than one.
    np.testing.assert_allclose(repeated.low, alone.low)
    np.testing.assert_allclose(repeated.high, alone.high)


def test_one_class_has_no_curve() -> None:
    assert roc_curve(np.ones(4, np.int64), [np.ones(4)], list("abcd")) is None


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    labels, scores = _sample()
    recall, precision = pr_points(labels, scores, np.ones((1, len(labels))))
    expected, expected_recall, _ = metrics.precision_recall_curve(labels, scores)
    # It lists the lowest threshold first, and ends on a point of its own.
    np.testing.assert_allclose(precision[0][::-1], expected[:-1])
    np.testing.assert_allclose(recall[0][::-1], expected_recall[:-1])


def test_area_under_precision_is_the_average_precision() -> None:
    labels, scores = _sample()
    other = _sample(seed=9)[1]
    curve = pr_curve(labels, [scores, other], [str(i) for i in range(len(labels))])
    assert curve is not None
    expected = [metrics.average_precision_score(labels, s) for s in (scores, other)]
    assert abs(curve.area - float(np.mean(expected))) < 1e-12
    assert (curve.low <= curve.values + 1e-12).all()
    assert (curve.values <= curve.high + 1e-12).all()


def test_precision_is_never_interpolated() -> None:
    labels = np.array([1, 0, 1, 0])
    curve = pr_curve(labels, [np.array([4.0, 3, 2, 1])], list("abcd"))
    assert curve is not None
    # Half of the positives at precision 1; the others only once two of three are right.
    np.testing.assert_allclose(curve.values[GRID <= 0.5], 1)
    np.testing.assert_allclose(curve.values[GRID > 0.5], 2 / 3)


def test_resamples_without_a_call_at_the_top_do_not_break_the_band() -> None:
    labels = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([9.0, 8, 7, 3, 2, 1])
    curve = pr_curve(labels, [scores], list("abcdef"))
    assert curve is not None
    assert np.isfinite([curve.low, curve.values, curve.high]).all()
    assert pr_curve(np.ones(3, np.int64), [scores[:3]], list("abc")) is None
