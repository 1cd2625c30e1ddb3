"""Where tissue begins, from a histogram alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.tissue.planes import ROOT_SCALE

# Share of the variance between the two classes of a split; plain noise reaches 0.6 to 0.8.
_CLEAR_SPLIT: Final = 0.85


def signal_threshold(
    counts: NDArray[np.float64], min_threshold: float, max_threshold: float
) -> float:
    """Find the optical density that parts tissue from glass.

    Otsu (1979) splits the square root of the signal, which evens out the spread of glass and
    tissue. Where what it takes for glass is itself clearly of two kinds, that is split once more,
    so that faint tissue is not sacrificed to dark. Where even the paler class absorbs more than
    glass does, the image holds tissue alone and the lower bound applies: Otsu would then split
    tissue from tissue.

    Parameters
    ----------
    counts
        (256,) pixels of each value of `Planes.signal`.
    min_threshold, max_threshold
        Bounds of the threshold, in optical density.

    Returns
    -------
    float
        Optical density; what is above it is tissue.
    """
    if not counts.any():
        return max_threshold
    cut, _ = otsu(counts)
    pale = counts[: cut + 1]
    if _density(_median(pale)) > min_threshold:
        return min_threshold
    second, clearness = otsu(pale)
    if clearness > _CLEAR_SPLIT:
        cut = second
    return float(np.clip(_density(cut + 1), min_threshold, max_threshold))


def otsu(counts: NDArray[np.float64]) -> tuple[int, float]:
    """Split a histogram in two by Otsu's rule.

    Returns
    -------
    cut : int
        Last value of the lower class.
    clearness : float
        Share of the variance that lies between the classes, 0 where there is one value alone.
    """
    values = np.arange(len(counts), dtype=np.float64)
    total = counts.sum()
    low = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * values)
    mean = sums[-1] / total
    variance = float((counts * (values - mean) ** 2).sum() / total)
    high = total - low
    valid = (low > 0) & (high > 0)
    if not valid.any() or variance == 0:
        return int(np.flatnonzero(counts)[-1]), 0.0
    apart = np.zeros_like(low)
    apart[valid] = sums[:-1][valid] / low[valid]
    apart[valid] -= (sums[-1] - sums[:-1][valid]) / high[valid]
    between = low * high / total**2 * apart**2
    # Between two separate peaks every cut is as good: the middle one is taken.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return int(best[len(best) // 2]), float(between.max() / variance)


def root_of(density: float) -> float:
    """Value of `Planes.signal` that stands for an optical density."""
    return float(ROOT_SCALE * density**0.5)


def _density(root: float) -> float:
    return float((root / ROOT_SCALE) ** 2)


def _median(counts: NDArray[np.float64]) -> int:
    return int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
