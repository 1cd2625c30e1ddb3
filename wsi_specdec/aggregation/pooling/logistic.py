"""Logistic regression on what other poolings say."""

from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import expit

from wsi_specdec.aggregation.pooling.base import Pooler, SimplePooler
from wsi_specdec.aggregation.pooling.simple import SIMPLE, simple_pooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import AggregateConfig, Feature, Pooling, StageConfig
from wsi_specdec.config.base import Positive

Floats = NDArray[np.float64]


class FeatureSpec(StageConfig):
    """One feature: a pooling and its parameters."""

    pooling: Feature
    parameters: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, method: Feature, config: AggregateConfig) -> Self:
        """Take the parameters from the settings."""
        return cls(pooling=method, parameters=simple_pooler(method, config).parameters)

    @property
    def pooler(self) -> SimplePooler:
        """The pooling."""
        return SIMPLE[self.pooling].model_validate(self.parameters)


class Logistic(Pooler):
    r"""Logistic regression, :math:`s = \sigma(b + \sum_j w_j (x_j - m_j) / d_j)`.

    :math:`x_j` are the scores of other poolings; their means :math:`m_j` and deviations
    :math:`d_j`, and the weights, were learned on the split that the aggregator names.
    """

    method: ClassVar[Pooling] = "logistic"
    features: Annotated[tuple[FeatureSpec, ...], Field(min_length=1)]
    means: tuple[float, ...]
    scales: tuple[Positive, ...]
    coefficients: tuple[float, ...]
    intercept: float

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        lengths = {len(self.means), len(self.scales), len(self.coefficients)}
        if lengths != {len(self.features)}:
            msg = f"{len(self.features)} features need as many means, scales and coefficients"
            raise ValueError(msg)
        for feature in self.features:
            _ = feature.pooler
        return self

    def pool(self, tiles: SlideTiles) -> float:
        """Return the probability that the regression gives."""
        return float(self.predict(feature_values(self.features, tiles)[None, :])[0])

    def predict(self, values: Floats) -> Floats:
        """Return the probabilities (n,) of feature values (n, F)."""
        standard = (values - np.array(self.means)) / np.array(self.scales)
        # A sum a row: a product of matrices may round one row differently beside others.
        weighed = (standard * np.array(self.coefficients)).sum(axis=1) + self.intercept
        return np.asarray(expit(weighed), dtype=np.float64)


def feature_values(features: tuple[FeatureSpec, ...], tiles: SlideTiles) -> Floats:
    """Pool a slide's tiles, of which there must be one at least, by each feature: (F,)."""
    return np.array([feature.pooler.pool(tiles) for feature in features], dtype=np.float64)
