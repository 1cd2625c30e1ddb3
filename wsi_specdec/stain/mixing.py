"""Matrices that take optical densities in one pair of stains to those in another."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.profile import StainProfile


def mixing_matrix(source: StainProfile, target: StainProfile) -> NDArray[np.float64]:
    """Matrix (3, 3) that takes a column of source densities to target densities.

    Least-squares concentrations in the source's stains are rescaled by the ratio of the two
    profiles' robust maxima and mixed again with the target's vectors (Macenko et al. 2009,
    section 2.3).
    """
    ratio = np.divide(target.max_concentrations, source.max_concentrations)
    unmix = np.linalg.pinv(source.matrix())  # (3, 2)
    mixed: NDArray[np.float64] = ((unmix * ratio) @ target.matrix()).T
    return mixed


def density_mixing(
    source: StainProfile, target: StainProfile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (3, 3) and offset (3,), which is zero: glass stays glass."""
    return mixing_matrix(source, target), np.zeros(3)
