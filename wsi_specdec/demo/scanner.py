"""The scanners of the composed cohort: the source's own, and those that were measured."""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.files import read_json

CENTRES_FILE: Final = Path(__file__).parent / "data" / "centres.json"
_INTERNAL_JPEG_QUALITY: Final = 90
# As in the stain room: intensity of light that passes no tissue.
_WHITE: Final = 240.0
_Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Restaining:
    """Stains exchanged: concentrations in one pair of stains are scaled and mixed in another.

    Attributes
    ----------
    source, target
        Unit vectors in optical density (R, G, B): haematoxylin, eosin.
    ratio
        Factor on the concentration of each.
    """

    source: _Matrix
    target: _Matrix
    ratio: tuple[float, float]

    def matrix(self) -> NDArray[np.float64]:
        """Matrix (3, 3) that takes a column of source densities to target densities.

        What lies outside the plane of the source's stains (ink, pigment, noise) is carried over
        along the normal of the target's plane.
        """
        scale = np.diag([*self.ratio, 1.0])
        unmix = np.linalg.inv(_with_normal(self.source))
        mixed: NDArray[np.float64] = (unmix @ scale @ _with_normal(self.target)).T
        return mixed


@dataclass(frozen=True, slots=True)
class Scanner:
    """How a scanner turns a slide into pixels.

    Attributes
    ----------
    name, site
        As they stand in the manifest.
    jpeg_quality
        Of the slide file's tiles.
    blur_sigma_px
        Standard deviation of its Gaussian point spread, in pixels; 0 leaves the source's.
    restaining
        Stains of its laboratory; None leaves the source's.
    """

    name: str
    site: str
    jpeg_quality: int
    blur_sigma_px: float = 0.0
    restaining: Restaining | None = None

    def scan(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what this scanner sees, before compression; RGB (H, W, 3)."""
        if self.restaining is not None:
            image = restain(image, self.restaining)
        if self.blur_sigma_px > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur_sigma_px), dtype=np.uint8)
        return image

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return asdict(self)


def restain(image: NDArray[np.uint8], restaining: Restaining) -> NDArray[np.uint8]:
    """Unmix into concentrations and mix again, by Beer and Lambert's law; RGB (H, W, 3)."""
    levels = np.arange(256, dtype=np.float64)
    table = -np.log((levels + 1) / _WHITE).astype(np.float32)
    density = cv2.transform(table[image], restaining.matrix())
    return np.clip(np.rint(_WHITE * np.exp(-density) - 1), 0, 255).astype(np.uint8)


def internal_scanner() -> Scanner:
    """Scanner A: the source's pixels as they are."""
    return Scanner("scanner-A", "composed-A", _INTERNAL_JPEG_QUALITY)


@cache
def external_scanner() -> Scanner:
    """Scanner B: as measured on a CAMELYON17 centre by `benchmarks/measure_centres.py`."""
    measured = read_json(CENTRES_FILE)["external"]
    source, target = (_as_matrix(measured[key]) for key in ("source_stains", "target_stains"))
    haematoxylin, eosin = measured["concentration_ratio"]
    return Scanner(
        "scanner-B",
        "composed-B",
        jpeg_quality=measured["jpeg_quality"],
        blur_sigma_px=measured["blur_sigma_px"],
        restaining=Restaining(source, target, (haematoxylin, eosin)),
    )


@cache
def centre_scanners() -> tuple[Scanner, ...]:
    """Return a scanner for each of the five CAMELYON17 centres, in the order of their numbers.

    Stains, concentrations, sharpness and JPEG quality follow from the measurements by the rules of
    scanner B, but for the blur: here it is that between the sharpest centre and this one.
    """
    measured = read_json(CENTRES_FILE)
    source, centres = _as_matrix(measured["reference"]["stain_matrix"]), measured["centres"]
    strengths = np.array([each["profile"]["max_concentrations"] for each in centres])
    ratios = strengths / strengths.mean(axis=0)
    spread = np.array([each["point_spread_variance_px2_over_mean"] for each in centres])
    blur = np.sqrt(spread - spread.min())
    return tuple(
        Scanner(
            f"scanner-centre-{each['centre']}",
            f"composed-centre-{each['centre']}",
            jpeg_quality=each["jpeg_quality"],
            blur_sigma_px=round(float(blur[row]), 4),
            restaining=Restaining(
                source,
                _as_matrix(each["profile"]["stain_matrix"]),
                (round(float(ratios[row, 0]), 4), round(float(ratios[row, 1]), 4)),
            ),
        )
        for row, each in enumerate(centres)
    )


def _as_matrix(rows: list[list[float]]) -> _Matrix:
    (a, b, c), (d, e, f) = rows
    return (a, b, c), (d, e, f)


def _with_normal(stains: _Matrix) -> NDArray[np.float64]:
    """Stain vectors (2, 3) and, as the third row, the unit normal of their plane."""
    matrix = np.asarray(stains, dtype=np.float64)
    normal = np.cross(matrix[0], matrix[1])
    return np.vstack([matrix, normal / np.linalg.norm(normal)])
