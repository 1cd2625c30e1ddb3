"""What is known of one slide's stains: their vectors and how strong they get."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import NotEnoughDataError

Status = Literal["ok", "too_little_tissue", "degenerate"]
Vector = tuple[float, float, float]

# Intensity of light that passes no tissue, as Macenko's implementations take it for 8-bit slides.
WHITE = 240.0


@dataclass(frozen=True, slots=True)
class StainProfile:
    """Stain vectors and strengths of one slide, or of several reference slides.

    Attributes
    ----------
    method
        How it was fitted.
    stain_matrix
        Unit vectors in optical-density space (R, G, B), haematoxylin first, then eosin.
    max_concentrations
        99th percentile of each stain's concentration over tissue pixels.
    min_od
        Optical density under which a pixel counted as glass.
    status
        `ok`, or why there is no usable profile.
    n_pixels
        Tissue pixels that it was fitted on.
    """

    method: str
    stain_matrix: tuple[Vector, Vector]
    max_concentrations: tuple[float, float]
    min_od: float
    status: Status
    n_pixels: int

    def matrix(self) -> NDArray[np.float64]:
        """Stain vectors as an array (2, 3)."""
        return np.asarray(self.stain_matrix, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StainProfile":
        """Read back what `to_json` gave."""
        first, second = (tuple(map(float, row)) for row in values["stain_matrix"])
        low, high = map(float, values["max_concentrations"])
        return cls(
            method=str(values["method"]),
            stain_matrix=((first[0], first[1], first[2]), (second[0], second[1], second[2])),
            max_concentrations=(low, high),
            min_od=float(values["min_od"]),
            status=values["status"],
            n_pixels=int(values["n_pixels"]),
        )


def optical_density(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Natural-log optical density −ln((I + 1) / 240) of uint8 intensities, any shape."""
    return -np.log((pixels.astype(np.float64) + 1.0) / WHITE)


def merge_profiles(profiles: Sequence[StainProfile]) -> StainProfile:
    """Make one target from the usable profiles of several reference slides.

    Vectors are averaged weighing every slide alike and brought back to unit length; the strengths
    are medians.

    Raises
    ------
    NotEnoughDataError
        If none of them is usable.
    """
    usable = [profile for profile in profiles if profile.status == "ok"]
    if not usable:
        msg = (
            f"none of {len(profiles)} reference slides has a usable stain profile "
            f"({', '.join(sorted({p.status for p in profiles})) or 'there are none'}); "
            "train without stain normalisation, or on slides with more tissue"
        )
        raise NotEnoughDataError(msg)
    mean = np.mean([profile.matrix() for profile in usable], axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    strengths = np.median([profile.max_concentrations for profile in usable], axis=0)
    return StainProfile(
        method=usable[0].method,
        stain_matrix=as_vectors(mean),
        max_concentrations=(float(strengths[0]), float(strengths[1])),
        min_od=usable[0].min_od,
        status="ok",
        n_pixels=sum(profile.n_pixels for profile in usable),
    )


def as_vectors(matrix: NDArray[np.float64]) -> tuple[Vector, Vector]:
    """Turn an array (2, 3) into the tuples that a profile holds."""
    (a, b, c), (d, e, f) = matrix.tolist()
    return (a, b, c), (d, e, f)
