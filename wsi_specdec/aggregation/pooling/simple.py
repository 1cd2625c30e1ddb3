"""The poolings that learn nothing, by name."""

from collections.abc import Mapping
from typing import Final

from wsi_specdec.aggregation.pooling.base import SimplePooler
from wsi_specdec.aggregation.pooling.connected_area import ConnectedArea
from wsi_specdec.aggregation.pooling.fraction_above import FractionAbove
from wsi_specdec.aggregation.pooling.maximum import Maximum
from wsi_specdec.aggregation.pooling.mean import Mean
from wsi_specdec.aggregation.pooling.noisy_or import NoisyOr
from wsi_specdec.aggregation.pooling.quantile import Quantile
from wsi_specdec.aggregation.pooling.topk_mean import TopkMean
from wsi_specdec.config import AggregateConfig, Feature, Pooling

SIMPLE: Final[Mapping[Pooling, type[SimplePooler]]] = {
    "mean": Mean,
    "max": Maximum,
    "topk_mean": TopkMean,
    "quantile": Quantile,
    "fraction_above": FractionAbove,
    "noisy_or": NoisyOr,
    "connected_area": ConnectedArea,
}


def simple_pooler(method: Feature, config: AggregateConfig) -> SimplePooler:
    """Make a pooling that learns nothing, with its parameters from the settings."""
    return SIMPLE[method].from_settings(config)
