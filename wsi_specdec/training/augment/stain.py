"""Stains of tiles made stronger and weaker."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.training.augment.draws import Numbers

# Optical densities (red, green, blue) of haematoxylin and eosin (Ruifrok & Johnston, Anal. Quant.
# Cytol. Histol. 23, 2001).
_HAEMATOXYLIN: Final = (0.65, 0.70, 0.29)
_EOSIN: Final = (0.07, 0.99, 0.11)
# The darkest that an 8-bit pixel is told from black.
_DARKEST: Final = 1 / 255


def stain_vectors() -> NDArray[np.float64]:
    """Return unit vectors in optical density of haematoxylin, eosin and what is neither: (3, 3)."""
    haematoxylin, eosin = np.array(_HAEMATOXYLIN), np.array(_EOSIN)
    rows = np.stack([haematoxylin, eosin, np.cross(haematoxylin, eosin)])
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def restain(pixels: Tensor, alpha: Numbers, beta: Numbers) -> Tensor:
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
    """
    vectors = stain_vectors()
    factors = np.concatenate([alpha, np.ones((len(alpha), 1))], axis=1)
    # Rows of densities: OD' = ((OD · V⁻¹) ∘ α + β) · V = OD · mixing + offset.
    mixing = np.einsum("ij,nj,jk->nik", np.linalg.inv(vectors), factors, vectors)
    offset = beta @ vectors[:2]
    mix, add = (torch.from_numpy(values).to(pixels) for values in (mixing, offset))
    density = pixels.clamp(min=_DARKEST).log_().neg_()
    for channel in range(3):
        mixed = pixels[:, channel].copy_(add[:, channel, None, None])
        for source in range(3):
            mixed.addcmul_(density[:, source], mix[:, source, channel, None, None])
    return pixels.neg_().exp_().clamp_(0, 1)
