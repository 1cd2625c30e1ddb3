"""Stains of tiles made stronger and weaker."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.models.stain_torch import mix_planes
from wsi_specdec.stain import StainProfile, jitter_mixing
from wsi_specdec.training.augment.draws import Numbers

# The darkest that an 8-bit pixel is told from black.
_DARKEST: Final = 1 / 255


@dataclass(frozen=True, slots=True)
class Stains:
    """Whose stains a batch's tiles have.

    Attributes
    ----------
    profiles
        Of each store's tiles; None, or one that is not usable, stands for the standard vectors.
    owner
        Number of each tile's store, int64 (n,).
    """

    profiles: tuple[StainProfile | None, ...]
    owner: NDArray[np.int64]

    def part(self, rows: slice) -> "Stains":
        """Return those of some tiles."""
        return Stains(self.profiles, self.owner[rows])

    def mixing(self, alpha: Numbers, beta: Numbers) -> tuple[Numbers, Numbers]:
        """Matrices (n, 3, 3) and offsets (n, 3) as `jitter_mixing`, each tile by its profile."""
        matrices, offsets = np.empty((len(alpha), 3, 3)), np.empty((len(alpha), 3))
        for number in np.unique(self.owner):
            own = self.owner == number
            mixed = jitter_mixing(self.profiles[number], alpha[own], beta[own])
            matrices[own], offsets[own] = mixed
        return matrices, offsets


def restain(pixels: Tensor, alpha: Numbers, beta: Numbers, stains: Stains | None = None) -> Tensor:
    """Scale and shift the concentrations of haematoxylin and eosin in each tile.

    Tellez et al. (IEEE Trans. Med. Imaging 37, 2018; Med. Image Anal. 58, 2019): an optical
    density -ln I is a sum of concentrations times stain vectors; each concentration c becomes
    α·c + β. What is neither stain stays as it is.

    Parameters
    ----------
    pixels
        (n, 3, T, T) in [0, 1]; overwritten.
    alpha, beta
        Of haematoxylin and of eosin: (n, 2) each; 1 and 0 change nothing.
    stains
        Whose vectors they are; by default those of Ruifrok and Johnston.
    """
    mix = jitter_mixing(None, alpha, beta) if stains is None else stains.mixing(alpha, beta)
    matrix, offset = (torch.from_numpy(values).to(pixels) for values in mix)
    density = pixels.clamp_(min=_DARKEST).log_().neg_()
    return mix_planes(density, matrix, offset).neg_().exp_().clamp_(0, 1)
