"""FROC, against the curve built point by point, scikit-image, and figures by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label as connected

from wsi_specdec.metrics import (
    FROC_RATES,
    Detections,
    froc,
    froc_table,
    lesions_of,
    match,
    peaks_of,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def grid(height: int, width: int, stride: int = 100, origin: tuple[int, int] = (37, 11)) -> Ints:
    rows, columns = np.mgrid[:height, :width]
    corners = np.stack([columns.ravel(), rows.ravel()], axis=1) * stride
    return np.asarray(corners + np.array(origin), dtype=np.int64)


def random_detections(seed: int, patients: int = 6) -> Detections:
    rng = np.random.default_rng(seed)
    lesions = rng.integers(0, 4, patients)
    lesions[0] += 1
    owners = np.repeat(np.arange(patients), lesions)
    seen = rng.random(owners.size) < 0.7
    false = rng.integers(0, patients, rng.integers(0, 40))
    return Detections(
        found=np.round(rng.normal(0.7, 0.2, int(seen.sum())), 1),
        found_patients=owners[seen],
        false=np.round(rng.normal(0.4, 0.2, false.size), 1),
        false_patients=false,
        lesions=lesions,
        slides=rng.integers(1, 4, patients),
    )


def by_definition(found: Floats, false: Floats, lesions: int, slides: int) -> float:
    """One point for each threshold; lines between them; a rate never reached keeps the last."""
    points = [(0.0, 0.0)]
    for threshold in sorted({*found.tolist(), *false.tolist()}, reverse=True):
        rate = sum(score >= threshold for score in false) / slides
        sensitivity = sum(score >= threshold for score in found) / lesions
        if points[-1][0] == rate:
            points.pop()
        points.append((rate, sensitivity))
    total = 0.0
    for rate in FROC_RATES:
        before = [p for p in points if p[0] <= rate]
        after = [p for p in points if p[0] > rate]
        x0, y0 = before[-1] if before else (0.0, points[0][1])
        if after:
            x1, y1 = after[0]
            total += y0 + (y1 - y0) * (rate - x0) / (x1 - x0)
        else:
            total += y0
    return total / len(FROC_RATES)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_froc_is_the_curve_built_point_by_point(seed: int) -> None:
    case = random_detections(seed)
    value = froc(case).value
    expected = by_definition(
        case.found, case.false, int(case.lesions.sum()), int(case.slides.sum())
    )
    assert value == pytest.approx(expected)
    assert froc(case).n == case.lesions.sum()


def test_froc_by_hand() -> None:
    """Four slides, two lesions; found at 0.9 and 0.5, with one false positive at 0.7 between."""
    zero = np.zeros(2, dtype=np.int64)
    case = Detections(
        np.array([0.9, 0.5]), zero, np.array([0.7]), zero[:1], np.array([2]), np.array([4])
    )
    # One half up to, and from a rate of 1/4 on both.
    assert froc(case).value == pytest.approx(1.0)
    later = Detections(
        np.array([0.9, 0.5]),
        zero,
        np.full(8, 0.7),
        np.zeros(8, dtype=np.int64),
        np.array([2]),
        np.array([4]),
    )
    # On the way from 1/2 at rate 0 to 1 at rate 2.
    steps = [0.5 + 0.25 * rate for rate in (0.25, 0.5, 1.0)]
    assert froc(later).value == pytest.approx((sum(steps) + 3) / 6)


def test_a_lesion_tied_with_a_false_positive_is_found_on_the_way_there() -> None:
    zero = np.zeros(1, dtype=np.int64)
    both = np.array([0.9])
    tied = Detections(both, zero, both, zero, np.array([1]), np.array([1]))
    assert froc(tied).value == pytest.approx((0.25 + 0.5 + 4) / 6)


def test_nothing_to_find_is_undefined_and_nothing_found_is_zero() -> None:
    none = np.empty(0)
    nobody = np.empty(0, dtype=np.int64)
    empty = Detections(none, nobody, none, nobody, np.array([0, 0]), np.array([1, 1]))
    assert froc(empty).value is None
    assert froc(empty).reason == "there is no lesion"
    missed = Detections(none, nobody, none, nobody, np.array([1, 0]), np.array([1, 1]))
    assert froc(missed).value == 0


@pytest.mark.parametrize("seed", range(4))
def test_resampled_froc_is_that_of_patients_repeated(seed: int) -> None:
    case = random_detections(seed)
    table = froc_table(case)
    weights = np.random.default_rng(seed).integers(0, 3, (12, 6)).astype(float)
    weights[0] = 0
    found = table.replicate(["froc"], weights)["froc"]
    for row, drawn in zip(found, weights.astype(int), strict=True):
        lesions, slides = drawn @ case.lesions, drawn @ case.slides
        if lesions == 0:
            assert np.isnan(row)
            continue
        seen = np.repeat(case.found, drawn[case.found_patients])
        false = np.repeat(case.false, drawn[case.false_patients])
        assert row == pytest.approx(by_definition(seen, false, lesions, slides))
    left_out = table.leave_one_out(["froc"])["froc"]
    np.testing.assert_allclose(left_out, table.replicate(["froc"], 1 - np.eye(6))["froc"])


@pytest.mark.parametrize("seed", range(3))
def test_lesions_are_the_connected_parts_that_scikit_image_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(9 * 12) < 0.35).astype(np.int64)
    order = rng.permutation(labels.size)
    found = lesions_of(labels[order], grid(9, 12)[order], 100)
    drawn = labels.reshape(9, 12)
    expected = connected(drawn, connectivity=2).ravel()[order]  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(found > 0, expected > 0)
    # Numbers may differ, the division may not.
    pairs = set(zip(found.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_tiles_of_unknown_label_belong_to_nothing() -> None:
    labels = np.array([1, -1, 1, 0])
    found = lesions_of(labels, grid(1, 4), 100)
    assert found.tolist() == [1, -1, 2, 0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [1, 2])
def test_a_peak_has_no_higher_tile_near(seed: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    # Some tiles are missing, scores are tied often.
    kept = np.flatnonzero(rng.random(10 * 9) < 0.8)
    coords, scores = grid(10, 9)[kept], rng.integers(0, 5, kept.size) / 4
    expected = []
    for index, here in enumerate(coords):
        near = np.abs(coords - here).max(axis=1) <= reach * 100
        before = (scores > scores[index]) | (
            (scores == scores[index]) & (np.arange(kept.size) < index)
        )
        if not (near & before).any():
            expected.append(index)
    assert peaks_of(scores, coords, 100, reach=reach).tolist() == expected


def test_a_lesion_has_its_best_hit_and_unknown_tiles_count_neither_way() -> None:
    scores = np.array([0.2, 0.9, 0.4, 0.8, 0.7])
    hits = np.array([1, 1, 0, -1, 3])
    found, false = match(scores, hits, 3)
    assert found.tolist() == [0.9, 0.7]
    assert false.tolist() == [0.4]


def test_no_tiles_give_no_peaks_and_no_lesions() -> None:
    nothing = np.empty((0, 2), dtype=np.int64)
    assert peaks_of(np.empty(0), nothing, 1, reach=2).size == 0
    assert lesions_of(np.empty(0, dtype=np.int64), nothing, 1).size == 0
