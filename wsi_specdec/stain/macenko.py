"""Stain vectors by the method of Macenko et al. (ISBI 2009)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.density import Floats, extreme_directions, moments, tissue_densities
from wsi_specdec.stain.profile import StainProfile, unusable
from wsi_specdec.stain.vectors import vector_profile

# Tissue was seen to have 10 degrees and more, even in one tile; one ink with its noise 5.
_MIN_DEGREES: Final = 6.0


def fit_macenko(pixels: NDArray[np.uint8], config: StainConfig) -> StainProfile:
    """Fit a profile to pixels sampled over one slide.

    Tissue pixels are projected on the plane of their two largest principal axes; the robust
    extremes of their angle in it (`config.angle_percentile` from either end) are the stain
    vectors.

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
    config = config.model_copy(update={"method": "macenko"})
    tissue = tissue_densities(pixels, config)
    if len(tissue) < config.min_pixels:
        return unusable("too_little_tissue", len(tissue), config)
    vectors = extreme_directions(tissue, principal_plane(tissue), config.angle_percentile)
    return vector_profile(pixels, tissue, vectors, _MIN_DEGREES, config)


def principal_plane(tissue: Floats) -> NDArray[np.float64]:
    """Two largest principal axes of densities (n, 3), the largest first, in columns (3, 2)."""
    axes = np.linalg.eigh(moments(tissue).covariance)[1][:, :0:-1]
    # Point both axes into the octant of positive densities, or the angle would wrap around.
    plane: NDArray[np.float64] = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
    return plane
