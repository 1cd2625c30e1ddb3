"""Metrics under weights of patients, against scikit-learn on units repeated that often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.metrics import METRICS, tables
from wsi_specdec.metrics.tables import (
    Table,
    calibration_table,
    count_table,
    grade_table,
    rank_table,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def case(seed: int) -> tuple[Ints, Floats, Ints, int]:
    rng = np.random.default_rng(seed)
    n_patients = int(rng.integers(2, 9))
    n = int(rng.integers(n_patients, 60))
    patients = np.concatenate([np.arange(n_patients), rng.integers(0, n_patients, n - n_patients)])
    return rng.integers(0, 2, n), np.round(rng.random(n), 1), patients, n_patients


def table_for(name: str, labels: Ints, scores: Floats, patients: Ints, count: int) -> Table:
    kind = METRICS[name].needs
    if METRICS[name].of_calls:
        table = grade_table if kind == "grades" else count_table
        return table(labels, (scores >= 0.5).astype(np.int64), patients, count)
    make = rank_table if kind == "scores" else calibration_table
    return make(labels, scores, patients, count)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(METRICS)))
def test_weighted_metric_equals_metric_of_repeated_units(seed: int, name: str) -> None:
    labels, scores, patients, count = case(seed)
    weights = np.random.default_rng(seed + 1).integers(0, 4, (6, count))
    table = table_for(name, labels, scores, patients, count)
    found = table.replicate([name], weights.astype(np.float64))[name]
    values = (scores >= 0.5).astype(float) if METRICS[name].of_calls else scores
    for row, drawn in zip(found, weights, strict=True):
        again = np.repeat(np.arange(labels.size), drawn[patients])
        expected = METRICS[name].point(labels[again], values[again]).value
        if expected is None:
            assert np.isnan(row)
        else:
            assert row == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["auroc", "average_precision", "balanced_accuracy", "f1"])
def test_resamples_of_one_class_are_undefined(name: str) -> None:
    labels, patients = np.array([0, 1, 1, 0]), np.array([0, 1, 1, 2])
    scores = np.array([0.9, 0.7, 0.2, 0.1])
    drawn = np.array([[1, 0, 2], [0, 3, 0], [1, 1, 1]], dtype=np.float64)
    table = table_for(name, labels, scores, patients, 3)
    negative, positive, both = table.replicate([name], drawn)[name]
    assert np.isnan(negative)
    # There is something to find, so F1 is defined without negatives.
    assert np.isnan(positive) == (name != "f1")
    assert np.isfinite(both)


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores, patients, count = case(3)
    weights = np.random.default_rng(0).integers(0, 3, (50, count)).astype(float)
    table = rank_table(labels, scores, patients, count)
    names = ["auroc", "average_precision"]
    whole, left_out = table.replicate(names, weights), table.leave_one_out(names)
    monkeypatch.setattr(tables, "_BLOCK_ELEMENTS", 2 * table.positives.shape[0] + 1)
    for name in names:
        np.testing.assert_array_equal(table.replicate(names, weights)[name], whole[name])
        np.testing.assert_array_equal(table.leave_one_out(names)[name], left_out[name])


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("seed", range(3))
def test_leaving_a_patient_out_is_drawing_it_never(name: str, seed: int) -> None:
    labels, scores, patients, count = case(seed)
    table = table_for(name, labels, scores, patients, count)
    expected = table.replicate([name], 1 - np.eye(count))[name]
    np.testing.assert_allclose(table.leave_one_out([name])[name], expected, atol=1e-12)


@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_sparse_and_dense_tables_say_the_same(
    dense: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, scores, patients, count = case(11)
    weights = np.random.default_rng(0).integers(0, 3, (20, count)).astype(float)
    names = ["auroc", "average_precision"]
    monkeypatch.setattr(tables, "_DENSE", dense)
    table = rank_table(labels, scores, patients, count)
    assert isinstance(table.positives, np.ndarray) == (dense == 0)
    for row, drawn in enumerate(weights):
        again = np.repeat(np.arange(labels.size), drawn.astype(int)[patients])
        for name in names:
            expected = METRICS[name].point(labels[again], scores[again]).value
            assert table.replicate(names, weights)[name][row] == pytest.approx(
                np.nan if expected is None else expected, nan_ok=True
            )


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_many_distinct_scores_are_binned_to_no_harm(name: str) -> None:
    rng = np.random.default_rng(0)
    n = 3 * tables.MAX_DISTINCT
    labels = rng.integers(0, 2, n)
    scores = rng.normal(labels)
    table = rank_table(labels, scores, np.zeros(n, dtype=np.int64), 1)
    assert table.positives.shape[0] == tables.MAX_DISTINCT
    exact = METRICS[name].point(labels, scores).value
    assert table.replicate([name], np.ones((1, 1)))[name][0] == pytest.approx(exact, abs=2e-4)


def test_binning_keeps_the_order_of_unevenly_tied_scores() -> None:
    scores = np.concatenate([np.zeros(50_000), np.arange(1, tables.MAX_DISTINCT + 100)])
    labels = (scores > 0).astype(np.int64)
    table = rank_table(labels, scores.astype(float), np.zeros(scores.size, dtype=np.int64), 1)
    assert table.replicate(["auroc"], np.ones((1, 1)))["auroc"][0] == pytest.approx(1, abs=2e-4)
