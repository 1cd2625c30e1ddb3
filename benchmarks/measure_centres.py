"""Measure what the external scanner of the built-in cohort takes over from real centres.

Usage: python benchmarks/measure_centres.py FOLDER [--out FILE]

FOLDER holds one lymph-node tile of each of CAMELYON17's five centres, `centre_<n>_*.jpeg`.
The rules by which the external scanner follows from the measurements stand in `_RULES`; they look
at no result of any model.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_specdec.config import CohortConfig, StainConfig
from wsi_specdec.demo.cases import assign_cases
from wsi_specdec.demo.packed import load_patches
from wsi_specdec.demo.scanner import CENTRES_FILE
from wsi_specdec.files import write_json
from wsi_specdec.keys import TRAIN
from wsi_specdec.stain import StainProfile, fit_macenko, optical_density

_STAINS = StainConfig(method="macenko")
# The source's patches were downsampled 16 to 1 from 0.25 µm per pixel; so are the centres' tiles.
_DOWNSAMPLE = 16
_WINDOW_PX = 256
_BAND = (0.05, 0.25)
# Luminance table of the JPEG standard (ITU-T T.81, annex K), of quality 50.
_LUMINANCE_TABLE_SUM = 3687
_SOURCE = (
    "one 2048x2048 lymph-node tile a centre of CAMELYON17, about 0.25 um per pixel, CC0 "
    "(Bandi et al., IEEE Trans. Med. Imaging 38, 2019; Litjens et al., GigaScience 7, 2018)"
)
_RULES = {
    "stains": (
        "Macenko profiles (wsi_specdec.stain) of each centre's tile, area-averaged 16 to 1 to the "
        "resolution of the patches, and of the patches of the training cases of the default cohort"
        " (the reference). The external centre is the one whose two stain vectors have the largest "
        "mean angle to the reference's."
    ),
    "concentrations": (
        "99th percentile of each stain's concentration in the external centre, over the mean of "
        "the five centres: a ratio within one organ, so that lymph node against breast cancels."
    ),
    "sharpness": (
        "Radial power spectra of optical density at full resolution. For a Gaussian point spread "
        "of sigma s the log spectrum falls by 4 pi^2 s^2 f^2, so the slope of a centre's log "
        "spectrum minus the mean one on f^2, over 0.05 to 0.25 cycles per pixel, gives s^2 relative"
        " to the mean centre. The blur is that between the sharpest and the softest centre, "
        "carried over in pixels: in micrometres it could not be seen at 4 um per pixel."
    ),
    "jpeg_quality": (
        "libjpeg quality whose luminance quantisation table has the sum nearest to the files' own."
    ),
}


@dataclass(frozen=True)
class Centre:
    """What was measured on one centre's tile."""

    number: int
    file: str
    profile: StainProfile
    full_resolution: StainProfile
    log_spectrum: NDArray[np.float64]
    jpeg_quality: int


def main() -> None:
    """Measure, apply the rules and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=CENTRES_FILE)
    arguments = parser.parse_args()
    centres = [
        measure(number, path)
        for number, path in enumerate(sorted(arguments.folder.glob("centre_*.jpeg")))
    ]
    result = describe(centres, reference_profile())
    write_json(arguments.out, result)
    print(result["external"])


def reference_profile() -> StainProfile:
    """Profile of the patches of the training cases, all of them weighing alike."""
    patches = load_patches()
    cases = [case for case in assign_cases(patches, CohortConfig()) if case.split == TRAIN]
    indices = [i for case in cases for i in (*case.tumour, *case.normal)]
    return profile_of(patches.tiles[indices])


def profile_of(image: NDArray[np.uint8]) -> StainProfile:
    """Profile of up to `max_pixels` pixels drawn from an image."""
    pixels = image.reshape(-1, 3)
    rng = np.random.default_rng(_STAINS.seed)
    n_drawn = min(len(pixels), _STAINS.max_pixels)
    return fit_macenko(pixels[rng.choice(len(pixels), n_drawn, replace=False)], _STAINS)


def measure(number: int, path: Path) -> Centre:
    """Measure one centre's tile."""
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    height, width = (side // _DOWNSAMPLE for side in image.shape[:2])
    small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return Centre(
        number=number,
        file=path.name,
        profile=profile_of(small),
        full_resolution=profile_of(image),
        log_spectrum=log_spectrum(image),
        jpeg_quality=jpeg_quality(path),
    )


def log_spectrum(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log of the radially averaged power of optical density, by 1/256 cycles per pixel."""
    density = optical_density(image).mean(axis=-1)
    window = np.outer(np.hanning(_WINDOW_PX), np.hanning(_WINDOW_PX))
    frequency = np.fft.fftfreq(_WINDOW_PX)
    radius = np.rint(np.hypot(*np.meshgrid(frequency, frequency)) * _WINDOW_PX).astype(np.int64)
    rows, columns = (side // _WINDOW_PX for side in density.shape)
    blocks = density[: rows * _WINDOW_PX, : columns * _WINDOW_PX]
    blocks = blocks.reshape(rows, _WINDOW_PX, columns, _WINDOW_PX).swapaxes(1, 2)
    blocks = (blocks - blocks.mean(axis=(2, 3), keepdims=True)) * window
    power = (np.abs(np.fft.fft2(blocks)) ** 2).mean(axis=(0, 1))
    radial = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    return np.log(radial[: _WINDOW_PX // 2])


def relative_spread(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of each centre's point spread minus the mean centre's, px²; spectra (n, bins)."""
    frequency = np.arange(spectra.shape[1]) / _WINDOW_PX
    band = (frequency >= _BAND[0]) & (frequency <= _BAND[1])
    excess = (spectra - spectra.mean(axis=0))[:, band]
    slopes = np.polyfit(frequency[band] ** 2, excess.T, 1)[0]
    return np.asarray(-slopes / (4 * np.pi**2), dtype=np.float64)


def jpeg_quality(path: Path) -> int:
    """Quality nearest to the file's luminance quantisation table."""
    with Image.open(path) as image:
        total = sum(image.quantization[0])  # type: ignore[attr-defined]
    scale = total / _LUMINANCE_TABLE_SUM * 100
    return round(100 - scale / 2 if scale <= 100 else 5000 / scale)


def angles(profile: StainProfile, reference: StainProfile) -> NDArray[np.float64]:
    """Degrees between the two profiles' haematoxylin and eosin vectors."""
    cosines = (profile.matrix() * reference.matrix()).sum(axis=1)
    degrees: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return degrees


def describe(centres: list[Centre], reference: StainProfile) -> dict[str, Any]:
    """Apply the rules."""
    spread = relative_spread(np.stack([centre.log_spectrum for centre in centres]))
    tilt = np.array([angles(centre.profile, reference) for centre in centres])
    chosen = centres[int(tilt.mean(axis=1).argmax())]
    strengths = np.array([centre.profile.max_concentrations for centre in centres])
    ratio = np.array(chosen.profile.max_concentrations) / strengths.mean(axis=0)
    return {
        "source": _SOURCE,
        "measured_by": "benchmarks/measure_centres.py",
        "rules": _RULES,
        "reference": rounded(reference.to_json()),
        "centres": [
            {
                "centre": centre.number,
                "file": centre.file,
                "profile": rounded(centre.profile.to_json()),
                "profile_at_full_resolution": rounded(centre.full_resolution.to_json()),
                "angles_to_reference_degrees": rounded(tilt[i].tolist()),
                "point_spread_variance_px2_over_mean": rounded(float(spread[i])),
                "jpeg_quality": centre.jpeg_quality,
            }
            for i, centre in enumerate(centres)
        ],
        "external": {
            "centre": chosen.number,
            "source_stains": rounded(reference.matrix().tolist()),
            "target_stains": rounded(chosen.profile.matrix().tolist()),
            "concentration_ratio": rounded(ratio.tolist()),
            "blur_sigma_px": rounded(float(np.sqrt(spread.max() - spread.min()))),
            "jpeg_quality": chosen.jpeg_quality,
        },
    }


def rounded(value: Any) -> Any:  # noqa: ANN401 - JSON holds any of its types
    """Round every number of a JSON value to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


if __name__ == "__main__":
    main()
