"""Stain vectors by the method of Macenko et al. (ISBI 2009)."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.profile import StainProfile, Status, as_vectors, optical_density

_METHOD = "macenko"
_MIN_PIXELS = 500
_MIN_ANGLE_DEGREES = 3.0
# Mean H&E vectors of Ruifrok and Johnston (2001); a stand-in where none can be fitted.
_STANDARD = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def fit_macenko(pixels: NDArray[np.uint8], config: StainConfig) -> StainProfile:
    """Fit a profile to pixels sampled over one slide.

    Pixels whose optical density is at least `config.min_od` in every channel are projected on the
    plane of their two largest principal axes; the robust extremes of their angle in it
    (`config.angle_percentile` from either end) are the stain vectors.

    Parameters
    ----------
    pixels
        RGB, shape (n, 3), uint8.
    config
        Thresholds of the fit.

    Returns
    -------
    StainProfile
        With the status `too_little_tissue` or `degenerate` where no fit can be trusted.
    """
    density = optical_density(np.ascontiguousarray(pixels).reshape(-1, 3))
    tissue = density[(density >= config.min_od).all(axis=1)]
    if len(tissue) < _MIN_PIXELS:
        return _unusable("too_little_tissue", len(tissue), config)
    matrix = _extreme_vectors(tissue, config.angle_percentile)
    if matrix is None:
        return _unusable("degenerate", len(tissue), config)
    strengths = np.percentile(concentrations(tissue, matrix), 99, axis=0)
    if not (np.isfinite(strengths).all() and (strengths > 0).all()):
        return _unusable("degenerate", len(tissue), config)
    return StainProfile(
        method=_METHOD,
        stain_matrix=as_vectors(matrix),
        max_concentrations=(float(strengths[0]), float(strengths[1])),
        min_od=config.min_od,
        status="ok",
        n_pixels=len(tissue),
    )


def concentrations(
    density: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least-squares concentrations (n, 2) of optical densities (n, 3) in two stains (2, 3)."""
    return density @ np.linalg.pinv(matrix)


def _extreme_vectors(tissue: NDArray[np.float64], percentile: float) -> NDArray[np.float64] | None:
    """Haematoxylin and eosin, (2, 3), or None where the pixels lie along one line."""
    axes = np.linalg.eigh(np.cov(tissue, rowvar=False))[1][:, :0:-1]
    # Point both axes into the octant of positive densities, or the angle would wrap around.
    axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
    plane = tissue @ axes
    angles = np.arctan2(plane[:, 1], plane[:, 0])
    low, high = np.percentile(angles, [percentile, 100 - percentile])
    if not high - low >= np.deg2rad(_MIN_ANGLE_DEGREES):
        return None
    vectors: NDArray[np.float64] = (
        np.array([[np.cos(low), np.sin(low)], [np.cos(high), np.sin(high)]]) @ axes.T
    )
    # Haematoxylin absorbs more red than eosin does.
    return vectors[::-1] if vectors[0, 0] < vectors[1, 0] else vectors


def _unusable(status: Status, n_pixels: int, config: StainConfig) -> StainProfile:
    return StainProfile(
        method=_METHOD,
        stain_matrix=as_vectors(_STANDARD / np.linalg.norm(_STANDARD, axis=1, keepdims=True)),
        max_concentrations=(1.0, 1.0),
        min_od=config.min_od,
        status=status,
        n_pixels=n_pixels,
    )
