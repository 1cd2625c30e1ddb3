"""Stain vectors by the method of Vahadane et al. (IEEE Trans. Med. Imaging 35, 2016)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.codes import code_products
from wsi_specdec.stain.density import Floats, tissue_densities
from wsi_specdec.stain.profile import StainProfile, standard_vectors, unusable
from wsi_specdec.stain.vectors import vector_profile

# Tissue pixels that a fit looks at; evenly spaced among those given.
_MAX_PIXELS: Final = 10_000
_MAX_ROUNDS: Final = 100
_TOLERANCE: Final = 1e-4
_UPDATES: Final = 4
# Sparse amounts draw the vectors together: tissue was seen to have 6 degrees and more.
_MIN_DEGREES: Final = 3.0


def fit_vahadane(pixels: NDArray[np.uint8], config: StainConfig) -> StainProfile:
    """Fit a profile to pixels sampled over one slide, by sparse non-negative factorisation.

    Optical densities V (n, 3) are factorised into amounts A (n, 2) and unit stain vectors W
    (2, 3), none negative, so that |V - AW|²/2 + λ·sum(A) is least (Vahadane et al. 2016, equation
    7; λ is `config.sparsity`).

    Parameters
    ----------
    pixels
        RGB, shape (n, 3), uint8.
    config
        Settings of the fit.

    Returns
    -------
    StainProfile
        With the status `too_little_tissue` or `degenerate` where no fit can be trusted.
    """
    config = config.model_copy(update={"method": "vahadane"})
    tissue = tissue_densities(pixels, config)
    if len(tissue) < config.min_pixels:
        return unusable("too_little_tissue", len(tissue), config)
    every = -(-len(tissue) // _MAX_PIXELS)
    vectors = factorise(np.ascontiguousarray(tissue[::every]), config.sparsity)
    return vector_profile(pixels, tissue, vectors, _MIN_DEGREES, config)


def factorise(density: Floats, sparsity: float) -> NDArray[np.float64] | None:
    """Find the stain vectors of a sparse non-negative factorisation.

    Amounts are solved for exactly (two stains have a closed form), then the vectors are updated
    one by one and cut at zero (Mairal et al., ICML 2009, algorithm 2), in turn, beginning from the
    vectors of Ruifrok and Johnston: there is no chance in it.

    Returns
    -------
    NDArray[np.float64] or None
        Unit vectors (2, 3); None where one of them explains nothing.
    """
    vectors = standard_vectors()
    squares, mixed = np.empty((2, 2)), np.empty((2, 3))
    for _ in range(_MAX_ROUNDS):
        code_products(density, vectors, sparsity, squares, mixed)
        if not (np.diagonal(squares) > 0).all():
            return None
        updated = _updated(vectors, squares, mixed)
        if updated is None:
            return None
        moved = float(np.abs(updated - vectors).max())
        vectors = updated
        if moved < _TOLERANCE:
            break
    return vectors


def _updated(
    vectors: NDArray[np.float64], squares: NDArray[np.float64], mixed: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Vectors that fit the amounts better; None where one of them vanishes or both are alike."""
    out = vectors.copy()
    for _ in range(_UPDATES):
        for stain in range(2):
            step = (mixed[stain] - squares[stain] @ out) / squares[stain, stain]
            raw = np.maximum(out[stain] + step, 0)
            length = float(np.linalg.norm(raw))
            if not length > 0:
                return None
            out[stain] = raw / length
    alike = float(out[0] @ out[1]) > 1 - 1e-9
    return None if alike else out
