"""How far the colours of several centres lie apart, before and after normalisation."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain import lab, optical_density

TILE = 256
_TISSUE_OD = 0.15
# Every so many pixels are compared: as good, and quicker.
_STEP = 5
_QUANTILES = np.linspace(0.005, 0.995, 199)

Tiles = NDArray[np.uint8]


@dataclass(frozen=True)
class Centres:
    """Tiles of several centres.

    Attributes
    ----------
    images
        Whole images, uint8 (h, w, 3), one a centre.
    tiles, centres
        uint8 (n, T, T, 3) and the centre of each, (n,).
    """

    images: tuple[Tiles, ...]
    tiles: Tiles
    centres: NDArray[np.int64]

    def target(self, number: int) -> Tiles:
        """Lay a centre's tiles side by side: the reference image."""
        tiles = self.tiles[self.centres == number % len(self.images)]
        return np.asarray(tiles.swapaxes(0, 1).reshape(TILE, -1, 3))


@dataclass(frozen=True)
class Variation:
    """Between centres, in CIE L*a*b* over tissue.

    Attributes
    ----------
    means
        Root mean square distance of the centres' mean colours from the mean of them all.
    distributions
        Mean over pairs of centres, and over L*, a* and b*, of the Wasserstein distance.
    """

    means: float
    distributions: float


def load_centres(folder: Path, each: int) -> Centres:
    """Read one image of each centre, `centre_<n>_*.jpeg`, and cut `each` tiles spread over it."""
    images, tiles = [], []
    for path in sorted(folder.glob("centre_*.jpeg")):
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
        images.append(image)
        rows, columns = (side // TILE for side in image.shape[:2])
        cut = image[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
        cut = cut.swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
        tiles.append(cut[np.linspace(0, len(cut) - 1, min(each, len(cut))).astype(int)])
    numbers = [np.full(len(cut), number) for number, cut in enumerate(tiles)]
    return Centres(tuple(images), np.concatenate(tiles), np.concatenate(numbers).astype(np.int64))


def variation(before: Tiles, after: Tiles, centres: NDArray[np.int64]) -> Variation:
    """Measure normalised tiles; what was tissue before is compared."""
    tissue = optical_density(before).mean(axis=-1) >= _TISSUE_OD
    colours = [
        lab.rgb_to_lab(after[centres == centre][tissue[centres == centre]][::_STEP])
        for centre in np.unique(centres)
    ]
    means = np.array([colour.mean(axis=0) for colour in colours])
    apart = np.sqrt(((means - means.mean(axis=0)) ** 2).sum(axis=1).mean())
    quantiles = [np.quantile(colour, _QUANTILES, axis=0) for colour in colours]
    pairs = [np.abs(a - b).mean() for a, b in combinations(quantiles, 2)]
    return Variation(float(apart), float(np.mean(pairs)))
