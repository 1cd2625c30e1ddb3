"""Pooling of tiles, against scipy, numpy, closed forms and plain loops."""

import math
from collections import deque
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from wsi_specdec.aggregation import Grid, SlideTiles, load_pooler, simple_pooler
from wsi_specdec.aggregation.pooling import connected_area, noisy_or
from wsi_specdec.config import AggregateConfig, Feature
from wsi_specdec.errors import StoreError

TILES = [0.1, 0.9, 0.5, 0.7]
METHODS: tuple[Feature, ...] = get_args(Feature)
GRID = {"tile_size_level0_px": 100, "stride_level0_px": 100, "mpp_level0": 10.0}


def tiles(values: list[float], metadata: dict[str, Any] | None = None) -> SlideTiles:
    """Lay tiles of 1 mm² in a row."""
    coords = np.stack([np.arange(len(values)) * 100, np.zeros(len(values), int)], axis=1)
    known = GRID if metadata is None else metadata
    return SlideTiles(np.array(values, float), coords, Path("slide.parquet"), known)


def pooled(method: Feature, values: list[float], **settings: float) -> float | None:
    return simple_pooler(method, AggregateConfig.model_validate(settings))(tiles(values))


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("mean", {}, 0.55),
        ("max", {}, 0.9),
        ("topk_mean", {"top_k": 2}, 0.8),
        ("topk_mean", {"top_k": 3}, 2.1 / 3),
        ("topk_mean", {"top_k": 99}, 0.55),
        ("quantile", {"quantile": 0.5}, 0.6),
        ("quantile", {"quantile": 0.25}, 0.4),
        ("fraction_above", {"tile_threshold": 0.5}, 0.75),
        ("fraction_above", {"tile_threshold": 0.9001}, 0),
        ("noisy_or", {}, 1 - 0.9 * 0.1 * 0.5 * 0.3),
        ("noisy_or", {"noisy_or_exponent": 0.5}, 1 - math.sqrt(0.9 * 0.1 * 0.5 * 0.3)),
        # (p - 0.5) / 0.5: 0, 0.8, 0, 0.4.
        ("noisy_or", {"noisy_or_leak": 0.5}, 1 - 0.2 * 0.6),
        # Three neighbours: 3 mm² of 3 + 1.
        ("connected_area", {"tile_threshold": 0.5}, 0.75),
        ("connected_area", {"tile_threshold": 0.6, "area_half_mm2": 4}, 1 / 5),
        ("connected_area", {"tile_threshold": 0.95}, 0),
    ],
)
def test_by_hand_with_parameters_from_the_settings(
    method: Feature, settings: dict[str, Any], expected: float
) -> None:
    assert pooled(method, TILES, **settings) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_no_tiles_give_no_score(method: Feature) -> None:
    assert pooled(method, []) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 9))
def test_score_is_a_share_and_ignores_the_order_of_tiles(values: list[float], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(values))
    slide = tiles(values)
    shuffled = SlideTiles(slide.probabilities[order], slide.coords[order], slide.source, GRID)
    for method in METHODS:
        pooler = simple_pooler(method, AggregateConfig(top_k=5))
        score = pooler(slide)
        assert score is not None
        assert 0 <= score <= 1
        assert pooler(shuffled) == pytest.approx(score, abs=1e-12)
        if method not in {"fraction_above", "noisy_or", "connected_area"}:
            assert min(values) - 1e-12 <= score <= max(values) + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 29))
def test_no_score_falls_where_a_tile_rises(values: list[float], index: int) -> None:
    raised = list(values)
    raised[index % len(values)] = 1.0
    for method in METHODS:
        before, after = pooled(method, values), pooled(method, raised)
        assert before is not None
        assert after is not None
        assert after >= before - 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 50), st.floats(0, 1))
def test_order_statistics_agree_with_scipy(values: list[float], k: int, q: float) -> None:
    top = sorted(values, reverse=True)[:k]
    assert pooled("topk_mean", values, top_k=k) == pytest.approx(math.fsum(top) / len(top))
    by_scipy = stats.mstats.mquantiles(values, [q], alphap=1, betap=1)[0]
    assert pooled("quantile", values, quantile=q) == pytest.approx(by_scipy, abs=1e-12)


@given(st.lists(st.floats(0, 0.99), min_size=1, max_size=40))
def test_noisy_or_is_the_product_of_a_plain_loop(values: list[float]) -> None:
    missed = 1.0
    for value in values:
        missed *= 1 - value
    assert noisy_or(np.array(values), 1, 0) == pytest.approx(1 - missed, abs=1e-12)


def test_noisy_or_of_many_tiles_keeps_small_numbers_and_saturates_as_it_says() -> None:
    many = np.full(100_000, 1e-12)
    # 1 - (1 - 1e-12)^100000, which a plain product rounds off.
    assert noisy_or(many, 1, 0) == pytest.approx(1e-7, rel=1e-6)
    assert noisy_or(np.full(100_000, 1e-3), 1, 0) == 1.0
    assert noisy_or(np.full(100_000, 1e-3), 1, 1e-3) == 0
    # The geometric mean, with the exponent 1 / n.
    assert noisy_or(np.full(100_000, 1e-3), 1e-5, 0) == pytest.approx(1e-3)
    assert noisy_or(np.array([1.0, 0.0]), 0.01, 0) == 1.0


def largest_by_hand(places: set[tuple[int, int]]) -> int:
    """Flood fill over neighbours by side or corner."""
    left, largest = set(places), 0
    while left:
        queue, size = deque([left.pop()]), 0
        while queue:
            x, y = queue.popleft()
            size += 1
            around = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            queue.extend(around)
        largest = max(largest, size)
    return largest


@given(
    st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1),
    st.floats(3.0, 300.0),
    st.integers(0, 10_000),
)
def test_area_is_that_of_a_flood_fill_on_any_grid(
    places: set[tuple[int, int]], stride: float, origin: int
) -> None:
    # Whole pixels, as stores have them, of a stride that is none.
    every = [(x, y) for x in range(8) for y in range(8)]
    coords = np.array([[origin + round(x * stride), round(y * stride)] for x, y in every])
    probabilities = np.array([0.5 if place in places else 0.4 for place in every])
    found = connected_area(probabilities, coords, Grid(stride, stride, 0.5), 0.5)
    assert found == pytest.approx(largest_by_hand(places) * (stride * 0.5 / 1000) ** 2)


def test_overlap_counts_once_and_gaps_do_not_count() -> None:
    coords = np.array([[0, 0], [50, 0], [100, 0]])
    ones = np.ones(3)
    assert connected_area(ones, coords, Grid(100, 50, 10), 0.5) == pytest.approx(3 * 0.25)
    assert connected_area(ones, coords * 4, Grid(100, 200, 10), 0.5) == pytest.approx(3.0)


def test_area_without_the_tiles_size_says_to_score_again() -> None:
    pooler = simple_pooler("connected_area", AggregateConfig())
    with pytest.raises(
        StoreError, match=r"slide\.parquet does not say tile_size_level0_px,.*score"
    ):
        pooler(tiles(TILES, {}))
    with pytest.raises(StoreError, match=r"mpp_level0 is None.*--slide-mpp"):
        pooler(tiles(TILES, GRID | {"mpp_level0": None}))


@pytest.mark.parametrize("method", METHODS)
def test_parameters_come_back_from_json(method: Feature) -> None:
    config = AggregateConfig(top_k=3, quantile=1 / 3, tile_threshold=0.1, noisy_or_leak=0.2)
    pooler = simple_pooler(method, config)
    assert load_pooler(method, pooler.parameters) == pooler


def test_parameters_of_another_pooling_are_refused() -> None:
    for method, parameters in (("mean", {"k": 3}), ("topk_mean", {}), ("quantile", {"q": 2})):
        with pytest.raises(ValidationError):
            load_pooler(method, parameters)  # type: ignore[arg-type]
