"""Colour statistics by the method of Reinhard et al. (IEEE Comput. Graph. Appl. 21, 2001)."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.density import moments
from wsi_specdec.stain.lab import LAB_OF_ROOTS, LAB_OFFSET, ROOTS_OF_LAB
from wsi_specdec.stain.lab_kernel import tissue_roots
from wsi_specdec.stain.macenko import fit_macenko
from wsi_specdec.stain.profile import StainProfile, as_vector

# Of L*, a* and b* each; what varies less is one colour.
_MIN_DEVIATION: Final = 0.5


def fit_reinhard(pixels: NDArray[np.uint8], config: StainConfig) -> StainProfile:
    """Fit a profile to pixels sampled over one slide.

    Mean and standard deviation of each channel over tissue pixels, in CIE L*a*b* in place of the
    paper's lαβ, as pathology's implementations have it: lαβ takes logarithms, which black has not.
    Macenko's vectors are fitted beside them: they tell what is no stained tissue, and stain jitter
    goes by them.

    Parameters
    ----------
    pixels
        RGB, shape (n, 3), uint8.
    config
        Which pixels are tissue.

    Returns
    -------
    StainProfile
        With the status `too_little_tissue` or `degenerate` where no fit can be trusted.
    """
    stains = replace(fit_macenko(pixels, config), method="reinhard")
    if stains.status != "ok":
        return stains
    found = moments(tissue_roots(pixels, config))
    variances = np.diagonal(LAB_OF_ROOTS @ found.covariance @ LAB_OF_ROOTS.T)
    deviations = np.sqrt(np.maximum(variances, 0))
    if deviations.min() < _MIN_DEVIATION:
        return replace(stains, status="degenerate")
    return replace(
        stains,
        lab_means=as_vector(LAB_OF_ROOTS @ found.mean + LAB_OFFSET),
        lab_deviations=as_vector(deviations),
    )


def root_mixing(
    source: StainProfile, target: StainProfile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (3, 3) and offset (3,) that take a column of f(X), f(Y), f(Z) to the target's.

    Each channel of L*a*b* is standardised by the source's and brought to the target's mean and
    deviation (Reinhard et al. 2001, equations 10 and 11); L*a*b* is linear in f(X), f(Y), f(Z).
    """
    means, deviations = _statistics(source)
    wanted_means, wanted_deviations = _statistics(target)
    ratio = wanted_deviations / deviations
    matrix = ROOTS_OF_LAB @ (ratio[:, None] * LAB_OF_ROOTS)
    shift = wanted_means - ratio * means
    return matrix, ROOTS_OF_LAB @ (ratio * LAB_OFFSET + shift - LAB_OFFSET)


def _statistics(profile: StainProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if profile.lab_means is None or profile.lab_deviations is None:
        msg = f"a profile of method {profile.method!r} has no L*a*b* statistics"
        raise ValueError(msg)
    return np.array(profile.lab_means), np.array(profile.lab_deviations)
