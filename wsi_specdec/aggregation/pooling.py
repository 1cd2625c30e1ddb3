"""From a slide's tile probabilities to one slide score: pure functions of an array.

Each takes probabilities of shape (n,) in [0, 1], in any order, and returns a score in [0, 1], or
None where n is 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wsi_specdec.config import AggregateConfig, Pooling
from wsi_specdec.errors import ConfigError


def mean(probabilities: ArrayLike) -> float | None:
    """Return the mean over all tiles."""
    values = np.asarray(probabilities, dtype=np.float64)
    return float(values.mean()) if values.size else None


def maximum(probabilities: ArrayLike) -> float | None:
    """Return the highest tile."""
    values = np.asarray(probabilities, dtype=np.float64)
    return float(values.max()) if values.size else None


def topk_mean(probabilities: ArrayLike, k: int) -> float | None:
    """Return the mean of the `k` highest tiles, of all where there are fewer."""
    values = np.asarray(probabilities, dtype=np.float64)
    if not values.size:
        return None
    return float(np.sort(values)[-k:].mean())


def quantile(probabilities: ArrayLike, q: float) -> float | None:
    """Return the `q`-quantile, linear between neighbouring tiles."""
    values = np.asarray(probabilities, dtype=np.float64)
    return float(np.quantile(values, q)) if values.size else None


def fraction_above(probabilities: ArrayLike, threshold: float) -> float | None:
    """Return the share of tiles at or above `threshold`."""
    values = np.asarray(probabilities, dtype=np.float64)
    return float((values >= threshold).mean()) if values.size else None


@dataclass(frozen=True, slots=True)
class Pooler:
    """A pooling with its parameters.

    Attributes
    ----------
    method
        Name of the pooling.
    parameters
        What it needs beside the probabilities, by name.
    """

    method: Pooling
    parameters: Mapping[str, float]

    def __call__(self, probabilities: ArrayLike) -> float | None:
        """Pool probabilities (n,) into a slide score; None where n is 0."""
        return _POOLINGS[self.method].pool(probabilities, self.parameters)


@dataclass(frozen=True, slots=True)
class _Entry:
    pool: Callable[[ArrayLike, Mapping[str, float]], float | None]
    # Name of each parameter, and of the setting that holds it.
    parameters: Mapping[str, str]


_POOLINGS: Mapping[Pooling, _Entry] = {
    "mean": _Entry(lambda values, _: mean(values), {}),
    "max": _Entry(lambda values, _: maximum(values), {}),
    "topk_mean": _Entry(lambda values, p: topk_mean(values, int(p["k"])), {"k": "top_k"}),
    "quantile": _Entry(lambda values, p: quantile(values, p["q"]), {"q": "quantile"}),
    "fraction_above": _Entry(
        lambda values, p: fraction_above(values, p["threshold"]), {"threshold": "tile_threshold"}
    ),
}


def make_pooler(config: AggregateConfig) -> Pooler:
    """Take the pooling and its parameters from the settings."""
    names = _POOLINGS[config.pooling].parameters
    return Pooler(config.pooling, {name: getattr(config, key) for name, key in names.items()})


def check_parameters(method: Pooling, parameters: Mapping[str, float]) -> None:
    """Refuse parameters that do not belong to the pooling.

    Raises
    ------
    ConfigError
        If one is missing or unknown.
    """
    expected = set(_POOLINGS[method].parameters)
    if set(parameters) != expected:
        msg = (
            f"the pooling {method!r} takes the parameters {sorted(expected)}, "
            f"got {sorted(parameters)}"
        )
        raise ConfigError(msg)
