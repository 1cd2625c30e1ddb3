"""Stains of tiles made stronger and weaker, in the optical density of a profile."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.compiled import as_pixels
from wsi_specdec.stain.density_kernel import mix_densities
from wsi_specdec.stain.profile import StainProfile, standard_vectors

Floats = NDArray[np.float64]


def jitter_mixing(
    profile: StainProfile | None, scale: Floats, shift: Floats
) -> tuple[Floats, Floats]:
    """Return the matrices and offsets by which jittered optical densities are mixed.

    Tellez et al. (IEEE Trans. Med. Imaging 37, 2018; Med. Image Anal. 58, 2019): a density is a
    sum of concentrations times stain vectors; each concentration c becomes α·c + β. What is
    neither stain, along the normal of their plane, stays as it is.

    Parameters
    ----------
    profile
        Whose stains; None, or a profile that is not usable, takes those of Ruifrok and Johnston.
    scale, shift
        α and β of haematoxylin and of eosin: (n, 2) each; 1 and 0 change nothing.

    Returns
    -------
    matrices, offsets
        (n, 3, 3) and (n, 3): a column of densities d becomes matrix · d + offset.
    """
    usable = profile is not None and profile.status == "ok"
    pair = profile.matrix() if profile is not None and usable else standard_vectors()
    normal = np.cross(pair[0], pair[1])
    vectors = np.vstack([pair, normal / np.linalg.norm(normal)]).T  # Stains in columns.
    factors = np.concatenate([scale, np.ones((len(scale), 1))], axis=1)
    matrices = np.einsum("ij,nj,jk->nik", vectors, factors, np.linalg.inv(vectors))
    return matrices, shift @ vectors[:, :2].T


def jitter(
    tiles: NDArray[np.uint8], profile: StainProfile | None, scale: Floats, shift: Floats
) -> NDArray[np.uint8]:
    """Scale and shift the concentrations of haematoxylin and eosin in each tile.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3); may be read-only or not contiguous.
    profile, scale, shift
        As `jitter_mixing` takes them: a row for each tile.

    Returns
    -------
    NDArray[np.uint8]
        A new array (n, T, T, 3).
    """
    out = np.empty(tiles.shape, dtype=np.uint8)
    matrices, offsets = jitter_mixing(profile, scale, shift)
    for tile, jittered, matrix, offset in zip(tiles, out, matrices, offsets, strict=True):
        mix_densities(as_pixels(tile), jittered.reshape(-1, 3), matrix, offset)
    return out
