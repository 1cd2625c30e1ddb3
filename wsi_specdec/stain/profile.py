"""What is known of one slide's stains, whatever the method that found it out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig

Status = Literal["ok", "too_little_tissue", "degenerate"]
Vector = tuple[float, float, float]

# Intensity of light that passes no tissue, as Macenko's implementations take it for 8-bit slides.
WHITE: Final = 240.0
# Mean H&E vectors of Ruifrok and Johnston (2001); a stand-in where none can be fitted.
STANDARD: Final = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))


class TileStatus(IntEnum):
    """How far a tile's own pixels bear out what was done to it."""

    NORMALISED = 0
    TOO_LITTLE_TISSUE = 1
    DEGENERATE = 2

    @property
    def label(self) -> str:
        """Name in lower case, as files and reports have it."""
        return self.name.lower()

    @classmethod
    def of(cls, status: Status) -> "TileStatus":
        """Return what a tile is whose profile has the status `status`."""
        return cls.NORMALISED if status == "ok" else cls[status.upper()]


@dataclass(frozen=True, slots=True)
class StainProfile:
    """Stains of one slide, of one tile, or of several reference slides.

    Attributes
    ----------
    method
        How it was fitted: `macenko`, `vahadane` or `reinhard`.
    stain_matrix
        Unit vectors in optical-density space (R, G, B), haematoxylin first, then eosin; those of
        Ruifrok and Johnston (2001) where none could be fitted. Reinhard's method, which has none,
        holds Macenko's.
    max_concentrations
        99th percentile of each stain's concentration over tissue pixels.
    min_od
        Optical density under which a pixel counted as glass.
    status
        `ok`, or why there is no usable profile.
    n_pixels
        Tissue pixels that it was fitted on.
    lab_means, lab_deviations
        Of Reinhard's method: mean and standard deviation of L*, a* and b* over tissue pixels.
    """

    method: str
    stain_matrix: tuple[Vector, Vector]
    max_concentrations: tuple[float, float]
    min_od: float
    status: Status
    n_pixels: int
    lab_means: Vector | None = None
    lab_deviations: Vector | None = None

    def matrix(self) -> NDArray[np.float64]:
        """Stain vectors as an array (2, 3)."""
        return np.asarray(self.stain_matrix, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON types, without what its method has not."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StainProfile":
        """Read back what `to_json` gave."""
        first, second = values["stain_matrix"]
        haematoxylin, eosin = map(float, values["max_concentrations"])
        means, deviations = (values.get(name) for name in ("lab_means", "lab_deviations"))
        return cls(
            method=str(values["method"]),
            stain_matrix=(as_vector(first), as_vector(second)),
            max_concentrations=(haematoxylin, eosin),
            min_od=float(values["min_od"]),
            status=values["status"],
            n_pixels=int(values["n_pixels"]),
            lab_means=None if means is None else as_vector(means),
            lab_deviations=None if deviations is None else as_vector(deviations),
        )


def optical_density(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Natural-log optical density −ln((I + 1) / 240) of uint8 intensities, any shape."""
    return -np.log((pixels.astype(np.float64) + 1.0) / WHITE)


def standard_vectors() -> NDArray[np.float64]:
    """Return unit vectors (2, 3) of haematoxylin and eosin by Ruifrok and Johnston (2001)."""
    vectors = np.array(STANDARD)
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def unusable(status: Status, n_pixels: int, config: StainConfig) -> StainProfile:
    """Return the profile of pixels that cannot be fitted, which says why."""
    return StainProfile(
        method=config.method,
        stain_matrix=as_vectors(standard_vectors()),
        max_concentrations=(1.0, 1.0),
        min_od=config.min_od,
        status=status,
        n_pixels=n_pixels,
    )


def as_vector(values: Any) -> Vector:  # noqa: ANN401 - a list of JSON, or an array
    """Turn three numbers into the tuple that a profile holds."""
    first, second, third = map(float, values)
    return first, second, third


def as_vectors(matrix: NDArray[np.float64]) -> tuple[Vector, Vector]:
    """Turn an array (2, 3) into the tuples that a profile holds."""
    first, second = matrix.tolist()
    return as_vector(first), as_vector(second)
