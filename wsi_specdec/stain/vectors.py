"""From a pair of stain vectors to a profile: strengths, and whether the pair can be trusted."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.codes import unexplained
from wsi_specdec.stain.density import Floats, all_densities, strongest
from wsi_specdec.stain.profile import StainProfile, as_vectors, unusable

# Of the strongest concentration; what is weaker would be blown up by any target.
_MIN_STRENGTH: Final = 0.05
# A stain that brightens a channel is none; a little below zero comes of noise.
_LOWEST_COMPONENT: Final = -0.2
# Share of the densities' squares that non-negative amounts of two stains leave over; real tissue
# was seen to leave 0.009 of its own fit.
_MOST_UNEXPLAINED: Final = 0.05


def vector_profile(
    pixels: NDArray[np.uint8],
    tissue: Floats,
    matrix: NDArray[np.float64] | None,
    min_degrees: float,
    config: StainConfig,
) -> StainProfile:
    """Make a profile of fitted stain vectors.

    Parameters
    ----------
    pixels, tissue
        All pixels (n, 3), and the optical densities (m, 3) of those that are tissue.
    matrix
        Unit vectors (2, 3) in any order, or None where there are none.
    min_degrees
        Between haematoxylin and eosin; what is closer is one stain and its noise.
    config
        Settings of the fit.

    Returns
    -------
    StainProfile
        With the status `degenerate` where the pair is no pair of stains.
    """
    if matrix is None or not _are_stains(matrix, min_degrees):
        return unusable("degenerate", len(tissue), config)
    # Haematoxylin absorbs more red than eosin does.
    matrix = matrix[::-1] if matrix[0, 0] < matrix[1, 0] else matrix
    counted = tissue if config.strengths_of == "tissue" else all_densities(pixels)
    strengths = strongest(counted, matrix)
    if min(strengths) < _MIN_STRENGTH or unexplained(tissue, matrix) > _MOST_UNEXPLAINED:
        return unusable("degenerate", len(tissue), config)
    return StainProfile(
        method=config.method,
        stain_matrix=as_vectors(matrix),
        max_concentrations=strengths,
        min_od=config.min_od,
        status="ok",
        n_pixels=len(tissue),
    )


def _are_stains(matrix: NDArray[np.float64], min_degrees: float) -> bool:
    """Whether two vectors are finite, apart, and darken every channel."""
    if not np.isfinite(matrix).all() or matrix.min() < _LOWEST_COMPONENT:
        return False
    apart = np.degrees(np.arctan2(np.linalg.norm(np.cross(*matrix)), matrix[0] @ matrix[1]))
    return bool(apart >= min_degrees)
