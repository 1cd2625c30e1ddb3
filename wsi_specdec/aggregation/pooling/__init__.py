"""From a slide's tiles to one slide score: one protocol, one file for each pooling."""

from collections.abc import Mapping
from typing import Any, Final

from wsi_specdec.aggregation.pooling.base import Pooler, SimplePooler
from wsi_specdec.aggregation.pooling.connected_area import ConnectedArea, connected_area
from wsi_specdec.aggregation.pooling.fraction_above import FractionAbove
from wsi_specdec.aggregation.pooling.logistic import FeatureSpec, Logistic, feature_values
from wsi_specdec.aggregation.pooling.maximum import Maximum
from wsi_specdec.aggregation.pooling.mean import Mean
from wsi_specdec.aggregation.pooling.mil import Mil, MilWeights, forward
from wsi_specdec.aggregation.pooling.noisy_or import NoisyOr, noisy_or
from wsi_specdec.aggregation.pooling.quantile import Quantile
from wsi_specdec.aggregation.pooling.simple import SIMPLE, simple_pooler
from wsi_specdec.aggregation.pooling.topk_mean import TopkMean
from wsi_specdec.config import Pooling

__all__ = [
    "POOLINGS",
    "SIMPLE",
    "ConnectedArea",
    "FeatureSpec",
    "FractionAbove",
    "Logistic",
    "Maximum",
    "Mean",
    "Mil",
    "MilWeights",
    "NoisyOr",
    "Pooler",
    "Quantile",
    "SimplePooler",
    "TopkMean",
    "connected_area",
    "feature_values",
    "forward",
    "load_pooler",
    "noisy_or",
    "simple_pooler",
]

POOLINGS: Final[Mapping[Pooling, type[Pooler]]] = {**SIMPLE, "logistic": Logistic, "mil": Mil}


def load_pooler(method: Pooling, parameters: Mapping[str, Any]) -> Pooler:
    """Make a pooling of parameters as `Pooler.parameters` gives them.

    Raises
    ------
    pydantic.ValidationError
        If one is missing, unknown or out of range.
    """
    return POOLINGS[method].model_validate(dict(parameters))
