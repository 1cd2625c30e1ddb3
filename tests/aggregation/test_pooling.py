"""Pooling of tile probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.aggregation import make_pooler, pooling
from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.errors import ConfigError

TILES = [0.1, 0.9, 0.5, 0.7]
METHODS: tuple[Pooling, ...] = ("mean", "max", "topk_mean", "quantile", "fraction_above")


def test_by_hand() -> None:
    assert pooling.mean(TILES) == pytest.approx(0.55)
    assert pooling.maximum(TILES) == 0.9
    assert pooling.topk_mean(TILES, 2) == pytest.approx(0.8)
    assert pooling.topk_mean(TILES, 99) == pytest.approx(0.55)
    assert pooling.quantile(TILES, 0.5) == pytest.approx(0.6)
    assert pooling.fraction_above(TILES, 0.5) == 0.75
    assert pooling.fraction_above(TILES, 0.9001) == 0


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", 0.55),
        ("max", 0.9),
        ("topk_mean", 2.1 / 3),
        ("quantile", np.quantile(TILES, 0.25)),
        ("fraction_above", 0.5),
    ],
)
def test_pooler_takes_its_parameters_from_the_settings(method: Pooling, expected: float) -> None:
    config = AggregateConfig(pooling=method, top_k=3, quantile=0.25, tile_threshold=0.6)
    assert make_pooler(config)(TILES) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_no_tiles_give_no_score(method: Pooling) -> None:
    assert make_pooler(AggregateConfig(pooling=method))([]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from(METHODS))
def test_score_is_a_share_and_ignores_the_order_of_tiles(
    values: list[float], method: Pooling
) -> None:
    pooler = make_pooler(AggregateConfig(pooling=method, top_k=5))
    score = pooler(values)
    assert score is not None
    assert 0 <= score <= 1
    assert pooler(values[::-1]) == pytest.approx(score, abs=1e-12)
    if method != "fraction_above":
        assert min(values) - 1e-12 <= score <= max(values) + 1e-12


def test_parameters_of_another_pooling_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'mean' takes the parameters \[\], got \['k'\]"):
        pooling.check_parameters("mean", {"k": 3})
    with pytest.raises(ConfigError, match="'topk_mean' takes"):
        pooling.check_parameters("topk_mean", {})
